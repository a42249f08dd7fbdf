"""Break a picture that is much longer than a page into columns, as a text is, with signs where one goes on."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter, defaultdict
from copy import deepcopy
from itertools import pairwise

from tinygrad_np.visualize.picture import Box, Edge, Item, Picture, enclosing

__all__ = ["in_columns"]

LONG = 1500  # points, from which on a picture is broken
WIDTHS = (200, 450)  # of a column without and with parameters beside the operations


def in_columns(picture: Picture) -> Picture:
    """The same picture in columns that together fill a page, if it is long and single values lead from part to part.

    An edge to another column becomes two: to a numbered sign below its tail, and from one like it above its head.
    """
    starts = column_starts(picture)
    if len(starts) == 1:
        return picture
    picture = deepcopy(picture)
    firsts = [calls_of(picture)[i] for i in starts]
    column = {item: bisect(starts, i) - 1 for i, item in enumerate(calls_of(picture))}
    for edge in picture.edges:
        if not edge.backward:
            column.setdefault(edge.tail, column[edge.head])

    # The frames of the columns hold what stands in one of them as a whole.
    shared = [box for box in enclosing(firsts[0].box) if all(box in enclosing(item.box) for item in firsts)]
    whole = shared[-1] if shared else None
    frames = [Box(f"column{k}", "", whole) for k in range(len(starts))]
    inside: dict[Box, set[int]] = defaultdict(set)
    for item, k in column.items():
        for box in enclosing(item.box):
            inside[box].add(k)
        if item.box is whole:
            item.box = frames[k]
    for box, columns in inside.items():
        if box.outer is whole and len(columns) == 1:
            box.outer = frames[min(columns)]

    below: dict[Item, Item] = {}  # the signs of values that go on elsewhere
    above: dict[tuple[Item, int], Item] = {}  # and those in the columns in which they do
    edges = []
    for edge in picture.edges:
        made, used = (edge.head, edge.tail) if edge.backward else (edge.tail, edge.head)
        k = column[used]
        if column[made] == k or edge.carried:
            edges.append(edge)
            continue
        if made not in below:
            number = str(len(below) + 1)
            below[made] = Item(f"to{number}", "sign", number, box=made.box)
            edges.append(Edge(made, below[made]))
        sign = above.setdefault(
            (made, k), Item(f"from{below[made].title}_{k}", "sign", below[made].title, box=frames[k])
        )
        if edge.backward:
            edges += [Edge(edge.tail, sign, edge.label, backward=True), Edge(below[made], edge.head, backward=True)]
        else:
            edges.append(Edge(sign, edge.head, edge.label))
    picture.edges = edges
    picture.items += [*below.values(), *above.values()]
    picture.boxes = sorted([*frames, *picture.boxes], key=lambda box: len(enclosing(box)))
    first_above = {k: sign for (_, k), sign in reversed(above.items())}
    picture.tops = [first_above.get(k, first) for k, first in enumerate(firsts)]
    return picture


def calls_of(picture: Picture) -> list[Item]:
    return [item for item in picture.items if item.kind in ("operation", "module")]


def column_starts(picture: Picture) -> list[int]:
    """Which of the operations and collapsed modules begin a column, as a page takes them; at least the first."""
    calls = calls_of(picture)
    place = {item: i for i, item in enumerate(calls)}
    inputs: dict[Item, list[Item]] = defaultdict(list)
    uses: dict[Item, list[int]] = defaultdict(list)  # of each call, where it is made and where it is used
    for edge in picture.edges:
        if not edge.backward and not edge.carried:
            inputs[edge.head].append(edge.tail)
            if edge.tail in place:
                uses[edge.tail] += [place[edge.tail], place[edge.head]]
    bottom: dict[Item, float] = defaultdict(float)
    for item in calls:
        length = 55 + 11 * len(item.lines + item.formulas + item.marks) if picture.direction == "TB" else 90
        bottom[item] = max((bottom[tail] for tail in inputs[item]), default=0) + length
    total = max(bottom.values(), default=0)
    width = WIDTHS[any(item.kind == "parameter" for item in picture.items)]
    number = max(round(math.sqrt(total / width)), 1) if total > LONG else 1
    open_values = Counter(min(span) for span in uses.values())
    open_values.subtract(Counter(max(span) for span in uses.values()))
    values, reached = 0, 0.0
    ends = []  # where a column may end: after which call, how far down, in how many boxes
    for i, (item, following) in enumerate(pairwise(calls)):
        values += open_values[i]
        reached = max(reached, bottom[item])
        shared = [box for box in enclosing(item.box) if box in enclosing(following.box)]
        if values == 1 and not any(box.rounds > 1 for box in shared):
            ends.append((i, reached, len(shared)))
    best = {
        min(ends, key=lambda end: abs(end[1] - total * k / number) + end[2] * total / number / 6)[0]
        for k in range(1, number if ends else 1)
    }
    return [0, *(i + 1 for i in sorted(best))]
