"""Arrays handed to compiled code as a bare pointer: the crossing costs a tenth of a microsecond instead of half.

numba takes an array over with a check of its type and a counted record of it, for each array of each call. `Bare` reads
pointer and length where NumPy keeps them in the array object (`PyArrayObject_fields` in NumPy's C interface, the same
since 1.7) and counts nothing. So the caller must hold the array during the call and see to its dtype; an array that is
not one contiguous row comes with size -1.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import NativeValue, models, register_model, unbox
from numba.np.arrayobj import populate_array

HEAD = object.__basicsize__ // 8  # words of any object
DATA, N_DIM, SHAPE, FLAGS = HEAD, HEAD + 1, HEAD + 2, HEAD + 6  # words of an array; of N_DIM and FLAGS the lower half
PLAIN = 0x101  # flags of a contiguous row that is aligned


class Bare(types.Array):
    """numba's type of such an array: float32, float64 or int64, one row."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype, 1, "C", name=f"Bare({dtype})")


register_model(Bare)(models.ArrayModel)


@unbox(Bare)  # type: ignore[untyped-decorator]
def _unbox(typ: Any, given: Any, c: Any) -> Any:
    builder, word, half = c.builder, ir.IntType(64), ir.IntType(32)

    def entry(pointer: Any, k: int) -> Any:
        return builder.load(builder.gep(pointer, [word(k)]))

    words = builder.bitcast(given, word.as_pointer())
    one_row = builder.icmp_signed("==", builder.trunc(entry(words, N_DIM), half), half(1))
    flags = builder.and_(builder.trunc(entry(words, FLAGS), half), half(PLAIN))
    size = cgutils.alloca_once_value(builder, word(-1))
    with builder.if_then(builder.and_(one_row, builder.icmp_signed("==", flags, half(PLAIN)))):
        builder.store(entry(builder.inttoptr(entry(words, SHAPE), word.as_pointer()), 0), size)
    lanes = getattr(typ.dtype, "lanes", 1)  # numbers in an entry, see `_seeds`
    array = c.context.make_array(typ)(c.context, builder)
    item = word(c.context.get_abi_sizeof(c.context.get_data_type(typ.dtype)))
    data = builder.inttoptr(entry(words, DATA), array.data.type)
    entries = builder.sdiv(builder.load(size), word(lanes))
    populate_array(array, data=data, shape=[entries], strides=[item], itemsize=item, meminfo=None)
    return NativeValue(array._getvalue())


def _holds() -> bool:
    """Whether this Python and this NumPy keep their arrays as said above."""
    row, table = np.zeros(3), np.zeros((2, 2))
    if ctypes.sizeof(ctypes.c_void_p) != 8 or row.__sizeof__() < 8 * (FLAGS + 1):
        return False
    words, others = ((ctypes.c_uint64 * (FLAGS + 1)).from_address(id(array)) for array in (row, table))
    return (
        words[DATA] == row.ctypes.data
        and (words[N_DIM] & 0xFFFFFFFF, others[N_DIM] & 0xFFFFFFFF) == (1, 2)
        and words[FLAGS] & PLAIN == PLAIN
        and ctypes.c_uint64.from_address(words[SHAPE]).value == 3
    )


HOLDS = _holds()
