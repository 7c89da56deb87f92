"""Choices that each network makes for itself, in words that kernels use for one network and for many abreast.

What compiled code cannot do for networks side by side (`_seeds`) is go two ways at once. So kernels say `where` for
what each network takes, `anywhere` to leave out what none needs, and `alone` for what is done to no network but one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from threefactor._lanes import LANES
from threefactor._seeds import Lanes, Mask, wider
from threefactor.arrays import Array

F = TypeVar("F", bound=Callable[..., Any])


def like(x: Array, value: Any) -> Any:
    """`value` as one of the numbers of x."""
    return x.dtype.type(value)


def where(condition: Any, this: Any, other: Any) -> Any:
    """Choose `this` where the condition holds, else `other`; both are worked out."""
    return this if condition else other


def anywhere(condition: Any) -> bool:
    """Whether the condition holds for any network."""
    return bool(condition)


def whole(x: Any) -> int:
    """A place that was kept as a number, the same for all networks."""
    return int(x)


def alone(function: F) -> F:
    """Have a kernel do nothing to networks side by side: rows that wait, each until its own spike, have none there."""
    if not hasattr(function, "py_func"):  # numba is switched off
        return function

    def face(state, *given):  # type: ignore[no-untyped-def]
        return function(state, *given)

    @overload(face)
    def choose(state, *given):  # type: ignore[no-untyped-def]
        if isinstance(state.dtype, Lanes):
            return lambda state, *given: None
        return lambda state, *given: function(state, *given)

    return cast(F, face)


# --- the same in compiled code ---------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _where(typing_context: Any, condition: Any, this: Any, other: Any) -> Any:
    kind = Lanes(wider(typing_context, this, other))
    return kind(condition, kind, kind), lambda context, builder, signature, given: builder.select(*given)


@intrinsic  # type: ignore[untyped-decorator]
def _anywhere(typing_context: Any, condition: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(given[0], bits), bits(0))

    return types.boolean(condition), generate


@intrinsic  # type: ignore[untyped-decorator]
def _first(typing_context: Any, x: Any) -> Any:
    return x.dtype(x), lambda context, builder, signature, given: builder.extract_element(given[0], ir.IntType(32)(0))


@overload(like)
def _overload_like(x, value):  # type: ignore[no-untyped-def]
    if isinstance(x.dtype, Lanes):
        return lambda x, value: _cast(x, value)
    return lambda x, value: x.dtype.type(value)


@intrinsic  # type: ignore[untyped-decorator]
def _cast(typing_context: Any, x: Any, value: Any) -> Any:
    return x.dtype(x, x.dtype), lambda context, builder, signature, given: given[1]


@overload(where)
def _overload_where(condition, this, other):  # type: ignore[no-untyped-def]
    if isinstance(condition, Mask):
        return lambda condition, this, other: _where(condition, this, other)
    return lambda condition, this, other: this if condition else other


@overload(anywhere)
def _overload_anywhere(condition):  # type: ignore[no-untyped-def]
    if isinstance(condition, Mask):
        return lambda condition: _anywhere(condition)
    return lambda condition: condition


@overload(whole)
def _overload_whole(x):  # type: ignore[no-untyped-def]
    if isinstance(x, Lanes):
        return lambda x: int(_first(x))
    return lambda x: int(x)
