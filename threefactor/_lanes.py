"""Which of several numbers are not zero, told at once: two things that plain loops do not compile to."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from threefactor.arrays import Array

LANES = 16  # entries that `nonzero_bits` looks at; rows of numbers start at multiples of it, see `layout`


def nonzero_bits(row: Array, start: int) -> int:
    """Number whose bit k says whether entry `start` + k of `LANES` is not zero; compiled code reads beyond the end."""
    return sum(int(value != 0) << k for k, value in enumerate(row[start : start + LANES]))


def lowest_bit(bits: int) -> int:
    """Place of the lowest bit of a number that is not zero."""
    return (bits & -bits).bit_length() - 1


# --- the same in compiled code ---------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _nonzero_bits(typing_context: Any, row: Any, start: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        lanes = ir.VectorType(data.type.pointee, LANES)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), lanes.as_pointer())
        values = builder.load(place, align=4)
        found = builder.fcmp_unordered("!=", values, values.type([0.0] * LANES))
        return builder.zext(builder.bitcast(found, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(row, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


@overload(nonzero_bits)
def _overload_nonzero_bits(row, start):  # type: ignore[no-untyped-def]
    return lambda row, start: _nonzero_bits(row, start)


@overload(lowest_bit)
def _overload_lowest_bit(bits):  # type: ignore[no-untyped-def]
    return lambda bits: _lowest_bit(bits)
