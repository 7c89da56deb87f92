"""What processors do fast and Python has no words for: fused products, near roots, wide vectors.

Nothing here depends on where in a kernel it stands or how often that was compiled, as the compiler's own liberties
would: a machine gives the same digits each time. Between machines the last digits may differ.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

CLOSE_WILL_DO = ("arcp", "afn", "ninf", "nnan")


def fused(a: float, b: float, c: float) -> float:
    """A b + c in one instruction, rounded once, where the processor has it."""
    return a * b + c


def inverse_root(x: float) -> float:
    """1 / sqrt(x) of a positive, normal number.

    A root and a division take ten times longer than products. In single precision most processors estimate 1 / sqrt(x)
    to 12 or 14 bits, and a step of Newton's method, to which the compiler adds it, brings that to within a few units of
    the last place. Double precision is exact.
    """
    return 1.0 / math.sqrt(x)


def take_wide_vectors() -> None:
    """Where a kernel calls this, its loops work on vectors of 512 bits, if the processor has any.

    The compiler takes half of that for fear of a lower clock, which newer processors do not need. A kernel that streams
    several matrices gains a fifth.
    """


# --- the same in compiled code ---------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = ir.FunctionType(kind, [kind] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [kind], function), arguments)

    return c(c, c, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def _inverse_root(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        flags = CLOSE_WILL_DO if signature.args[0] == types.float32 else ()
        root = builder.call(builder.module.declare_intrinsic("llvm.sqrt", [kind]), arguments, fastmath=flags)
        return builder.fdiv(kind(1.0), root, flags=flags)

    return x(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def _take_wide_vectors(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # the set knows no attributes with values
        return context.get_dummy_value()

    return types.void(), generate


@overload(fused)
def _overload_fused(a, b, c):  # type: ignore[no-untyped-def]
    return lambda a, b, c: _fused(a, b, c)


@overload(inverse_root)
def _overload_inverse_root(x):  # type: ignore[no-untyped-def]
    return lambda x: _inverse_root(x)


@overload(take_wide_vectors, inline="always")  # in the kernel itself, whose attribute it sets
def _overload_take_wide_vectors():  # type: ignore[no-untyped-def]
    return lambda: _take_wide_vectors()
