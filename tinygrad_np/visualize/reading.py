"""Read a graph into a `Picture`: which items, boxes and edges there are, and what they are called.

A graph of any size is read in a few passes, and no item is made for what will not be shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinygrad_np.debug.places import parameter_name
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.nn import Module
from tinygrad_np.recording import Scope
from tinygrad_np.visualize import folding, wording
from tinygrad_np.visualize.folding import Fold, Group, Input, Unit, inputs_of, positions, shape_of
from tinygrad_np.visualize.picture import COLORS, NO_GRADIENT, ORDERS, Box, Edge, Item, Picture, enclosing

__all__ = ["LONGEST_EDGES", "Reading", "arranged"]

LONGEST_EDGES = 5000  # the edges between calls together, measured in calls that they pass by, that Graphviz can place
FEW = 4  # if one call uses one result up to this often, each use is drawn
MANY_UNUSED = 300  # parameters; more are only counted


def arranged(
    nodes: Sequence[Node], folded: bool, depth: int | None, largest: int, opened: bool = False
) -> tuple[Group, Callable[[Group], bool], int, list[str]]:
    """Make a tree of the calls that is small enough to be shown.

    Args:
        nodes: the calls.
        folded: fold repetitions, even where the calls are few.
        depth: collapse modules deeper than this; None for none but the parts that have a name.
        largest: how many calls and collapsed groups may be shown.
        opened: collapse only what has to be.

    Returns:
        The tree, which groups to collapse, the first call to show, and notices that say what was done unasked.
    """

    def collapsed(group: Group, limit: float = np.inf) -> bool:
        asked = group.is_part if depth is None else group.depth > depth
        return group.depth > limit or (asked and not opened)

    whole = folding.grouped(nodes)
    many = folding.count_shown(whole, collapsed) > largest
    if folded or many:
        folding.fold(whole, nodes)
    count = f"{len(nodes):,} operations"
    if folding.count_shown(whole, collapsed) <= largest:
        notice = f"{count}: repetitions are folded, and show the range over their rounds."
        return whole, collapsed, 0, [notice] * (many and not folded)
    for limit in range(max(group.depth for group in folding.all_groups(whole)), -1, -1):
        if folding.count_shown(whole, partial(collapsed, limit=limit)) <= largest:
            notice = f"{count} are too many to show: modules are collapsed, as with depth={limit}."
            return whole, partial(collapsed, limit=limit), 0, [notice]
    notice = f"{count} are too many to show: these are the {largest} nearest to the result."
    return folding.grouped(nodes[-largest:]), collapsed, len(nodes) - largest, [notice]


@dataclass(eq=False, slots=True)
class Outside:
    """A leaf or a constant array, which no recorded call made.

    Attributes:
        value: the leaf or array.
        scope: the module call in which it is first used.
        places: where it is used, among the calls that are shown: their positions, and how they take it.
        others: what other rounds of a repetition take in its place, with the scope.
        again: whether other rounds take it itself.
    """

    value: Any
    scope: Scope | None
    places: list[tuple[int, Input]] = field(default_factory=list)
    others: list[Outside] = field(default_factory=list)
    again: bool = False


class Reading:
    """A picture in the making.

    Attributes:
        picture: what has been made of it.
        members: for each item, the calls or leaves that it stands for.
        constants: the arrays of the items that stand for constants.
        uses: for each edge, the use of a value that it shows.
        outside: what comes in, by leaf or by the identity of the array.
        called: names, by the identities of calls, leaves and constant arrays.
        incomplete: whether something was collapsed or left out.
        scalar: whether every value is a single number, so that the picture can do without shapes.
        span: how many calls the edges between calls pass by in total, which decides how long Graphviz takes.
    """

    def __init__(
        self,
        root: Node,
        nodes: Sequence[Node],
        model: Module | None,
        variables: Mapping[int, str],
        arrangement: tuple[Group, Callable[[Group], bool], int, list[str]],
        largest: int,
        folded_boxes: Callable[[Group], bool],
    ) -> None:
        whole, self.collapsed, left_out, notices = arrangement
        self.picture = Picture([], [], [], notices=notices)
        self.nodes = nodes = nodes[left_out:]
        self.members: dict[Item, list[Node]] = defaultdict(list)
        self.constants: dict[Item, np.ndarray] = {}
        self.uses: dict[Edge, Input] = {}
        self.outside: dict[Node | int, Outside] = {}
        self.called: dict[int, str] = {}
        self.variables, self.folded_boxes = variables, folded_boxes
        self.modules = {} if model is None else dict(model.named_modules())
        self.paths = {module: path for path, module in self.modules.items()}
        self.parameters = {} if model is None else dict(model.named_parameters())
        self.names = {parameter.node: name for name, parameter in self.parameters.items()}
        self.arrays = {} if model is None else {id(array): name for name, array in model.state_dict().items()}
        self.rest = Item("rest", "module", wording.counted(left_out, "earlier operation"), color=COLORS["module"])
        self.shown = [self.rest] * len(nodes)  # for each call the item that stands for it
        self.like = list(range(len(nodes)))  # for each call itself, or the call of the first round that is shown for it
        self.first_boxes: dict[Module | None, Box | Item] = {}  # of each module's first call
        self.parts: set[Item] = set()  # the collapsed parts that have a name
        self.sizes: Counter[tuple[Item, str]] = Counter()  # of parameters in collapsed modules, with words about them
        self.order: dict[Item, float] = {self.rest: -1.0} if left_out else {}
        self.drawn: set[tuple[Item, Item, str, bool]] = set()
        values = [root, *nodes, *(given.value for node in nodes for given in inputs_of(node))]
        self.scalar = all(shape_of(value) == () for value in values)
        self.orders = derivative_orders(nodes)
        self.scopes = scopes_of(nodes)
        self.given = outermost_inputs(self.scopes)
        self._show_calls(whole)
        self._find_inputs()
        if root.rule is LEAF:
            self._show(self.outside.setdefault(root, Outside(root, None)))
        self._show_inputs(2 * largest)
        if not left_out:
            self._show_unused_parameters()
        self._finish()

    # Calls

    def _show_calls(self, whole: Group) -> None:
        """Make the boxes and items of the calls."""
        stack: list[tuple[Unit, Box | None]] = [(whole, None)]
        while stack:
            unit, box = stack.pop()
            if isinstance(unit, Fold):
                box = self._box(self._rounds_title(unit), box, len(unit.rounds))
                shown = list(positions(unit.rounds[0]))
                for units in unit.rounds[1:]:
                    for position, original in zip(positions(units), shown, strict=True):
                        self.like[position] = original
                stack += [(part, box) for part in reversed(unit.rounds[0])]
            elif isinstance(unit, int) or self.collapsed(unit):
                inside = list(positions([unit]))
                item = self._operation(unit, box) if isinstance(unit, int) else self._collapsed(unit, inside, box)
                self.order[item] = inside[0]
                for position in inside:
                    self.shown[position] = item
            else:
                if unit.scope is not None:
                    box = self._box(self._group_title(unit), box)
                    box.folded = self.folded_boxes(unit)
                    box.order = self.orders.get(unit.scope, 0) if unit.scope.name == "backward" else 0
                    self._remember(unit.scope, box)
                stack += [(part, box) for part in reversed(unit.units)]
        for position, node in enumerate(self.nodes):
            original = self.like[position]  # it may itself be in a later round, of a repetition within this one
            original = self.like[position] = self.like[original]
            item = self.shown[position] = self.shown[original]
            self.members[item].append(node)
            if item.kind == "operation" and original != position and wording.changes(node, self.nodes[original]):
                item.title = wording.call_title(self.nodes[original], numbered=False)
                item.lines[:-1] = ["another number in each round"]

    def _operation(self, position: int, box: Box | None) -> Item:
        node = self.nodes[position]
        order = self.orders.get(backward_around(node.scope), 0)
        details = {"line": node.notes["place"]} if node.notes and "place" in node.notes else {}
        title, lines, name = wording.call_title(node), self._shape(node), node.name
        if not self.scalar:
            variable = "" if name else (node.notes or {}).get("variable", "")
            lines = list(filter(None, (f"as {variable}" * bool(variable), wording.call_options(node), *lines)))
            self.called[id(node)] = variable
        else:
            details = {"operation": title} | details
            operands = {given.slot: self._variable(given.value) for given in inputs_of(node)}
            title = wording.expression(node, {slot: word for slot, word in operands.items() if word})
            name = self._variable(node)
        if name:
            title = f"{name} = {title}"
            self.called[id(node)] = name
        item = Item(f"n{node.number}", "operation", title, lines, box, details, ORDERS[min(order, 2)], order=order)
        item.marks = wording.marks(node)
        return item

    def _shape(self, node: Node) -> list[str]:
        """A line with the shape and dtype; none, or only a dtype that is not usual, if all are single numbers."""
        line = wording.shape_line(node)
        return [line] if not self.scalar else [line.removeprefix("() ")] if line != "() float64" else []

    def _variable(self, value: Node | np.ndarray) -> str:
        """What the user calls a value: its name, or that of the variable or argument that it was assigned to."""
        if not isinstance(value, Node):
            return self.variables.get(id(value), "")
        noted: str = (value.notes or {}).get("variable", "")
        return value.name or self.names.get(value) or noted or self.variables.get(id(value), "")

    def _collapsed(self, group: Group, inside: Sequence[int], box: Box | None) -> Item:
        assert group.scope is not None
        lines = list(
            filter(None, (wording.shape_line(self.nodes[inside[-1]]), wording.counted(len(inside), "operation")))
        )
        item = Item(f"m{inside[0]}", "module", self._group_title(group), lines, box, color=COLORS["module"])
        item.marks = list(dict.fromkeys(mark for position in inside for mark in wording.marks(self.nodes[position])))
        if group.is_part:
            self.parts.add(item)
        self._remember(group.scope, item)
        return item

    def _group_title(self, group: Group) -> str:
        assert group.scope is not None
        if group.scope.name == "backward":
            order = self.orders.get(group.scope, 1)
            return f"{('first', 'second', 'third')[order - 1] if order < 4 else f'{order}th'} derivative"
        return group.scope.name or wording.scope_title(group.scope, self.paths, group.call)

    def _remember(self, scope: Scope, shown: Box | Item) -> None:
        if not scope.name:
            self.first_boxes.setdefault(scope.module(), shown)

    def _box(self, title: str, outer: Box | None, rounds: int = 1) -> Box:
        box = Box(f"b{len(self.picture.boxes)}", title, outer, rounds=rounds)
        self.picture.boxes.append(box)
        return box

    def _rounds_title(self, repetition: Fold) -> str:
        """For example "repeated 18 times: layers.2 to layers.36"."""
        ends = repetition.rounds[0][0], repetition.rounds[-1][-1]
        paths = [wording.scope_path(unit.scope, self.paths) for unit in ends if isinstance(unit, Group) and unit.scope]
        names = f": {paths[0]} to {paths[1]}" if len(set(paths)) == 2 and all(paths) else ""
        return f"repeated {len(repetition.rounds):,} times{names}"

    # Edges, and what comes in from outside

    def _find_inputs(self) -> None:
        """Make the edges between calls, and find out what comes in, and where it is used."""
        numbers = {node: position for position, node in enumerate(self.nodes)}
        for position, node in enumerate(self.nodes):
            original = self.like[position]
            inputs, twins = inputs_of(node), inputs_of(self.nodes[original])
            for given, (twin, *_) in zip(inputs, twins if len(twins) == len(inputs) else inputs, strict=True):
                value = given.value
                if isinstance(value, Node) and value.rule is not LEAF:
                    self._connect(numbers.get(value), position, given, len(inputs) <= FEW)
                    continue
                known = self.outside.get(key_of(value))
                if original == position:
                    if known is None or known.value is not value:
                        known = self.outside[key_of(value)] = Outside(value, node.scope)
                    known.places.append((position, given))
                elif value is twin and known is not None:
                    known.again = True
                elif known is None or not isinstance(value, Node):
                    first = self.outside.get(key_of(twin))
                    if first is not None:
                        first.others.append(Outside(value, node.scope))
                    self.outside.setdefault(key_of(value), first or Outside(value, node.scope))
            if original == position and not folding.arguments(node) and _lacks_a_constant(node):
                item = Item(f"c{position}", "constant", "constant", ["freed by backward()"], color=COLORS["constant"])
                self._enter(item, [(position, Input(None))], each_round=True, inside=False)

    def _connect(self, made: int | None, used: int, given: Input, each: bool) -> None:
        """Draw the edge between two calls: once for two items, unless `each`, and both calls are shown themselves."""
        tail, head = self.rest if made is None else self.shown[made], self.shown[used]
        carried = False
        if made is not None:
            first_made, first_used = self.like[made], self.like[used]
            same_round = made - first_made == used - first_used
            if tail is head and same_round:  # within a collapsed module
                return
            together = loop_around(tail) is loop_around(head) is not None
            carried = first_made >= first_used or (together and not same_round)
            each = each and tail.kind == head.kind == "operation" and made == first_made and used == first_used
        self._edge(tail, head, given, carried, each and made is not None)

    def _edge(self, tail: Item, head: Item, given: Input, carried: bool = False, each: bool = False) -> None:
        key = (tail, head, given.label, carried)
        if each or key not in self.drawn:
            label = given.label or "next round" * (carried and tail is not head)
            edge = Edge(tail, head, label, carried)
            self.picture.edges.append(edge)
            self.uses[edge] = given
            self.drawn.add(key)

    def _show_inputs(self, largest: int) -> None:
        """Make the items of what comes in: at most `largest` at operations, those that are used last."""
        every = [each for key, each in self.outside.items() if each.places and key == key_of(each.value)]
        shown = [each for each in every if any(self.shown[i].kind == "operation" for i, _ in each.places)]
        if len(shown) > largest:
            self.picture.notices.append(f"{len(shown) - largest:,} parameters, inputs and constants are not shown.")
        left_out = set(shown[:-largest])
        for each in every:
            if each not in left_out:
                self._show(each)

    def _show(self, outside: Outside) -> None:
        """Make the item of a leaf or a constant, and its edges, unless it belongs inside a collapsed module."""
        value, places = outside.value, outside.places
        users = {self.shown[position] for position, _ in places}
        user = next(iter(users)) if len(users) == 1 else None
        module = user if user is not None and user.kind == "module" else None
        once = not (outside.again or outside.others) and any(map(loop_around, users))
        lines = ["the same in each round"] * outside.again + ["in the first round"] * once
        array = value.out if isinstance(value, Node) else value
        argument = self.given.get(id(array)) or self.given.get(id(array.base), "")
        if isinstance(value, Node):
            same = [outside, *outside.others]
            first, last = (
                self.names.get(each.value) or parameter_name(each.value, each.scope) for each in (same[0], same[-1])
            )
            if first and module is not None and module not in self.parts:
                self.sizes[module, ""] += array.size
                return
            title, inside = first or self._variable(value) or argument or "input", bool(first)
            lines = [*self._shape(value), *lines]
            if first and not self.scalar:
                shown = f"{len(same)} x {array.size:,}" if len(same) > 1 else ""
                lines.insert(1, wording.counted(array.size, "parameter", shown))
            if last and last != first:
                lines.insert(0, f"to {last}")
            item = Item(f"n{value.number}", "parameter" if first else "input", title, lines)
            self.members[item] = [each.value for each in same]
            self.called.update((id(each.value), title) for each in same)
        else:
            buffer, starts = self.arrays.get(id(array), ""), any(self._starts(position) for position, _ in places)
            position, given = places[0]
            known = argument or wording.argument_name(self.nodes[position], given.slot) or self._variable(array)
            if module is not None and not (starts or known or (module in self.parts and buffer)):
                return
            title, inside = buffer or known or "constant", bool(buffer) or not (starts or argument)
            lines = [f"{array.shape} {array.dtype}", *lines, *["another in each round"] * bool(outside.others)]
            item = Item(f"c{position}_{len(self.order)}", "constant", title, lines)
            self.constants[item] = array
            if title != "constant":
                self.called[id(array)] = title
        item.color = COLORS[item.kind]
        self._enter(item, places, not once, inside)

    def _starts(self, position: int) -> bool:
        """Whether a call works only on leaves and constants."""
        values = [given.value for given in inputs_of(self.nodes[position])]
        return all(not isinstance(value, Node) or value.rule is LEAF for value in values)

    def _enter(self, item: Item, places: Sequence[tuple[int, Input]], each_round: bool, inside: bool) -> None:
        """Put what comes in into the innermost box around all its uses, and draw its edges.

        What only the first round of a repetition takes stands outside of the repetition, and what is not `inside` of
        modules, such as data, outside of those.
        """
        self.order[item] = min((self.order[self.shown[position]] for position, _ in places), default=0) - 0.5
        boxes = [enclosing(self.shown[position].box) for position, _ in places]
        shared = [box for box in boxes[0] if all(box in others for others in boxes)] if boxes else []
        loops = [0, *(i for i, box in enumerate(shared, 1) if box.rounds > 1)]
        if not each_round and len(loops) > 1:
            shared = shared[: loops.pop() - 1]
        if not inside:
            shared = shared[: loops[-1]]
        item.box = shared[-1] if shared else None
        counts = Counter(position for position, _ in places)
        for position, given in places:
            head = self.shown[position]
            self._edge(item, head, given, each=head.kind == "operation" and counts[position] <= FEW)

    # The rest of the model

    def _show_unused_parameters(self) -> None:
        """Make grey items for the model's parameters that are not in the graph, in the boxes of their modules."""
        frozen = {item.title for item in self.constants}
        unused = {
            name: parameter
            for name, parameter in self.parameters.items()
            if parameter.node not in self.outside and name not in frozen
        }
        if len(unused) > MANY_UNUSED:
            self.picture.notices.append(f"{len(unused):,} parameters of the model are not in the graph.")
            return
        called = {scope.module() for scope in self.scopes}
        for name, parameter in unused.items():
            path = name.rpartition(".")[0]
            if (owner := self.modules.get(path)) in called and owner not in self.first_boxes:
                continue  # in a round of a repetition that is not shown, or deep in a collapsed module
            home = self._home(path)
            if isinstance(home, Item):
                self.sizes[home, " that no gradient reaches"] += parameter.size
                continue
            lines = [f"{parameter.shape} {parameter.dtype}", wording.counted(parameter.size, "parameter")]
            lines.append("no gradient reaches it" if parameter.requires_grad else "requires no gradient")
            self._grey("parameter", name, lines, home)

    def _grey(self, kind: str, title: str, lines: list[str], box: Box | None) -> Item:
        item = Item(f"u{len(self.order)}", kind, title, lines, box, color=NO_GRADIENT, dashed=True)
        self.order[item] = len(self.nodes)
        return item

    def _home(self, path: str) -> Box | Item | None:
        """The box or item of a module of the model; it is made now if the module was not called."""
        module = self.modules.get(path)
        if module not in self.first_boxes:
            outer = self._home(path.rpartition(".")[0]) if path else None
            if module is None or isinstance(outer, Item):  # it goes by another name, or is within what is collapsed
                return outer
            title = " - ".join(filter(None, (path, wording.module_kind(module))))
            depth = 1 + sum(box.rounds == 1 for box in enclosing(outer))
            is_small = self.collapsed(Group(None, depth))
            self.first_boxes[module] = (
                self._grey("module", title, ["not in the graph"], outer) if is_small else self._box(title, outer)
            )
        return self.first_boxes[module]

    def _finish(self) -> None:
        """Bring items and edges into order, and complete the lines of collapsed modules."""
        for (item, words), size in self.sizes.items():
            item.lines.append(wording.counted(size, "parameter") + words)
        self.picture.items = sorted(self.order, key=self.order.__getitem__)
        self.picture.edges.sort(key=lambda edge: self.order[edge.head])
        calls = [item for item in self.picture.items if item.kind in ("operation", "module")]
        places = {item: place for place, item in enumerate(calls)}
        pairs = [(edge.tail, edge.head) for edge in self.picture.edges if edge.tail in places]
        self.incomplete = any(item.kind == "module" for item in calls)
        self.span = sum(abs(places[head] - places[tail]) for tail, head in pairs)
        self.leaves = [key for key in self.outside if isinstance(key, Node)]


