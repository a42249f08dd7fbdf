"""Make large graphs small: group calls by the module calls they were made in, and fold repetitions.

The graph becomes a tree. Its leaves are recorded calls, known by their position in the order in which they were made. A
`Group` holds what one module call made. A `Fold` holds successive rounds of the same structure, of which a picture
shows only the first. Two stretches of a group are rounds of one repetition if they apply the same operations, with
results of the same shapes, and take their inputs from the same places relative to themselves. So a loop that carries a
state and uses one weight is a repetition, and so is a stack of equal layers, each with weights of its own. The first
round may take its inputs from anywhere, since no round comes before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from tinygrad_np.derivatives.table import ITEM, LEAF, PACK
from tinygrad_np.engine import Node, toposort
from tinygrad_np.gradients import outline
from tinygrad_np.recording import Scope

__all__ = ["Fold", "Group", "Input", "Unit", "all_groups", "arguments", "calls_in_order", "count_shown"]
__all__ += ["fold", "grouped", "inputs_of", "outline_of", "positions", "shape_of", "source"]

FEWEST_ROUNDS = 4
LONGEST_ROUNDS = (1, 10, 100, 10**9)  # tried in this order, so that a loop in a loop is folded first
TRIES = 8  # how many later occurrences of a call are tried as the start of the next round


@dataclass(eq=False, slots=True)
class Group:
    """What one module call made; the outermost group has no scope, and holds what no module made.

    Attributes:
        scope: the module call, or the part that has a name.
        depth: how many of these it is nested in, itself included.
        call: the number of this call among those of the same module, from 1.
        units: what it holds, in the order in which it was made.
        signs: two numbers, equal for equal groups: of what it does, and of that with where its inputs come from.
    """

    scope: Scope | None
    depth: int
    call: int = 1
    units: list[Unit] = field(default_factory=list)
    signs: tuple[int, int] = (0, 0)

    @property
    def is_part(self) -> bool:
        """Whether it is a part that has a name, such as `layer_norm`, which is shown as one box."""
        return self.scope is not None and self.scope.name not in ("", "backward")


@dataclass(eq=False, slots=True)
class Fold:
    """Successive rounds of the same structure, at least two, all equally long; `signs` are as those of a group."""

    rounds: list[list[Unit]]
    signs: tuple[int, int]


Unit = int | Group | Fold


def calls_in_order(root: Node) -> list[Node]:
    """The recorded calls that led to `root`, each after those that made its arguments, without bookkeeping nodes."""
    return [node for node in reversed(toposort([root])) if node.rule is not PACK and node.rule is not ITEM]


def arguments(node: Node) -> Sequence[Any]:
    """The arguments of a call. After the backward pass, the constants that `debug.trace()` has noted, or nothing."""
    return node.args if node.args is not None else (node.notes or {}).get("args", ())


class Input(NamedTuple):
    """One of the things that a call was applied to.

    Attributes:
        value: the recorded call or leaf that made it, or a constant array.
        label: which of several outputs it is, such as "item 0"; else empty.
        slot: the position among the call's arguments.
        link: the nodes between which the gradient passes: the call, or the list that is its argument, and its parent.
    """

    value: Any
    label: str = ""
    slot: int = 0
    link: tuple[Node, Node] | None = None


def inputs_of(node: Node) -> list[Input]:
    """What a call was applied to, without bookkeeping nodes.

    After the backward pass has freed the graph, constants are unknown but for those that `debug.trace()` has noted.
    """
    found: list[Input] = []
    args = arguments(node)
    for i, parent in enumerate(node.parents):
        if parent is None:
            if i < len(args):
                found += [Input(array, "", i) for array in _arrays(args[i])]
        elif parent.rule is PACK:
            found += [given._replace(slot=i) for given in inputs_of(parent)]
        else:
            found.append(Input(*source(parent), i, (node, parent)))
    return found


def source(node: Node) -> tuple[Node, str]:
    """The call or leaf that a node stands for, and a label that says which of the call's outputs it is."""
    label = ""
    while node.rule is ITEM:
        if node.args is not None and not node.parents[0].rule.residuals:
            label = f"item {node.kwargs['i']}"
        assert node.parents[0] is not None
        node = node.parents[0]
    return node, label


