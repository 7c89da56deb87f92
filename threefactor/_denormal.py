"""Numbers below the smallest of full precision, taken as zero while a kernel runs.

What nobody feeds any more decays towards zero, and a processor works far longer on such denormal numbers than on
others: with them in its tags and traces, an actor-critic's step took a third more time. They are of no account, below
1e-38 in single precision. Only x86 processors are told so; others work with them, and most of these at full speed.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

FLUSH = 0x8040  # in the processor's control word: results that are denormal become zero, and so do operands
X86 = platform.machine().lower() in ("x86_64", "amd64")


def ignore_denormals() -> int:
    """Have the processor take denormal numbers as zero; what `restore` needs to end it."""
    return FLUSH


def restore(word: int) -> None:
    """Go on as before `ignore_denormals`."""


@intrinsic  # type: ignore[untyped-decorator]
def _read(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        _control(builder, "stmxcsr", place)
        return builder.zext(builder.load(place), ir.IntType(64))

    return types.int64(), generate


@intrinsic  # type: ignore[untyped-decorator]
def _write(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(builder.trunc(arguments[0], ir.IntType(32)), place)
        _control(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _control(builder: Any, instruction: str, place: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer])
    known = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{instruction}")
    builder.call(known, [builder.bitcast(place, pointer)])


@overload(ignore_denormals)
def _ignore():  # type: ignore[no-untyped-def]
    if not X86:
        return lambda: FLUSH

    def told():  # type: ignore[no-untyped-def]
        word = _read()
        if word & FLUSH != FLUSH:  # writing takes longer than asking
            _write(word | FLUSH)
        return word

    return told


@overload(restore)
def _restore(word):  # type: ignore[no-untyped-def]
    if not X86:
        return lambda word: None

    def told(word):  # type: ignore[no-untyped-def]
        if word & FLUSH != FLUSH:
            _write(word)

    return told