def key_of(value: Node | np.ndarray) -> Node | int:
    """What tells a value from others: itself, or the identity of an array."""
    return value if isinstance(value, Node) else id(value)


def loop_around(item: Item) -> Box | None:
    """The innermost repetition around an item."""
    return next((box for box in reversed(enclosing(item.box)) if box.rounds > 1), None)


def backward_around(scope: Scope | None) -> Scope | None:
    """The innermost backward pass that a scope lies in, or None."""
    while scope is not None and scope.name != "backward":
        scope = scope.outer
    return scope


def derivative_orders(nodes: Sequence[Node]) -> dict[Scope | None, int]:
    """For each backward pass that was recorded, the order of the derivatives that it computed; 0 for None."""
    orders: dict[Scope | None, int] = {None: 0}
    for node in nodes:
        here = backward_around(node.scope)
        for given in inputs_of(node) if here is not None else ():
            other = backward_around(given.value.scope) if isinstance(given.value, Node) else None
            if other is not here:
                orders[here] = max(orders.get(here, 1), orders.get(other, 0) + 1)
    return orders


def scopes_of(nodes: Sequence[Node]) -> list[Scope]:
    """The module calls and named parts in which calls were made, and those around them."""
    found: dict[Scope, None] = {}
    for node in nodes:
        scope = node.scope
        while scope is not None and scope not in found:
            found[scope] = None
            scope = scope.outer
    return list(found)


def outermost_inputs(scopes: Sequence[Scope]) -> dict[int, str]:
    """The arrays that the model, or the loss, was called with, by identity, and the names of these arguments.

    Modules of this package call their argument x, which says nothing; it is their input.
    """
    found = {}
    for scope in scopes:
        ours = scope.name or scope.kind.__module__.startswith("tinygrad_np.")
        for name, reference in scope.inputs:
            found[id(reference())] = "input" if ours and name == "x" else name
    found.pop(id(None), None)  # in the place of those that are gone
    return found


def _lacks_a_constant(node: Node) -> bool:
    """Whether a freed call took a constant: it works on leaves only, but has more arguments."""
    pairs = zip(node.parents, node.rule.vjps, strict=False)
    return any(parent is None and vjp is not None for parent, vjp in pairs) and all(
        parent is None or parent.rule is LEAF for parent in node.parents
    )
