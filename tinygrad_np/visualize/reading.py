"""Read a graph into a `Picture`: which items, boxes and edges there are, and what they are called.

A graph of any size is read in a few passes, without recursion, and no item is made for what will not be shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tinygrad_np.debug.places import parameter_name
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.errors import GraphError
from tinygrad_np.nn import Module
from tinygrad_np.recording import Scope
from tinygrad_np.tensor import Tensor
from tinygrad_np.visualize.folding import (
    Fold,
    Group,
    Unit,
    all_groups,
    calls_in_order,
    count_shown,
    fold,
    grouped,
    inputs_of,
    positions,
    source,
)
from tinygrad_np.visualize.measures import NO_GRADIENT, UNKNOWN, measure, show_costs, show_values
from tinygrad_np.visualize.picture import Box, Edge, Item, Picture
from tinygrad_np.visualize.wording import (
    call_options,
    call_title,
    counted,
    module_kind,
    scope_path,
    scope_title,
    shape_line,
)

__all__ = ["read"]

# Limits within which Graphviz needs seconds, and a reader can follow:
LARGEST = 300  # calls and collapsed modules in a picture
LONGEST_EDGES = 5000  # the edges between calls together, measured in calls that they pass by
FEW = 4  # if one call uses one result up to this often, each use is drawn
COLORS = {
    "operation": UNKNOWN,
    "module": "#f1eafa",
    "parameter": "#e0f2df",
    "input": "#dbeafe",
    "constant": "#eceff3",
}
LEGEND = {
    "operation": "operation",
    "module": "collapsed",
    "parameter": "parameter",
    "input": "input that requires a gradient",
    "constant": "constant",
}


def read(tensor: Tensor, model: Module | None, values: bool, costs: bool, depth: int | None) -> Picture:
    """Read the graph that led to a tensor. For the arguments see `tinygrad_np.visualize.draw`.

    Raises:
        GraphError: the tensor does not require grad.
    """
    if tensor.node is None:
        raise GraphError("there is no graph: this Tensor does not require grad")
    largest = LARGEST
    picture, reading = _read(tensor.node, model, not (values or costs), depth, largest)
    while _span(picture) > LONGEST_EDGES and largest > 10:
        largest //= 2
        picture, reading = _read(tensor.node, model, not (values or costs), depth, largest)
    if values:
        measures = measure(tensor.node, reading.nodes, reading.leaves)
        show_values(picture, reading.members, reading.constants, measures)
        picture.notices += measures.notices
    if costs:
        show_costs(picture, reading.members, not values)
    if not values:
        colors = {item.color for item in picture.items}
        kinds = [(COLORS[kind], text) for kind, text in LEGEND.items() if COLORS[kind] in colors]
        unreached = [(NO_GRADIENT, "no gradient reaches it")] if NO_GRADIENT in colors else []
        picture.legend = [*kinds, *unreached, *picture.legend]
    return picture


def _read(node: Node, model: Module | None, folded: bool, depth: int | None, largest: int) -> tuple[Picture, Reading]:
    """The picture, still without numbers, of at most `largest` calls and collapsed modules."""
    root, _ = source(node)
    nodes = calls_in_order(root)
    picture = Picture([], [], [])
    whole, depth, first = _arranged(nodes, folded, depth, largest, picture)
    reading = Reading(picture, nodes[first:], model)
    reading.show_calls(whole, depth, first)
    reading.show_inputs(root, 2 * largest)
    if not first:
        reading.show_unused_parameters(depth)
    reading.finish()
    return picture, reading


def _span(picture: Picture) -> int:
    """How many calls the edges between calls pass by in total, which decides how long Graphviz takes."""
    places = {item: place for place, item in enumerate(i for i in picture.items if i.kind in ("operation", "module"))}
    return sum(abs(places[edge.head] - places[edge.tail]) for edge in picture.edges if edge.tail in places)


def _arranged(
    nodes: Sequence[Node], folded: bool, depth: int | None, largest: int, picture: Picture
) -> tuple[Group, int | None, int]:
    """Make a tree of the calls that is small enough to be shown.

    Returns the tree, the depth to collapse at, and the first call to show. Notices say what was done unasked.
    """
    whole = grouped(nodes)
    count = count_shown(whole, depth)
    collapsed = max(group.depth for group in all_groups(whole)) if depth is None else depth
    if folded or count > largest:
        fold(whole, nodes)
    if count_shown(whole, depth) <= largest:
        if not folded and count > largest:
            picture.notices.append(
                f"{len(nodes):,} operations: repetitions are folded, and show the range over their rounds."
            )
        return whole, depth, 0
    while collapsed > 0 and count_shown(whole, collapsed) > largest:
        collapsed -= 1
    if count_shown(whole, collapsed) <= largest:
        picture.notices.append(
            f"{len(nodes):,} operations are too many to show: modules are collapsed, as with depth={collapsed}."
        )
        return whole, collapsed, 0
    picture.notices.append(
        f"{len(nodes):,} operations are too many to show: these are the {largest} nearest to the result."
    )
    return grouped(nodes[-largest:]), depth, len(nodes) - largest


class Reading:
    """A picture in the making.

    Attributes:
        members: for each item, the calls or leaves that it stands for.
        constants: the arrays of the items that stand for constants.
        leaves: for each leaf of the graph, the leaf that is shown for it: itself, or the one in the first round.
    """

    def __init__(self, picture: Picture, nodes: Sequence[Node], model: Module | None) -> None:
        self.picture = picture
        self.nodes = nodes
        self.numbers = {node: position for position, node in enumerate(nodes)}
        self.members: dict[Item, list[Node]] = defaultdict(list)
        self.constants: dict[Item, np.ndarray] = {}
        self.leaves: dict[Node, Node] = {}
        self.modules = {} if model is None else dict(model.named_modules())
        self.paths = {module: path for path, module in self.modules.items()}
        self.parameters = {} if model is None else dict(model.named_parameters())
        self.names = {parameter.node: name for name, parameter in self.parameters.items()}
        self.arrays = {} if model is None else {id(array): name for name, array in model.state_dict().items()}
        self.rest = Item("rest", "module", "", color=COLORS["module"])  # stands for calls that are left out
        self.shown = [self.rest] * len(nodes)  # for each call the item that stands for it
        self.like = list(range(len(nodes)))  # for each call itself, or the call of the first round that is shown for it
        self.folds: dict[int, Fold] = {}  # for each repeated call that is shown, the innermost repetition
        self.fold_boxes: dict[Fold, Box] = {}
        self.first_boxes: dict[Module | None, Box | Item] = {}  # of each module's first call
        self.hidden: dict[Item, int] = defaultdict(int)  # the number of parameters in each collapsed module
        self.unused: dict[Item, int] = defaultdict(int)  # and of those that are not in the graph
        self.order: dict[Item, tuple[int, int]] = {}
        self.drawn: set[tuple[Item, Item, str, bool]] = set()

    # Calls

    def show_calls(self, whole: Group, depth: int | None, left_out: int) -> None:
        """Make the boxes and items of the calls, and one item for the `left_out` calls before them."""
        if left_out:
            self.rest.title = counted(left_out, "earlier operation")
            self.order[self.rest] = (-1, 0)
        stack: list[tuple[Unit, Box | None, Fold | None]] = [(whole, None, None)]
        while stack:
            unit, box, repetition = stack.pop()
            if isinstance(unit, int):
                self._stands_for(self._operation(self.nodes[unit], box), [unit], repetition)
            elif isinstance(unit, Fold):
                box = self.fold_boxes[unit] = self._box(self._rounds_title(unit), box, len(unit.rounds))
                shown = list(positions(unit.rounds[0]))
                for units in unit.rounds[1:]:
                    for position, original in zip(positions(units), shown, strict=True):
                        self.like[position] = original
                stack += [(part, box, unit) for part in reversed(unit.rounds[0])]
            elif depth is not None and unit.depth > depth:
                inside = list(positions([unit]))
                self._stands_for(self._collapsed(unit, inside, box), inside, repetition)
            else:
                if unit.scope is not None:
                    box = self._box(scope_title(unit.scope, self.paths, unit.call), box)
                    self.first_boxes.setdefault(unit.scope.module(), box)
                stack += [(part, box, repetition) for part in reversed(unit.units)]
        for position, original in enumerate(self.like):
            if original != position:  # the original may itself be in a later round, of a repetition within this one
                self.like[position] = self.like[original]
                self.shown[position] = self.shown[self.like[original]]
        for node, item in zip(self.nodes, self.shown, strict=True):
            self.members[item].append(node)

    def _operation(self, node: Node, box: Box | None) -> Item:
        lines = list(filter(None, (call_options(node), shape_line(node))))
        details = {"line": node.notes["place"]} if node.notes and "place" in node.notes else {}
        return Item(f"n{node.number}", "operation", call_title(node), lines, box, details, COLORS["operation"])

    def _collapsed(self, group: Group, inside: Sequence[int], box: Box | None) -> Item:
        assert group.scope is not None
        lines = list(filter(None, (shape_line(self.nodes[inside[-1]]), counted(len(inside), "operation"))))
        title = scope_title(group.scope, self.paths, group.call)
        item = Item(f"m{inside[0]}", "module", title, lines, box, color=COLORS["module"])
        self.first_boxes.setdefault(group.scope.module(), item)
        return item

    def _stands_for(self, item: Item, inside: Sequence[int], repetition: Fold | None) -> None:
        self.order[item] = (inside[0], 1)
        for position in inside:
            self.shown[position] = item
            if repetition is not None:
                self.folds[position] = repetition

    def _box(self, title: str, outer: Box | None, rounds: int = 1) -> Box:
        box = Box(f"b{len(self.picture.boxes)}", title, outer, rounds=rounds)
        self.picture.boxes.append(box)
        return box

    def _rounds_title(self, repetition: Fold) -> str:
        """For example "repeated 18 times: layers.2 to layers.36"."""
        first, last = repetition.rounds[0][0], repetition.rounds[-1][-1]
        paths = [
            scope_path(unit.scope, self.paths)
            for unit in (first, last)
            if isinstance(unit, Group) and unit.scope is not None
        ]
        names = f": {paths[0]} to {paths[1]}" if len(set(paths)) == 2 and all(paths) else ""
        return f"repeated {len(repetition.rounds):,} times{names}"

    # Edges, and what comes in from outside

    def show_inputs(self, root: Node, largest: int) -> None:
        """Make the edges, and items for leaves and constants: at most `largest`, those that are used last."""
        uses: dict[Node | int, list[int]] = defaultdict(list)  # of leaves, and of arrays by their id
        arrays: dict[int, np.ndarray] = {}
        scopes = {}
        fresh: dict[Node | int, list[Node]] = defaultdict(list)  # their counterparts in the other rounds
        again: set[Node | int] = set()  # those that other rounds use too
        for position, node in enumerate(self.nodes):
            original = self.like[position]
            inputs = inputs_of(node)
            twins = inputs_of(self.nodes[original])
            for (value, label), (twin, _) in zip(inputs, twins if len(twins) == len(inputs) else inputs, strict=True):
                if isinstance(value, Node) and value.rule is not LEAF:
                    self._connect(self.numbers.get(value), position, label, len(inputs) <= FEW)
                    continue
                key = value if isinstance(value, Node) else id(value)
                if isinstance(value, Node) and value not in self.leaves:
                    known = isinstance(twin, Node) and twin in self.leaves
                    self.leaves[value] = self.leaves[twin] if known else value  # type: ignore[index]
                    scopes[value] = node.scope
                    if self.leaves[value] is not value:
                        fresh[self.leaves[value]].append(value)
                if original == position:
                    uses[key].append(position)
                    if not isinstance(value, Node):
                        arrays[id(value)] = value
                elif value is twin:
                    again.add(key)
                elif isinstance(twin, np.ndarray):
                    fresh[id(twin)] = []
            if original == position and node.args is None and _lacks_a_constant(node):
                item = Item(f"c{position}", "constant", "constant", ["freed by backward()"], color=COLORS["constant"])
                self._enter(item, [position], True)
                item.box = self._outside(position, True)
        if root.rule is LEAF:
            self.leaves[root], uses[root], scopes[root] = root, [], None
        shown = [key for key, places in uses.items() if any(self.shown[i].kind == "operation" for i in places)]
        if len(shown) > largest:
            self.picture.notices.append(f"{len(shown) - largest:,} parameters, inputs and constants are not shown.")
        for key in shown[:-largest]:
            del uses[key]
        for key, places in uses.items():
            once = any(position in self.folds for position in places) and key not in fresh and key not in again
            lines = ["the same in each round"] * (key in again) + ["in the first round"] * once
            if not isinstance(key, Node):
                lines += ["another in each round"] * (key in fresh)
                self._constant(arrays[key], places, not once, lines)
                continue
            last = fresh[key][-1] if key in fresh else key
            names = [self.names.get(leaf) or parameter_name(leaf, scopes[leaf]) for leaf in (key, last)]
            self._leaf(key, names, places, [key, *fresh.get(key, ())], not once, lines)

    def _connect(self, made: int | None, used: int, label: str, each: bool) -> None:
        """Draw the edge between two calls: once for two items, unless `each`, and both calls are shown themselves."""
        head = self.shown[used]
        if made is None:
            if (self.rest, head, label, False) not in self.drawn:
                self.picture.edges.append(Edge(self.rest, head, label))
                self.drawn.add((self.rest, head, label, False))
            return
        tail = self.shown[made]
        first_made, first_used = self.like[made], self.like[used]
        same_round = made - first_made == used - first_used
        if tail is head and same_round:  # within a collapsed module
            return
        together = self.folds.get(first_made) is self.folds.get(first_used) is not None
        carried = first_made >= first_used or (together and not same_round)
        key = (tail, head, label, carried)
        themselves = each and tail.kind == head.kind == "operation" and made == first_made and used == first_used
        if themselves or key not in self.drawn:
            self.picture.edges.append(Edge(tail, head, label, carried))
            self.drawn.add(key)

    def _leaf(
        self,
        leaf: Node,
        names: list[str | None],
        inside: list[int],
        same: list[Node],
        each_round: bool,
        lines: list[str],
    ) -> None:
        """Make the item of a leaf, and its edges. It stands for the leaves `same`, of one leaf in each round."""
        kind = "parameter" if names[0] else "input"
        size = f"{len(same)} x {leaf.out.size:,}" if len(same) > 1 else f"{leaf.out.size:,}"
        users = {self.shown[position] for position in inside}
        user = users.pop() if len(users) == 1 else None
        if user is not None and user.kind == "module" and kind == "parameter":
            self.hidden[user] += leaf.out.size
            return
        lines = [shape_line(leaf), *lines]
        if kind == "parameter":
            lines.insert(1, f"{size} parameter{'s' * (leaf.out.size != 1)}")
        if names[1] and names[1] != names[0]:
            lines.insert(0, f"to {names[1]}")
        title = names[0] or leaf.name or "input"
        item = Item(f"n{leaf.number}", kind, title, lines, color=COLORS[kind])
        self.members[item] = same
        self._enter(item, inside, each_round)
        if kind == "input" and inside:
            item.box = self._outside(inside[0], each_round)

    def _constant(self, array: np.ndarray, inside: list[int], each_round: bool, lines: list[str]) -> None:
        """Make the item of a constant, and its edges, unless it belongs inside a collapsed module."""
        users = {self.shown[position] for position in inside}
        item = Item(f"c{inside[0]}_{len(self.order)}", "constant", self.arrays.get(id(array), "constant"))
        item.lines = [f"{array.shape} {array.dtype}", *lines]
        item.color = COLORS["constant"]
        enters = any(self._starts(position) for position in inside)
        if len(users) == 1 and users.pop().kind == "module" and not enters:
            return
        self.constants[item] = array
        self._enter(item, inside, each_round)
        if enters and id(array) not in self.arrays:  # data comes from outside the module that works on it first
            item.box = self._outside(inside[0], each_round)

    def _starts(self, position: int) -> bool:
        """Whether a call works only on leaves and constants."""
        return not any(
            isinstance(value, Node) and value.rule is not LEAF for value, _ in inputs_of(self.nodes[position])
        )

    def _outside(self, position: int, each_round: bool) -> Box | None:
        """The box for what enters all modules from outside: that of a repetition if each round takes it, else None."""
        repetition = self.folds.get(position)
        return self.fold_boxes[repetition] if repetition is not None and each_round else None

    def _enter(self, item: Item, inside: Sequence[int], each_round: bool) -> None:
        """Put a leaf or constant into the innermost box around all its uses, and draw its edges.

        What only the first round of a repetition takes stands outside of the repetition.
        """
        self.order[item] = (min((self.order[self.shown[position]][0] for position in inside), default=0), 0)
        if not inside:
            return
        boxes = [_enclosing(self.shown[position].box) for position in inside]
        shared = [box for box in boxes[0] if all(box in others for others in boxes)]
        if not each_round:
            repeated = [i for i, box in enumerate(shared) if box.rounds > 1]
            shared = shared[: repeated[-1]] if repeated else shared
        item.box = shared[-1] if shared else None
        counts = Counter(inside)
        for position in inside:
            head = self.shown[position]
            few = head.kind == "operation" and counts[position] <= FEW
            if few or (item, head, "", False) not in self.drawn:
                self.picture.edges.append(Edge(item, head))
                self.drawn.add((item, head, "", False))

    # The rest of the model

    def show_unused_parameters(self, depth: int | None) -> None:
        """Make grey items for the model's parameters that are not in the graph, in the boxes of their modules."""
        constants = {item.title for item in self.order if item.kind == "constant"}
        unused = {
            name: parameter
            for name, parameter in self.parameters.items()
            if parameter.node not in self.leaves and name not in constants
        }
        if len(unused) > LARGEST:
            self.picture.notices.append(f"{len(unused):,} parameters of the model are not in the graph.")
            return
        called = _modules_called(self.nodes)
        for name, parameter in unused.items():
            path = name.rpartition(".")[0]
            if (owner := self.modules.get(path)) in called and owner not in self.first_boxes:
                continue  # in a round of a repetition that is not shown, or deep in a collapsed module
            home = self._home(path, depth)
            if isinstance(home, Item):
                self.unused[home] += parameter.size
                continue
            lines = [f"{parameter.shape} {parameter.dtype}", counted(parameter.size, "parameter")]
            lines.append("no gradient reaches it" if parameter.requires_grad else "requires no gradient")
            item = Item(f"u{len(self.order)}", "parameter", name, lines, home, color=NO_GRADIENT, dashed=True)
            self.order[item] = (len(self.nodes), 0)

    def _home(self, path: str, depth: int | None) -> Box | Item | None:
        """The box or item of a module of the model; it is made now if the module was not called."""
        names = path.split(".") if path else []
        home: Box | Item | None = None
        for i in range(len(names) + 1):
            prefix = ".".join(names[:i])
            module = self.modules.get(prefix)
            if module is None:  # it goes by another name
                continue
            if module in self.first_boxes:
                home = self.first_boxes[module]
            elif not isinstance(home, Item):
                title = " - ".join(filter(None, (prefix, module_kind(module))))
                if depth is not None and sum(box.rounds == 1 for box in _enclosing(home)) >= depth:
                    home = Item(
                        f"u{len(self.order)}", "module", title, ["not in the graph"], home, {}, NO_GRADIENT, True
                    )
                    self.order[home] = (len(self.nodes), 0)
                else:
                    home = self._box(title, home)
                self.first_boxes[module] = home
        return home

    def finish(self) -> None:
        """Bring items and edges into order, and complete the lines of collapsed modules."""
        for item, size in self.hidden.items():
            item.lines.append(counted(size, "parameter"))
        for item, size in self.unused.items():
            item.lines.append(f"{counted(size, 'parameter')} that no gradient reaches")
        self.picture.items = sorted(self.order, key=self.order.__getitem__)
        self.picture.edges.sort(key=lambda edge: self.order[edge.head])


def _enclosing(box: Box | None) -> list[Box]:
    """A box and those around it, the outermost first."""
    boxes: list[Box] = []
    while box is not None:
        boxes.insert(0, box)
        box = box.outer
    return boxes


def _lacks_a_constant(node: Node) -> bool:
    """Whether a freed call took a constant: it works on leaves only, but has more arguments."""
    arguments = list(zip(node.parents, node.rule.vjps, strict=False))
    return any(parent is None and vjp is not None for parent, vjp in arguments) and all(
        parent is None or parent.rule is LEAF for parent in node.parents
    )


def _modules_called(nodes: Sequence[Node]) -> set[Module | None]:
    """The modules whose calls, or calls within those, made the recorded calls."""
    scopes: set[Scope] = set()
    for node in nodes:
        scope = node.scope
        while scope is not None and scope not in scopes:
            scopes.add(scope)
            scope = scope.outer
    return {scope.module() for scope in scopes}
