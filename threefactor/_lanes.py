"""Several entries at once where the compiler does not see that it may: a few vector instructions for kernels.

A loop over many arrays first asks, each time, whether two of them overlap. `load` and `store` say what is meant; what
is loaded can be added, subtracted and multiplied, by numbers too. In plain Python it is a NumPy array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, overload, register_model
from numba.np.arrayobj import make_array

from threefactor.arrays import Array

WIDTH = 8  # entries that `load` takes
LANES = 16  # entries that `nonzero_bits` looks at; rows of numbers start at multiples of it, see `layout`


def load(array: Array, start: int) -> Any:
    """`WIDTH` entries of a contiguous array, from entry `start` of all; unchecked in compiled code."""
    return array.reshape(-1)[start : start + WIDTH].copy()


def store(array: Array, start: int, values: Any) -> None:
    """Write what was loaded, and changed."""
    array.reshape(-1)[start : start + WIDTH] = values


def nonzero_bits(row: Array, start: int) -> int:
    """Number whose bit k says whether entry `start` + k of `LANES` is not zero; compiled code reads beyond the end."""
    return sum(int(value != 0) << k for k, value in enumerate(row[start : start + LANES]))


def lowest_bit(bits: int) -> int:
    """Place of the lowest bit of a number that is not zero."""
    return (bits & -bits).bit_length() - 1


# --- the same in compiled code ---------------------------------------------------------------------------------------


class Lanes(types.Type):
    """numba's type of `WIDTH` numbers that are worked on together."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Lanes({dtype})")


@register_model(Lanes)
class _Model(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        number = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(number, WIDTH))


def _place(context: Any, builder: Any, kind: Any, arguments: Any, lanes: int) -> Any:
    """Pointer to lanes of an array, the first of the arguments, from an entry, the second."""
    data = make_array(kind)(context, builder, arguments[0]).data
    vector = ir.VectorType(data.type.pointee, lanes)
    return builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _load(typing_context: Any, array: Any, start: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments, WIDTH)
        return builder.load(place, align=4)

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store(typing_context: Any, array: Any, start: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments, WIDTH)
        builder.store(arguments[2], place, align=4)

    return types.void(array, types.intp, values), generate


@intrinsic  # type: ignore[untyped-decorator]
def _nonzero_bits(typing_context: Any, row: Any, start: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = builder.load(_place(context, builder, signature.args[0], arguments, LANES), align=4)
        found = builder.fcmp_unordered("!=", values, values.type([0.0] * LANES))
        return builder.zext(builder.bitcast(found, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(row, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _all(typing_context: Any, number: Any, like: Any) -> Any:
    """A number in each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.cast(builder, arguments[0], signature.args[0], like.dtype)
        vector = ir.VectorType(number.type, WIDTH)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))

    return like(number, like), generate


def _both(instruction: str) -> Callable[..., Any]:
    """Intrinsic of two vectors."""

    @intrinsic  # type: ignore[untyped-decorator]
    def work(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return left(left, right), generate

    return work  # type: ignore[no-any-return]


@overload(load)
def _overload_load(array, start):  # type: ignore[no-untyped-def]
    return lambda array, start: _load(array, start)


@overload(store)
def _overload_store(array, start, values):  # type: ignore[no-untyped-def]
    return lambda array, start, values: _store(array, start, values)


@overload(nonzero_bits)
def _overload_nonzero_bits(row, start):  # type: ignore[no-untyped-def]
    return lambda row, start: _nonzero_bits(row, start)


@overload(lowest_bit)
def _overload_lowest_bit(bits):  # type: ignore[no-untyped-def]
    return lambda bits: _lowest_bit(bits)


def _overload_operator(symbol: Any, instruction: str) -> None:
    work = _both(instruction)

    @overload(symbol)
    def operate(left, right):  # type: ignore[no-untyped-def]
        if isinstance(left, Lanes) and isinstance(right, Lanes):
            return lambda left, right: work(left, right)
        if isinstance(left, Lanes) and isinstance(right, types.Number):
            return lambda left, right: work(left, _all(right, left))
        if isinstance(left, types.Number) and isinstance(right, Lanes):
            return lambda left, right: work(_all(left, right), right)
        return None


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _overload_operator(_symbol, _instruction)
