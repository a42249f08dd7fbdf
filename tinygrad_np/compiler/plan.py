"""The third step: where each result is written, so that a program allocates nothing but what it hands out.

A result lives from the call that makes it to the last one that reads it, or a view of it. Afterwards its memory serves
another result: that of the very call that reads it last, if that works element by element, or of a later one. Memory
that is handed out, to the user or from the forward pass to the backward pass, is left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from operator import getitem
from typing import Any, TypeAlias

import numpy as np

from tinygrad_np.compiler.trace import Call, Variable, variables_in
from tinygrad_np.derivatives.elementwise import INTEGERS, masked
from tinygrad_np.derivatives.table import RULES
from tinygrad_np.writes import arrays
from tinygrad_np.writes import owner as memory

__all__ = ["Plan", "allocated", "plan"]

MASKED: Any = inspect.unwrap(masked)
Buffer: TypeAlias = tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]
REDUCTIONS = (np.sum, np.max, np.min, np.prod)


class Plan:
    """Where results go.

    Attributes:
        places: for each call whose result is written to memory that is there, that memory: a variable whose last reader
            it is, or the number of a buffer.
        buffers: of each buffer the shape, the dtype, and the axes in the order of memory.
        owner: for each variable the one that owns its memory.
    """

    def __init__(self, owner: Mapping[Variable, Variable]) -> None:
        self.owner = owner
        self.places: dict[Call, Variable | int] = {}
        self.buffers: list[Buffer] = []


def plan(
    before: Sequence[Call],
    after: Sequence[Call],
    given: Iterable[Variable],
    saved: Iterable[Variable],
    out: Iterable[Variable],
    same: Mapping[Variable, Variable],
) -> Plan:
    """Plan the memory of the calls of the two passes.

    Args:
        given: the variables that come from outside, whose memory is the user's.
        saved: those that the backward pass reads.
        out: those that are handed out.
        same: for the results of calls that were dropped as repeated, those that stand for them.
    """
    calls = [*before, *after]
    owner = owners(calls, given, same)
    kept = {owner[v] for v in (*given, *out)}
    by_columns = columns_first(calls, owner, kept)
    copies = copied(calls, out)
    owner |= {variable: variable for variable in copies}
    until: dict[Variable, int] = {}
    for i, call in enumerate(calls):
        for variable in (*call.outs, *variables_in([call.args, call.kwargs])):
            until[owner[variable]] = i
    read_later = {owner[v] for v in saved}
    result = Plan(owner)
    home: dict[Variable, int] = {}  # the buffer that holds an owner
    free: list[int] = []
    for i, call in enumerate(calls):
        made = call.outs[0] if len(call.outs) == 1 and not call.several else None
        if made is not None and owner[made] is made and (made in copies or takes_out(call, made)):
            untouched = kept | read_later if i >= len(before) else kept
            spare = spare_operand(call, made, i, until, owner, untouched)
            if spare is not None and (spare in by_columns) is (made in by_columns):
                result.places[call] = spare
                if owner[spare] in home:
                    home[made] = home.pop(owner[spare])
                if made in kept:  # then the memory is handed out after all, and must be fresh
                    release(result, home, made)
            elif made not in kept:
                assert made.array is not None
                order = (0, 1) if made in copies else (1, 0) if made in by_columns else in_memory(made.array)
                assert order is not None
                buffer: Buffer = made.shape, made.dtype, order
                fitting = [b for b in free if result.buffers[b] == buffer]
                number = fitting[0] if fitting else len(result.buffers)
                if fitting:
                    free.remove(number)
                else:
                    result.buffers.append(buffer)
                result.places[call] = home[made] = number
        for variable in [v for v in home if until[v] <= i and v not in read_later]:
            free.append(home.pop(variable))
    return result


def columns_first(calls: Sequence[Call], owner: Mapping[Variable, Variable], kept: Iterable[Variable]) -> set[Variable]:
    """The matrices whose columns, not rows, had better be contiguous: products with fewer rows than columns.

    NumPy computes `x @ y` into such memory as `y.T @ x.T`. BLAS then copies the larger operand in the cheaper way. With
    OpenBLAS a layer of 784 inputs and 512 outputs takes 0.66 of the time for 32 rows, 0.87 for 128, and the same from
    512 rows on. What is computed from these matrices element by element is laid out likewise. Functions that make a
    view or a copy, as the layout permits, must not come across them, since the plan knows which it was.
    """
    found: set[Variable] = set()
    for call in calls:
        made = call.outs[0] if len(call.outs) == 1 else None
        if made is None or len(made.shape) != 2 or made in kept or owner[made] is not made or not takes_out(call, made):
            continue
        if call.function is np.matmul:
            if made.shape[0] < made.shape[1]:
                found.add(made)
        elif is_elementwise(call):
            alike = {arg in found for arg in variables_in(call.args) if arg.shape == made.shape}
            if alike == {True}:
                found.add(made)
            elif True in alike:  # mixed layouts cost more than they gain
                return set()
    readers = [call for call in calls if not found.isdisjoint(owner[v] for v in variables_in([call.args, call.kwargs]))]
    return found if all(map(minds_no_layout, readers)) else set()


def copied(calls: Sequence[Call], kept: Iterable[Variable]) -> set[Variable]:
    """The transposed matrices that are the second factor of so many products that a copy by rows pays."""
    uses: dict[Variable, list[bool]] = {}
    for call in calls:
        for i, arg in enumerate(variables_in([call.args, call.kwargs])):
            uses.setdefault(arg, []).append(call.function in (np.matmul, np.dot) and arg is call.args[1] and i == 1)
    transposed = [call.outs[0] for call in calls if call.function is np.transpose and len(call.args) == 1]
    return {
        made
        for made in transposed
        if made not in kept
        and len(made.shape) == 2
        and made.dtype.kind in "fc"
        and len(uses[made]) >= 8
        and all(uses[made])
    }


def is_elementwise(call: Call) -> bool:
    return call.function is MASKED or getattr(call.function, "signature", "") is None


def minds_no_layout(call: Call) -> bool:
    """Whether a call makes a view of its arguments, or none, whatever their layout in memory."""
    function = call.function
    rule = RULES.get(function)
    ours = function is MASKED or (rule is not None and rule.residuals)
    return ours or isinstance(function, np.ufunc) or function in REDUCTIONS or function in (np.transpose, getitem)


def release(result: Plan, home: dict[Variable, int], made: Variable) -> None:
    """Take a result out of its buffer: the first call that wrote to it allocates instead."""
    number = home.pop(made, None)
    if number is not None:
        first = next(call for call, place in reversed(result.places.items()) if place == number)
        del result.places[first]


def owners(
    calls: Sequence[Call], given: Iterable[Variable], same: Mapping[Variable, Variable]
) -> dict[Variable, Variable]:
    """For each variable the one that owns its memory: itself, unless it is a view."""
    of_memory: dict[int, Variable] = {}
    found: dict[Variable, Variable] = {}
    dropped: dict[Variable, list[Variable]] = {}
    for other, variable in same.items():
        dropped.setdefault(variable, []).append(other)
    constants = Variable(np.empty(0), "constant", "", False)  # owns what is not the program's
    for array in arrays([[call.args, list(call.kwargs.values())] for call in calls]):
        of_memory[id(memory(array))] = constants
    for variable in (*given, *(v for call in calls for v in call.outs)):
        assert variable.array is not None
        found[variable] = of_memory.setdefault(id(memory(variable.array)), variable)
        for other in dropped.get(variable, ()):  # of which there may be views
            assert other.array is not None
            of_memory.setdefault(id(memory(other.array)), found[variable])
    return found


def takes_out(call: Call, made: Variable) -> bool:
    """Whether a call can write its result to memory that is given to it."""
    assert made.array is not None
    function = call.function
    ufunc = isinstance(function, np.ufunc) or function is np.dot or (function is MASKED and made.dtype in INTEGERS)
    reduction = call.function in REDUCTIONS and set(call.kwargs) <= {"axis", "keepdims"} and len(call.args) == 1
    return ((ufunc and not call.kwargs) or reduction) and made.array.ndim > 0 and in_memory(made.array) is not None


def in_memory(array: np.ndarray) -> tuple[int, ...] | None:
    """The axes, those first whose elements are farthest apart; None if the array does not fill its memory."""
    order = tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    return order if array.transpose(order).flags.c_contiguous else None


def allocated(buffer: Buffer) -> np.ndarray:
    """New memory for a buffer."""
    shape, dtype, order = buffer
    return np.empty([shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def spare_operand(
    call: Call,
    made: Variable,
    i: int,
    until: dict[Variable, int],
    owner: dict[Variable, Variable],
    untouched: set[Variable],
) -> Variable | None:
    """An argument that nothing reads any more, of the result's shape and dtype, if the call works by elements."""
    if not is_elementwise(call):
        return None
    for arg in call.args:
        if (
            isinstance(arg, Variable)
            and owner[arg] is arg
            and isinstance(arg.source, Call)
            and arg not in untouched
            and until[arg] == i
            and (arg.shape, arg.dtype) == (made.shape, made.dtype)
            and arg.array is not None
            and made.array is not None
            and arg.array.strides == made.array.strides
            and in_memory(arg.array) is not None
            and arg.array.flags.writeable
        ):
            return arg
    return None