def _arrays(value: Any) -> list[np.ndarray]:
    """An array, or the arrays in an index; those without axes count as numbers."""
    values = value if type(value) is tuple else (value,)
    return [item for item in values if isinstance(item, np.ndarray) and item.ndim]


def grouped(nodes: Sequence[Node]) -> Group:
    """The tree of the calls, with nothing folded."""
    whole = Group(None, 0)
    groups: dict[Scope | None, Group] = {None: whole}
    times: Counter[Any] = Counter()
    for position, node in enumerate(nodes):
        scope = node.scope
        missing: list[Scope] = []
        while scope not in groups:
            assert scope is not None
            missing.append(scope)
            scope = scope.outer
        group = groups[scope]
        for inner in reversed(missing):
            module = inner if inner.name else inner.module() or inner
            times[module] += 1
            groups[inner] = Group(inner, group.depth + 1, times[module])
            group.units.append(groups[inner])
            group = groups[inner]
        group.units.append(position)
    return whole


def all_groups(whole: Group) -> list[Group]:
    """Every group of the tree, outer ones before inner ones."""
    groups = [whole]
    for group in groups:  # the loop also visits what it adds
        groups += [unit for unit in group.units if isinstance(unit, Group)]
    return groups


def positions(units: Iterable[Unit]) -> Iterator[int]:
    """The positions of all calls in `units`, in the order in which they were made."""
    for unit in units:
        if isinstance(unit, int):
            yield unit
        else:
            yield from positions(unit.units if isinstance(unit, Group) else chain(*unit.rounds))


def count_shown(unit: Unit, collapsed: Callable[[Group], bool]) -> int:
    """How many calls and collapsed groups a picture would show."""
    if isinstance(unit, int) or (isinstance(unit, Group) and collapsed(unit)):
        return 1
    return sum(count_shown(inner, collapsed) for inner in (unit.units if isinstance(unit, Group) else unit.rounds[0]))


def fold(whole: Group, nodes: Sequence[Node]) -> None:
    """Fold the repetitions in every group: inner groups first, and in each group the shortest rounds first."""
    numbers: dict[Any, int] = {}

    def number(key: Any) -> int:
        return numbers.setdefault(key, len(numbers))

    calls = _signs(nodes, number)

    def signs(units: Iterable[Unit], which: int) -> list[int]:
        return [(calls[unit] if isinstance(unit, int) else unit.signs)[which] for unit in units]

    def begins_like_the_next(first: list[Unit], second: list[Unit]) -> bool:
        """Whether two rounds do the same, and their calls take the same inputs from each other."""
        return signs(first, 0) == signs(second, 0) and wiring(first) == wiring(second)

    def wiring(units: list[Unit]) -> list[Any]:
        """For each call in a round, which of its inputs come from which call of the same round."""
        inner = {nodes[position]: i for i, position in enumerate(positions(units))}
        return [
            [
                (inner[value], label) if isinstance(value, Node) and value in inner else None
                for value, label, *_ in given
            ]
            for given in map(inputs_of, inner)
        ]

    for group in reversed(all_groups(whole)):
        units = group.units
        for longest in LONGEST_ROUNDS if len(units) >= FEWEST_ROUNDS else ():
            folded: list[Unit] = []
            done = 0
            for start, period, end in _runs(signs(units, 1), longest):
                # A run that does not end with a whole round may start later: best where the round before does the same.
                starts = range(start, min(start + (end - start) % period, start + period - 1) + 1)
                earlier = (
                    s - period
                    for s in starts
                    if s - period >= done and begins_like_the_next(units[s - period : s], units[s : s + period])
                )
                first = next(earlier, start)
                rounds = [units[s : s + period] for s in range(first, end - period + 1, period)]
                if len(rounds) >= FEWEST_ROUNDS:
                    both = (signs(rounds[0], 0), signs(rounds[0] + rounds[1], 1))
                    kind, wired = (number((len(rounds), *some)) for some in both)
                    folded += [*units[done:first], Fold(rounds, (kind, wired))]
                    done = first + period * len(rounds)
            units = folded + units[done:]
        group.units = units
        name = group.scope and (group.scope.kind, group.scope.name)
        group.signs = number((name, *signs(units, 0))), number((name, *signs(units, 1)))


