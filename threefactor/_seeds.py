"""Numbers of many networks side by side: to kernels one number, to the processor a vector, a network in each lane.

A kernel compiled for arrays of `Lanes` does to `LANES` networks in one sweep what it does to one. Arithmetic is carried
out lane by lane with the roundings of single numbers, and of mixed types the wider is taken, as ever. What a network
chooses for itself kernels say by `_choices`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_cast
from numba.core.typeconv import Conversion
from numba.extending import NativeValue, box, intrinsic, models, overload, register_model, unbox

from threefactor._arithmetic import declared
from threefactor._bare import DATA
from threefactor._lanes import LANES

# --- the type --------------------------------------------------------------------------------------------------------


class Lanes(types.Type):
    """`LANES` numbers of this type."""

    lanes = LANES

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")

    def array(self, n_dim: int) -> LanesArray:
        """The type of an array of them."""
        return LanesArray(self, n_dim, "C")

    def can_convert_from(self, typing_context: Any, other: Any) -> Any:
        """Any number goes into all lanes."""
        return Conversion.safe if isinstance(other, types.Number | types.Boolean | Lanes) else None

    def unify(self, typing_context: Any, other: Any) -> Any:
        """The wider of both."""
        if isinstance(other, types.Number | Lanes):
            return Lanes(wider(typing_context, self, other))
        return None


class LanesArray(types.Array):
    """An array of them, cut out of a longer one by a kernel."""


class Mask(types.Type):
    """`LANES` truths."""

    def __init__(self) -> None:
        super().__init__(name="Mask")


MASK = Mask()
TRUTHS = ir.VectorType(ir.IntType(1), LANES)


register_model(LanesArray)(models.ArrayModel)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(manager[kind.dtype].get_value_type(), LANES))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, TRUTHS)


@unbox(Lanes)  # type: ignore[untyped-decorator]
def _unbox(kind: Any, given: Any, c: Any) -> Any:
    """From an array of as many numbers, which the caller has seen to."""
    words = c.builder.bitcast(given, ir.IntType(64).as_pointer())
    data = c.builder.load(c.builder.gep(words, [ir.IntType(64)(DATA)]))
    place = c.builder.inttoptr(data, c.context.get_value_type(kind).as_pointer())
    return NativeValue(c.builder.load(place, align=4))


@box(Lanes)  # type: ignore[untyped-decorator]
@box(Mask)  # type: ignore[untyped-decorator]
@box(LanesArray)  # type: ignore[untyped-decorator]
def _box(kind: Any, value: Any, c: Any) -> Any:
    """Nothing is handed to Python: the caller sees the memory."""
    return c.pyapi.make_none()


def wider(typing_context: Any, *kinds: Any) -> Any:
    """The type of single numbers that these kinds come to together, as NumPy has it."""
    numbers = [kind.dtype if isinstance(kind, Lanes) else types.unliteral(kind) for kind in kinds]  # type: ignore[attr-defined]
    return typing_context.unify_types(types.float32, *numbers)


def _is_lanes(*kinds: Any) -> bool:
    return any(isinstance(kind, Lanes) for kind in kinds)


@lower_cast(types.Number, Lanes)  # type: ignore[untyped-decorator]
@lower_cast(types.Boolean, Lanes)  # type: ignore[untyped-decorator]
def _from_number(context: Any, builder: Any, given: Any, lanes: Any, value: Any) -> Any:
    number = context.cast(builder, value, given, lanes.dtype)
    kind = context.get_value_type(lanes)
    one = builder.insert_element(kind(ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, kind(ir.Undefined), ir.VectorType(ir.IntType(32), LANES)([0] * LANES))


@lower_cast(Lanes, Lanes)  # type: ignore[untyped-decorator]
def _from_lanes(context: Any, builder: Any, given: Any, lanes: Any, value: Any) -> Any:
    if given.dtype == lanes.dtype:
        return value
    kind = context.get_value_type(lanes)
    return (builder.fpext if lanes.dtype == types.float64 else builder.fptrunc)(value, kind)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def _give(words: Any, instruction: Callable[[Any, list[Any]], Any], answer: Any = None) -> None:
    """Have `words`, operators or functions of one or two numbers, compiled to an instruction on vectors."""

    @intrinsic  # type: ignore[untyped-decorator]
    def on_two(typing_context: Any, a: Any, b: Any) -> Any:
        kind = Lanes(wider(typing_context, a, b))
        return (answer or kind)(kind, kind), lambda context, builder, signature, given: instruction(builder, given)

    for word in words:

        @overload(word)
        def choose(a, b):  # type: ignore[no-untyped-def]
            return (lambda a, b: on_two(a, b)) if _is_lanes(a, b) else None


def _with(name: str, *more: Any) -> Callable[[Any, list[Any]], Any]:
    return lambda builder, given: getattr(builder, name)(*more, *given)


def _select(comparison: str) -> Callable[[Any, list[Any]], Any]:
    """The first of two unless the second compares so with it: as Python's min and max choose."""
    return lambda builder, given: builder.select(
        builder.fcmp_ordered(comparison, given[1], given[0]), given[1], given[0]
    )


_give((operator.add, operator.iadd), _with("fadd"))
_give((operator.sub, operator.isub), _with("fsub"))
_give((operator.mul, operator.imul), _with("fmul"))
_give((operator.truediv, operator.itruediv), _with("fdiv"))
_give((max,), _select(">"))
_give((min,), _select("<"))
COMPARED = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "=="}
for _word, _sign in COMPARED.items():
    _give((_word,), _with("fcmp_ordered", _sign), MASK)
_give((operator.ne,), _with("fcmp_unordered", "!="), MASK)


def _give_one(word: Any, instruction: Callable[[Any, Any], Any]) -> None:
    @intrinsic  # type: ignore[untyped-decorator]
    def on_one(typing_context: Any, a: Any) -> Any:
        return a(a), lambda context, builder, signature, given: instruction(builder, given[0])

    @overload(word)
    def choose(a):  # type: ignore[no-untyped-def]
        return (lambda a: on_one(a)) if _is_lanes(a) else None


def _named(name: str) -> Callable[[Any, Any], Any]:
    return lambda builder, x: builder.call(declared(builder, name, x.type), [x])


_give_one(operator.neg, lambda builder, x: builder.fneg(x))
_give_one(abs, _named("fabs"))
_give_one(np.sqrt, _named("sqrt"))
_give_one(np.exp, _named("exp"))


@intrinsic  # type: ignore[untyped-decorator]
def _power(typing_context: Any, a: Any, n: Any) -> Any:
    number = wider(typing_context, a, n)
    answer = Lanes(number)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        found = context.get_value_type(answer)(ir.Undefined)
        for lane in range(LANES):
            value = context.compile_internal(
                builder, lambda x, n: x**n, number(a.dtype, signature.args[1]),
                [builder.extract_element(given[0], ir.IntType(32)(lane)), given[1]],
            )  # fmt: skip
            found = builder.insert_element(found, value, ir.IntType(32)(lane))
        return found

    return answer(a, types.unliteral(n)), generate  # type: ignore[attr-defined]


@overload(operator.pow)
def _overload_power(a, n):  # type: ignore[no-untyped-def]
    return (lambda a, n: _power(a, n)) if _is_lanes(a) else None
