"""What processors do fast and Python has no words for: fused products, near roots, wide vectors.

Nothing here depends on where in a kernel it stands or how often that was compiled, as the compiler's own liberties
would: a machine gives the same digits each time. Between machines the last digits may differ.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

CLOSE_WILL_DO = ("arcp", "afn", "ninf", "nnan")


def fused(a: float, b: float, c: float) -> float:
    """A b + c in one instruction, rounded once, where the processor has it."""
    return a * b + c


def twice_inverse_root(x: float) -> float:
    """2 / sqrt(x) of a positive, normal number; who multiplies with it gets rid of the 2 elsewhere.

    A root and a division take ten times longer than products. In single precision most processors estimate
    y = 1 / sqrt(x) to 12 or 14 bits, and a step of Newton's method, y (3 - x y y), brings that to within a few units of
    the last place. Double precision is exact.
    """
    return 2.0 / math.sqrt(x)


def take_near_roots() -> None:
    """Where a kernel calls this, the compiler leaves the estimate of a root as it is: `twice_inverse_root` refines it.

    Unasked it would add a step of its own, of five instructions where three do.
    """


def take_wide_vectors() -> None:
    """Where a kernel calls this, its loops work on vectors of 512 bits, if the processor has any.

    The compiler takes half of that for fear of a lower clock, which newer processors do not need. A kernel that streams
    several matrices gains a fifth.
    """


# --- the same in compiled code ---------------------------------------------------------------------------------------


def declared(builder: Any, name: str, kind: Any, arguments: int = 1) -> Any:
    """The compiler's function of this name for numbers of this kind, or vectors of them."""
    number, count = (kind.element, f"v{kind.count}") if isinstance(kind, ir.VectorType) else (kind, "")
    function = ir.FunctionType(kind, [kind] * arguments)
    return cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.{count}{number.intrinsic_name}")


@intrinsic  # type: ignore[untyped-decorator]
def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        return builder.call(declared(builder, "fmuladd", kind, 3), arguments)

    return c(c, c, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def _twice_inverse_root(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (x,) = arguments[0].type, arguments
        lanes = kind.count if isinstance(kind, ir.VectorType) else 0
        number, root = kind.element if lanes else kind, declared(builder, "sqrt", kind)

        def constant(value: float) -> Any:
            return kind([value] * lanes) if lanes else kind(value)

        if not isinstance(number, ir.FloatType):
            return builder.fdiv(constant(2.0), builder.call(root, [x]))
        near = builder.fdiv(constant(1.0), builder.call(root, [x], fastmath=CLOSE_WILL_DO), flags=CLOSE_WILL_DO)
        product = declared(builder, "fmuladd", kind, 3)
        rest = builder.call(product, [builder.fneg(builder.fmul(x, near)), near, constant(3.0)])
        return builder.fmul(near, rest)

    return x(x), generate


def _attribute(text: str) -> Any:
    """An intrinsic that gives the function that calls it an attribute with a value, of which the set knows none."""

    @intrinsic  # type: ignore[untyped-decorator]
    def give(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            set.add(builder.function.attributes, text)
            return context.get_dummy_value()

        return types.void(), generate

    return give


_take_near_roots = _attribute('"reciprocal-estimates"="vec-sqrtf:0"')
_take_wide_vectors = _attribute('"prefer-vector-width"="512"')


@overload(fused)
def _overload_fused(a, b, c):  # type: ignore[no-untyped-def]
    return lambda a, b, c: _fused(a, b, c)


@overload(twice_inverse_root)
def _overload_twice_inverse_root(x):  # type: ignore[no-untyped-def]
    return lambda x: _twice_inverse_root(x)


@overload(take_near_roots, inline="always")  # in the kernel itself, whose attribute it sets
def _overload_take_near_roots():  # type: ignore[no-untyped-def]
    return lambda: _take_near_roots()


@overload(take_wide_vectors, inline="always")  # in the kernel itself, whose attribute it sets
def _overload_take_wide_vectors():  # type: ignore[no-untyped-def]
    return lambda: _take_wide_vectors()