def _runs(signs: Sequence[int], longest: int) -> Iterator[tuple[int, int, int]]:
    """Find stretches that repeat themselves; yield the start, the period and the end of each.

    They do not overlap, and last for at least FEWEST_ROUNDS - 1 rounds. At each start, the distances to the next
    occurrences of its sign are tried as periods. How far a period holds is remembered, so that no stretch is compared
    twice with the same one.
    """
    after = [0] * len(signs)
    seen: dict[int, int] = {}
    for i in range(len(signs) - 1, -1, -1):
        after[i] = seen.get(signs[i], 0)
        seen[signs[i]] = i
    holds: dict[int, int] = {}  # for each period, up to where signs[i] == signs[i + period]
    start = 0
    while start < len(signs):
        following = start
        for _ in range(TRIES):
            following = after[following]
            period = following - start
            if not following or period > longest or start + (FEWEST_ROUNDS - 1) * period > len(signs):
                start += 1
                break
            if signs[start + 2 * period] != signs[start] or signs[start + 1 + period] != signs[start + 1]:
                continue
            end = max(holds.get(period, 0), start)
            while end + period < len(signs) and signs[end] == signs[end + period]:
                end += 1
            holds[period] = end
            if end + period - start >= (FEWEST_ROUNDS - 1) * period:
                yield start, period, end + period
                start = end + period
                break
        else:
            start += 1


def _signs(nodes: Sequence[Node], number: Callable[[Any], int]) -> list[tuple[int, int]]:
    """For each call two numbers: for what it does, and for that with how far back its inputs were made or last used."""
    signs = []
    made: dict[Any, int] = {node: position for position, node in enumerate(nodes)}
    used: dict[Any, int] = {}
    for position, node in enumerate(nodes):
        given = inputs_of(node)
        kind = number((node.rule, shape_of(node), *_options(node), *(shape_of(each.value) for each in given)))
        inputs: list[Any] = []
        for value, label, *_ in given:
            key = value if isinstance(value, Node) else id(value)
            new = "leaf" if isinstance(value, Node) else "array"  # if it is used here for the first time
            before = used.get(key, made.get(key))
            inputs.append(new if before is None else (position - before, key in used, label))
            used[key] = position
        signs.append((kind, number((kind, *inputs))))
    return signs


def outline_of(value: Node | np.ndarray) -> Any:
    """The shape and dtype of an array or of a node's output; for several outputs, a list of these pairs."""
    if not isinstance(value, Node):
        return value.shape, value.dtype
    shapes = value.out if value.args is None and value.rule is not LEAF else outline(value.out)
    return shapes[0] if value.rule.residuals else shapes


def shape_of(value: Node | np.ndarray) -> Any:
    """The shape of an array or of a node's output; for several outputs, all their shapes."""
    shapes = outline_of(value)
    return tuple(shape for shape, _ in shapes) if isinstance(shapes, list) else shapes[0]


def _options(node: Node) -> list[Any]:
    """The integers and words among a call's arguments. Indices count up in loops, and other numbers change."""
    options: list[Any] = [repr(node.kwargs)] if node.kwargs else []
    if node.rule.name not in ("getitem", "assign", "scatter"):
        options += [
            repr(arg) if isinstance(arg, (int, str, tuple)) else type(arg)
            for arg, parent in zip(arguments(node), node.parents, strict=False)
            if parent is None and not isinstance(arg, (np.ndarray, list))
        ]
    return options
