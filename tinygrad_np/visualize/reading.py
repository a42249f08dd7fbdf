"""Read a graph into a `Picture`: which items, boxes and edges there are, and what they are called.

A graph of any size is read in a few passes, without recursion, and no item is made for what will not be shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinygrad_np.debug.places import parameter_name
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.nn import Module
from tinygrad_np.recording import Scope
from tinygrad_np.visualize.folding import (
    Fold,
    Group,
    Input,
    Unit,
    all_groups,
    arguments,
    count_shown,
    fold,
    grouped,
    inputs_of,
    positions,
    shape_of,
)
from tinygrad_np.visualize.picture import COLORS, NO_GRADIENT, ORDERS, Box, Edge, Item, Picture, enclosing
from tinygrad_np.visualize.wording import (
    argument_name,
    call_options,
    call_title,
    changes,
    counted,
    expression,
    marks,
    module_kind,
    scope_path,
    scope_title,
    shape_line,
)

__all__ = ["Reading", "arranged"]

LONGEST_EDGES = 5000  # the edges between calls together, measured in calls that they pass by, that Graphviz can place
FEW = 4  # if one call uses one result up to this often, each use is drawn


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
    whole = grouped(nodes)
    notices = []

    def asked(group: Group) -> bool:
        return not opened and (group.is_part if depth is None else group.depth > depth)

    count = count_shown(whole, asked)
    if folded or count > largest:
        fold(whole, nodes)
    if count_shown(whole, asked) <= largest:
        if not folded and count > largest:
            notices.append(f"{len(nodes):,} operations: repetitions are folded, and show the range over their rounds.")
        return whole, asked, 0, notices
    deepest = max(group.depth for group in all_groups(whole))
    for limit in range(deepest if depth is None or opened else depth, -1, -1):

        def collapsed(group: Group, limit: int = limit) -> bool:
            return asked(group) or group.depth > limit

        if count_shown(whole, collapsed) <= largest:
            notices.append(
                f"{len(nodes):,} operations are too many to show: modules are collapsed, as with depth={limit}."
            )
            return whole, collapsed, 0, notices
    notices.append(f"{len(nodes):,} operations are too many to show: these are the {largest} nearest to the result.")
    return grouped(nodes[-largest:]), asked, len(nodes) - largest, notices


class Reading:
    """A picture in the making.

    Attributes:
        picture: what has been made of it.
        members: for each item, the calls or leaves that it stands for.
        constants: the arrays of the items that stand for constants.
        uses: for each edge that a gradient takes back, the call that uses the value, and where.
        leaves: for each leaf of the graph, the leaf that is shown for it: itself, or the one in the first round.
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
        folded_boxes: Callable[[Group], bool] | None,
    ) -> None:
        whole, self.collapsed, first, notices = arrangement
        self.picture = Picture([], [], [], notices=notices)
        self.nodes = nodes = nodes[first:]
        self.numbers = {node: position for position, node in enumerate(nodes)}
        self.members: dict[Item, list[Node]] = defaultdict(list)
        self.constants: dict[Item, np.ndarray] = {}
        self.uses: dict[Edge, Input] = {}
        self.leaves: dict[Node, Node] = {}
        self.variables = variables
        self.folded_boxes = folded_boxes
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
        self.called: dict[int, str] = {}  # names, by the identities of calls, leaves and constant arrays
        self.parts: set[Item] = set()  # the collapsed parts that have a name
        self.hidden: dict[Item, int] = defaultdict(int)  # the number of parameters in each collapsed module
        self.unused: dict[Item, int] = defaultdict(int)  # and of those that are not in the graph
        self.order: dict[Item, tuple[int, int]] = {}
        self.drawn: set[tuple[Item, Item, str, bool]] = set()
        self.scalar = all(
            shape_of(node) == () and all(shape_of(given.value) == () for given in inputs_of(node)) for node in nodes
        ) and shape_of(root) == ()  # fmt: skip
        self.orders = derivative_orders(nodes)
        self.given = {id(array): name for array, name in outermost_inputs(nodes)}
        self._show_calls(whole, first)
        self._show_inputs(root, 2 * largest)
        if not first:
            self._show_unused_parameters()
        self._finish()

    # Calls

    def _show_calls(self, whole: Group, left_out: int) -> None:
        """Make the boxes and items of the calls, and one item for the `left_out` calls before them."""
        if left_out:
            self.rest.title = counted(left_out, "earlier operation")
            self.order[self.rest] = (-1, 0)
        stack: list[tuple[Unit, Box | None, Fold | None]] = [(whole, None, None)]
        while stack:
            unit, box, repetition = stack.pop()
            if isinstance(unit, int):
                self._stands_for(self._operation(unit, box), [unit], repetition)
            elif isinstance(unit, Fold):
                box = self.fold_boxes[unit] = self._box(self._rounds_title(unit), box, len(unit.rounds))
                shown = list(positions(unit.rounds[0]))
                for units in unit.rounds[1:]:
                    for position, original in zip(positions(units), shown, strict=True):
                        self.like[position] = original
                stack += [(part, box, unit) for part in reversed(unit.rounds[0])]
            elif self.collapsed(unit):
                inside = list(positions([unit]))
                self._stands_for(self._collapsed(unit, inside, box), inside, repetition)
            else:
                if unit.scope is not None:
                    box = self._box(self._group_title(unit), box)
                    box.folded = self.folded_boxes is not None and self.folded_boxes(unit)
                    box.order = self.orders.get(unit.scope, 0) if unit.scope.name == "backward" else 0
                    self._remember(unit.scope, box)
                stack += [(part, box, repetition) for part in reversed(unit.units)]
        for position, original in enumerate(self.like):
            if original != position:  # the original may itself be in a later round, of a repetition within this one
                self.like[position] = self.like[original]
                self.shown[position] = self.shown[self.like[original]]
        for node, item in zip(self.nodes, self.shown, strict=True):
            self.members[item].append(node)
        for position, original in enumerate(self.like):
            node, first, item = self.nodes[position], self.nodes[original], self.shown[position]
            if item.kind == "operation" and original != position and changes(node, first):
                item.title = call_title(first, numbered=False)
                item.lines[:-1] = ["another number in each round"]

    def _operation(self, position: int, box: Box | None) -> Item:
        node = self.nodes[position]
        order = self.orders.get(backward_around(node.scope), 0)
        details = {"line": node.notes["place"]} if node.notes and "place" in node.notes else {}
        title, lines, name = call_title(node), self._shape(node), node.name
        if not self.scalar:
            lines = list(filter(None, (call_options(node), *lines)))
        else:
            details = {"operation": title} | details
            operands = {each.slot: self._variable(each.value) for each in inputs_of(node)}
            title = expression(node, {slot: word for slot, word in operands.items() if word})
            name = self._variable(node)
        if name:
            title = f"{name} = {title}"
            self.called[id(node)] = name
        item = Item(f"n{node.number}", "operation", title, lines, box, details, ORDERS[min(order, 2)], order=order)
        item.marks = marks(node)
        return item

    def _shape(self, node: Node) -> list[str]:
        """A line with the shape and dtype; none, or only a dtype that is not usual, if all are single numbers."""
        line = shape_line(node)
        return [line] if not self.scalar else [line.removeprefix("() ")] if line != "() float64" else []

    def _variable(self, node: Node) -> str:
        """What the user calls a value: the name that it was given, or of the variable that it was assigned to."""
        noted: str = (node.notes or {}).get("variable", "")
        return node.name or self.names.get(node) or noted or self.variables.get(id(node), "")

    def _collapsed(self, group: Group, inside: Sequence[int], box: Box | None) -> Item:
        assert group.scope is not None
        lines = list(filter(None, (shape_line(self.nodes[inside[-1]]), counted(len(inside), "operation"))))
        item = Item(f"m{inside[0]}", "module", self._group_title(group), lines, box, color=COLORS["module"])
        item.marks = list(dict.fromkeys(mark for position in inside for mark in marks(self.nodes[position])))
        if group.is_part:
            self.parts.add(item)
        self._remember(group.scope, item)
        return item

    def _group_title(self, group: Group) -> str:
        assert group.scope is not None
        if group.scope.name == "backward":
            order = self.orders.get(group.scope, 1)
            return f"{('first', 'second', 'third')[order - 1] if order < 4 else f'{order}th'} derivative"
        return group.scope.name or scope_title(group.scope, self.paths, group.call)

    def _remember(self, scope: Scope, shown: Box | Item) -> None:
        if not scope.name:
            self.first_boxes.setdefault(scope.module(), shown)

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

    def _show_inputs(self, root: Node, largest: int) -> None:
        """Make the edges, and items for leaves and constants: at most `largest`, those that are used last."""
        uses: dict[Node | int, list[tuple[int, Input]]] = defaultdict(list)  # of leaves, and of arrays by their id
        scopes = {}
        fresh: dict[Node | int, list[Node]] = defaultdict(list)  # their counterparts in the other rounds
        again: set[Node | int] = set()  # those that other rounds use too
        for position, node in enumerate(self.nodes):
            original = self.like[position]
            inputs = inputs_of(node)
            twins = inputs_of(self.nodes[original])
            for given, (twin, *_) in zip(inputs, twins if len(twins) == len(inputs) else inputs, strict=True):
                value = given.value
                if isinstance(value, Node) and value.rule is not LEAF:
                    self._connect(self.numbers.get(value), position, given, len(inputs) <= FEW)
                    continue
                key = value if isinstance(value, Node) else id(value)
                if isinstance(value, Node) and value not in self.leaves:
                    known = isinstance(twin, Node) and twin in self.leaves
                    self.leaves[value] = self.leaves[twin] if known else value
                    scopes[value] = node.scope
                    if self.leaves[value] is not value:
                        fresh[self.leaves[value]].append(value)
                if original == position:
                    uses[key].append((position, given))
                elif value is twin:
                    again.add(key)
                elif isinstance(twin, np.ndarray):
                    fresh[id(twin)] = []
            if original == position and not arguments(node) and _lacks_a_constant(node):
                item = Item(f"c{position}", "constant", "constant", ["freed by backward()"], color=COLORS["constant"])
                self._enter(item, [(position, Input(None))], True)
                item.box = self._outside(position, True)
        if root.rule is LEAF:
            self.leaves[root], uses[root], scopes[root] = root, [], None
        shown = [key for key, places in uses.items() if any(self.shown[i].kind == "operation" for i, _ in places)]
        if len(shown) > largest:
            self.picture.notices.append(f"{len(shown) - largest:,} parameters, inputs and constants are not shown.")
        for key in shown[:-largest]:
            del uses[key]
        for key, places in uses.items():
            once = any(position in self.folds for position, _ in places) and key not in fresh and key not in again
            lines = ["the same in each round"] * (key in again) + ["in the first round"] * once
            if not isinstance(key, Node):
                lines += ["another in each round"] * (key in fresh)
                self._constant(places[0][1].value, places, not once, lines)
                continue
            last = fresh[key][-1] if key in fresh else key
            names = [self.names.get(leaf) or parameter_name(leaf, scopes[leaf]) for leaf in (key, last)]
            self._leaf(key, names, places, [key, *fresh.get(key, ())], not once, lines)

    def _connect(self, made: int | None, used: int, given: Input, each: bool) -> None:
        """Draw the edge between two calls: once for two items, unless `each`, and both calls are shown themselves."""
        head, label = self.shown[used], given.label
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
            edge = Edge(tail, head, label or "next round" * (carried and tail is not head), carried)
            self.picture.edges.append(edge)
            self.uses[edge] = given
            self.drawn.add(key)

    def _leaf(
        self,
        leaf: Node,
        names: list[str | None],
        places: list[tuple[int, Input]],
        same: list[Node],
        each_round: bool,
        lines: list[str],
    ) -> None:
        """Make the item of a leaf, and its edges. It stands for the leaves `same`, of one leaf in each round."""
        kind = "parameter" if names[0] else "input"
        size = f"{len(same)} x {leaf.out.size:,}" if len(same) > 1 else f"{leaf.out.size:,}"
        users = {self.shown[position] for position, _ in places}
        user = users.pop() if len(users) == 1 else None
        if user is not None and user.kind == "module" and user not in self.parts and kind == "parameter":
            self.hidden[user] += leaf.out.size
            return
        lines = [*self._shape(leaf), *lines]
        if kind == "parameter" and not self.scalar:
            lines.insert(1, counted(leaf.out.size, "parameter", size))
        if names[1] and names[1] != names[0]:
            lines.insert(0, f"to {names[1]}")
        title = names[0] or self._variable(leaf) or self._argument(leaf.out) or "input"
        self.called.update((id(each), title) for each in same)
        item = Item(f"n{leaf.number}", kind, title, lines, color=COLORS[kind])
        self.members[item] = same
        self._enter(item, places, each_round)
        if kind == "input" and places:
            item.box = self._outside(places[0][0], each_round)

    def _argument(self, array: np.ndarray) -> str:
        """The name of the argument of the model, or of the loss, that an array was given as, or is a view of."""
        return self.given.get(id(array)) or self.given.get(id(array.base), "")

    def _constant(self, array: np.ndarray, places: list[tuple[int, Input]], each_round: bool, lines: list[str]) -> None:
        """Make the item of a constant, and its edges, unless it belongs inside a collapsed module."""
        inside = [position for position, _ in places]
        users = {self.shown[position] for position in inside}
        node, given = self.nodes[inside[0]], places[0][1]
        known = self._argument(array) or argument_name(node, given.slot) or self.variables.get(id(array), "")
        name = self.arrays.get(id(array)) or known or "constant"
        item = Item(f"c{inside[0]}_{len(self.order)}", "constant", name, color=COLORS["constant"])
        item.lines = [f"{array.shape} {array.dtype}", *lines]
        enters = any(self._starts(position) for position in inside)
        user = users.pop() if len(users) == 1 else None
        shown = enters or known or (user in self.parts and id(array) in self.arrays)
        if user is not None and user.kind == "module" and not shown:
            return
        self.constants[item] = array
        if name != "constant":
            self.called[id(array)] = name
        self._enter(item, places, each_round)
        if (enters or self._argument(array)) and id(array) not in self.arrays:  # data comes from outside the module
            item.box = self._outside(inside[0], each_round)

    def _starts(self, position: int) -> bool:
        """Whether a call works only on leaves and constants."""
        return not any(
            isinstance(given.value, Node) and given.value.rule is not LEAF for given in inputs_of(self.nodes[position])
        )

    def _outside(self, position: int, each_round: bool) -> Box | None:
        """The box for what enters all modules from outside: that of a repetition if each round takes it, else None."""
        repetition = self.folds.get(position)
        return self.fold_boxes[repetition] if repetition is not None and each_round else None

    def _enter(self, item: Item, places: Sequence[tuple[int, Input]], each_round: bool) -> None:
        """Put a leaf or constant into the innermost box around all its uses, and draw its edges.

        What only the first round of a repetition takes stands outside of the repetition.
        """
        inside = [position for position, _ in places]
        self.order[item] = (min((self.order[self.shown[position]][0] for position in inside), default=0), 0)
        if not inside:
            return
        boxes = [enclosing(self.shown[position].box) for position in inside]
        shared = [box for box in boxes[0] if all(box in others for others in boxes)]
        if not each_round:
            repeated = [i for i, box in enumerate(shared) if box.rounds > 1]
            shared = shared[: repeated[-1]] if repeated else shared
        item.box = shared[-1] if shared else None
        counts = Counter(inside)
        for position, given in places:
            head = self.shown[position]
            few = head.kind == "operation" and counts[position] <= FEW
            if few or (item, head, "", False) not in self.drawn:
                edge = Edge(item, head)
                self.picture.edges.append(edge)
                self.uses[edge] = given
                self.drawn.add((item, head, "", False))

    # The rest of the model

    def _show_unused_parameters(self) -> None:
        """Make grey items for the model's parameters that are not in the graph, in the boxes of their modules."""
        constants = {item.title for item in self.order if item.kind == "constant"}
        unused = {
            name: parameter
            for name, parameter in self.parameters.items()
            if parameter.node not in self.leaves and name not in constants
        }
        if len(unused) > MANY_UNUSED:
            self.picture.notices.append(f"{len(unused):,} parameters of the model are not in the graph.")
            return
        called = _modules_called(self.nodes)
        for name, parameter in unused.items():
            path = name.rpartition(".")[0]
            if (owner := self.modules.get(path)) in called and owner not in self.first_boxes:
                continue  # in a round of a repetition that is not shown, or deep in a collapsed module
            home = self._home(path)
            if isinstance(home, Item):
                self.unused[home] += parameter.size
                continue
            lines = [f"{parameter.shape} {parameter.dtype}", counted(parameter.size, "parameter")]
            lines.append("no gradient reaches it" if parameter.requires_grad else "requires no gradient")
            item = Item(f"u{len(self.order)}", "parameter", name, lines, home, color=NO_GRADIENT, dashed=True)
            self.order[item] = (len(self.nodes), 0)

    def _home(self, path: str) -> Box | Item | None:
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
                depth = 1 + sum(box.rounds == 1 for box in enclosing(home))
                if self.collapsed(Group(None, depth, 1, [])):
                    home = Item(
                        f"u{len(self.order)}", "module", title, ["not in the graph"], home, {}, NO_GRADIENT, True
                    )
                    self.order[home] = (len(self.nodes), 0)
                else:
                    home = self._box(title, home)
                self.first_boxes[module] = home
        return home

    def _finish(self) -> None:
        """Bring items and edges into order, and complete the lines of collapsed modules."""
        for item, size in self.hidden.items():
            item.lines.append(counted(size, "parameter"))
        for item, size in self.unused.items():
            item.lines.append(f"{counted(size, 'parameter')} that no gradient reaches")
        self.picture.items = sorted(self.order, key=self.order.__getitem__)
        self.picture.edges.sort(key=lambda edge: self.order[edge.head])
        calls = [item for item in self.picture.items if item.kind in ("operation", "module")]
        places = {item: place for place, item in enumerate(calls)}
        pairs = [(edge.tail, edge.head) for edge in self.picture.edges if edge.tail in places]
        self.incomplete = any(item.kind == "module" for item in calls)
        self.span = sum(abs(places[head] - places[tail]) for tail, head in pairs)


MANY_UNUSED = 300


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


def outermost_inputs(nodes: Sequence[Node]) -> list[tuple[np.ndarray, str]]:
    """The arrays that the model, or the loss, was called with, and the names of these arguments.

    Modules of this package call their argument x, which says nothing; it is their input.
    """
    found = []
    seen: set[Scope] = set()
    for node in nodes:
        scope = node.scope
        while scope is not None and scope not in seen:
            seen.add(scope)
            for name, reference in scope.inputs:
                array = reference()
                ours = scope.name or scope.kind.__module__.startswith("tinygrad_np.")
                if array is not None:
                    found.append((array, "input" if ours and name == "x" else name))
            scope = scope.outer
    return found


def _lacks_a_constant(node: Node) -> bool:
    """Whether a freed call took a constant: it works on leaves only, but has more arguments."""
    pairs = list(zip(node.parents, node.rule.vjps, strict=False))
    return any(parent is None and vjp is not None for parent, vjp in pairs) and all(
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
