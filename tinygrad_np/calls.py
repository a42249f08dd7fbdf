"""The many ways in which NumPy's functions are called, brought to the one that the engine knows.

`call` takes a function with its arguments as the user gave them. It replaces functions that are made of others, moves
keywords that hold Tensors to their positions, makes one value of a list of Tensors, and checks that the rule knows
every argument. What is left, positional arrays and constant keywords, goes to `engine.apply`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import COMPOSITES, CONSTANT, ITEM, PACK, RULES, Packed, Parts, Rule
from tinygrad_np.engine import NOTHING, Box, Node, apply, box, toposort
from tinygrad_np.errors import FOREIGN, NoDerivativeError, foreign_array, unexpected_keyword
from tinygrad_np.recording import state
from tinygrad_np.writes import written

__all__ = ["ancestors", "call", "holds_tensor", "holds_tracked", "one_value", "plain", "stacked"]

WRITERS = {np.copyto: "dst", np.put: "a", np.putmask: "a", np.fill_diagonal: "a", np.place: "arr"}
WRITERS[np.put_along_axis] = "arr"
"""The functions that write to their first argument, and its name."""

SEQUENCES = (list, tuple, *FOREIGN)

WRITING = frozenset(["out", "copy", "overwrite_input"])
"""The names of arguments by which other functions write to an array."""


@cache
def signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function. Before NumPy 2.4 those written in C tell none; their rules name the arguments."""
    try:
        return inspect.signature(function)
    except ValueError:
        rule = RULES[function]
        vjp = next(filter(None, rule.vjps), None) if rule else None
        return inspect.Signature([*inspect.signature(vjp).parameters.values()][2:] if vjp else None)


def call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] = NOTHING) -> Any:
    """Call a function with Tensors among its arguments; record the call if one of them requires a gradient.

    Returns:
        A Tensor, or one for each output. A plain result if the function is constant almost everywhere (comparisons,
        `argmax`, `floor` ...), or if it is not in the derivative table and no argument requires a gradient.

    Raises:
        NoDerivativeError: an argument requires a gradient, but the function, or that argument, has no rule.
        ShapeError: NumPy refused the shapes of the arrays.
    """
    made_of = COMPOSITES.get(function)
    if made_of is not None:
        trace = state.get().trace
        if holds_tracked([*args, *kwargs.values()]) or (trace is not None and function in WRITERS):
            if RULES[function].keywords:
                kwargs = named(function, RULES[function], (), kwargs)
            return (made_of if trace is None else trace.ours(made_of))(*args, **kwargs)
    if len(args) > harmless(function) or (kwargs and not WRITING.isdisjoint(kwargs)):
        target = written_to(function, args, kwargs)
        if target is not None and not holds_tracked([*args, *kwargs.values()]):
            return writing(function, args, kwargs, target)
    for value in kwargs.values():
        if isinstance(value, Box) or (isinstance(value, (list, tuple)) and holds_tensor(value)):
            args, kwargs = by_position(function, args, kwargs)
            break
    for arg in args:
        if not isinstance(arg, Box) and isinstance(arg, SEQUENCES):
            args = [one_value(function, arg) for arg in args]
            break
    rule = RULES[function]
    if rule is None or rule is CONSTANT or (len(args) <= rule.positional and rule.keywords.issuperset(kwargs)):
        return apply(function, args, kwargs, rule)
    if not holds_tracked(args):
        return apply(function, args, kwargs, rule)
    known = named(function, rule, args[rule.positional :], kwargs)
    options = {name: value for name, value in kwargs.items() if name not in known}  # the dtype of a ufunc
    return apply(partial(function, **options) if options else function, args[: rule.positional], known, rule)


@cache
def positional(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that can be given by position."""
    parameters = signature(function).parameters.items()
    return [name for name, p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


@cache
def harmless(function: Callable[..., Any]) -> int:
    """How many arguments can be given by position without any of them letting the function write to an array."""
    if isinstance(function, np.ufunc):  # Tensor.__array_ufunc__ looks after these
        return 2**31
    names = positional(function)
    places = [names.index(name) for name in WRITING.intersection(names)]
    return -1 if function in WRITERS else min(places, default=2**31)


def written_to(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The array that a call writes to: `out`, or its first argument; None if it writes to none."""
    if function in WRITERS:
        return args[0] if args else kwargs.get(WRITERS[function])
    names = positional(function)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    inputs = getattr(RULES[function], "keywords", ())  # of a function whose rule knows an argument `out`, it is one
    by = {name: given[name] for name in WRITING.intersection(given).difference(inputs)}
    overwrites = by.get("overwrite_input") or (function is np.nan_to_num and not by.get("copy", True))
    return given.get(names[0]) if overwrites else by.get("out")


def writing(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], target: Any) -> Any:
    """Call a function that writes to `target`, one of its arguments, and note that it did."""
    if (trace := state.get().trace) is not None:
        trace.refuse_writing(function)
    out = function(*plain(tuple(args)), **{name: plain(value) for name, value in kwargs.items()})
    if not isinstance(target, Box):
        return out
    written(target.array)
    return target if out is target.array else out


def holds_tensor(value: Any) -> bool:
    """Whether a value is a Tensor, or a list that holds one."""
    return isinstance(value, Box) or (isinstance(value, (list, tuple)) and any(map(holds_tensor, value)))


def holds_tracked(value: Any) -> bool:
    """Whether a call with this argument, or with the items of this list as arguments, has to be recorded."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_tracked, value))
    return isinstance(value, Box) and value.node is not None and not state.get().suspended


def plain(value: Any) -> Any:
    """The same value, or list, with arrays in the place of Tensors."""
    if isinstance(value, (list, tuple)):
        items = map(plain, value)
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Parts):
        return Parts({i: plain(part) for i, part in value.items()})
    return value.array if isinstance(value, Box) else value


def box_other(out: Any, node: Node | None) -> Any:
    """The Tensor of a result that is no array of floats. Of several arrays each becomes one, with a node of its own."""
    if isinstance(out, (tuple, list)):
        items = [np.asarray(item) for item in out]
        nodes = [node and Node(ITEM, [[]], {"i": i}, [node], item, node.scope) for i, item in enumerate(items)]
        boxes = map(box, items, nodes)
        return type(out)(*boxes) if hasattr(out, "_fields") else type(out)(boxes)
    array = out if type(out) is np.ndarray else np.asarray(out)
    if isinstance(out, FOREIGN) or (node is not None and array.dtype.kind not in "fcbiu"):
        raise foreign_array(out, node and node.rule)
    boxed = object.__new__(Box.kind)
    boxed.array = array
    boxed.node = node if array.dtype.kind in "fc" else None  # integers and booleans have no derivative
    return boxed


Box.other = staticmethod(box_other)


def stacked(value: Any) -> Any:
    """The array, or Tensor, that a nested list of numbers, arrays and Tensors stands for."""
    if not isinstance(value, (list, tuple)):
        return value
    return call(np.stack, ([stacked(item) for item in value],)) if holds_tensor(value) else np.asarray(value)


def one_value(function: Callable[..., Any], sequence: Any) -> Any:
    """A list among the arguments as one value: for a ufunc the array it stands for, else a list of arrays.

    If an array in the list requires a gradient, the list does: its node, a `PACK`, has the arrays' nodes as parents.
    """
    if isinstance(sequence, FOREIGN):
        raise foreign_array(sequence)
    if not isinstance(sequence, (list, tuple)):
        return sequence
    if isinstance(function, np.ufunc):
        return stacked(sequence)
    if not holds_tracked(sequence):
        return plain(sequence) if holds_tensor(sequence) else sequence
    items = [stacked(item) if holds_tracked(item) else plain(item) for item in sequence]
    parents = [item.node if isinstance(item, Box) else None for item in items]
    packed = Box()
    packed.array = arrays = Packed(map(plain, items))  # type: ignore[assignment]
    packed.node = Node(PACK, arrays, NOTHING, parents, arrays, state.get().scope)
    return packed


def ancestors(roots: Iterable[Node]) -> set[Node]:
    """The nodes `roots`, and all that they were computed from."""
    roots = list(roots)
    return {parent for node in toposort(roots) for parent in node.parents if parent is not None}.union(roots)


def by_position(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Move keywords that hold Tensors to their positions, where rules expect them.

    Raises:
        NoDerivativeError: an argument that requires a gradient has no position.
    """
    rest = dict(kwargs)
    names: list[str] = []
    if not isinstance(function, np.ufunc):  # whose arguments, all but flags, have positions only
        parameters = signature(function).parameters
        names = [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    tracked = [name for name, value in kwargs.items() if holds_tracked(value)]
    last = max((names.index(name) for name in tracked if name in names), default=-1)
    moved = [rest.pop(name, parameters[name].default) for name in names[len(args) : last + 1]]
    for name, value in rest.items():
        if name in tracked:
            raise NoDerivativeError(f"{function.__name__} has no derivative with respect to its argument {name}=")
        rest[name] = plain(value)
    return [*args, *moved], rest


def named(
    function: Callable[..., Any], rule: Rule, more: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Name the arguments after those that the rule takes by position, `more`; drop those left at their default.

    Raises:
        NoDerivativeError: the rule does not know one of them.
        ArgumentTypeError: the function has no argument of this name.
    """
    if isinstance(function, np.ufunc):
        # Of the options that all ufuncs have, dtype, casting and order need no derivative: the engine undoes casts.
        names = {name: value for name, value in kwargs.items() if name not in ("dtype", "casting", "order")}
    else:
        parameters = signature(function).parameters
        names = {**dict(zip(list(parameters)[rule.positional :], more, strict=False)), **kwargs}
        names = {k: v for k, v in names.items() if k not in parameters or v is not parameters[k].default}
        unexpected = [name for name in kwargs if name not in parameters]
        if unexpected and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise unexpected_keyword(rule.name, unexpected[0])
    unknown = [f"{name}=" for name in names if name not in rule.keywords]
    if unknown:
        raise NoDerivativeError(
            f"the derivative of {rule.name} does not know the argument {', '.join(unknown)}; "
            "leave it out, or .detach() the input"
        )
    return names
