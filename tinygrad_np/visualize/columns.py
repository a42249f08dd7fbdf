"""Break a picture that is much longer than a page into columns, as a text is, with signs where one goes on."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter, defaultdict
from dataclasses import replace
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
    calls = [item for item in picture.items if item.kind in ("operation", "module")]
    column = {item: bisect(starts, i) - 1 for i, item in enumerate(calls)}
    for edge in picture.edges:
        if edge.tail not in column and not edge.backward:
            column[edge.tail] = column[edge.head]
    firsts = [calls[i] for i in starts]
    shared = [box for box in enclosing(firsts[0].box) if all(box in enclosing(item.box) for item in firsts)]
    whole = shared[-1] if shared else None

    # The frames of the columns hold what stands in one of them as a whole.
    frames = [Box(f"column{k}", "", whole) for k in range(len(starts))]
    inside: dict[Box, set[int]] = defaultdict(set)
    for item, k in column.items():
        for box in enclosing(item.box):
            inside[box].add(k)

    def framed(outer: Box | None, columns: set[int]) -> Box | None:
        return frames[min(columns)] if outer is whole and len(columns) == 1 else outer

    boxes: dict[Box | None, Box | None] = {None: None}
    for box in picture.boxes:
        boxes[box] = replace(box, outer=framed(box.outer, inside[box]))
    for box in [*frames, *filter(None, boxes.values())]:
        box.outer = boxes.get(box.outer, box.outer)
    items = {
        item: replace(item, box=boxes.get(place := framed(item.box, {column.get(item, -1)} - {-1}), place))
        for item in picture.items
    }
    signs: dict[tuple[Item, int], tuple[Item, Item]] = {}  # by the value, and the column that it goes on in
    edges = []
    for edge in picture.edges:
        made, used = (edge.head, edge.tail) if edge.backward else (edge.tail, edge.head)
        k = column.get(used, 0)
        tail, head = items[edge.tail], items[edge.head]
        if made not in calls or column[made] == k or edge.carried:
            edges.append(replace(edge, tail=tail, head=head))
            continue
        if (made, k) not in signs:
            number = str(len(signs) + 1)
            below = Item(f"to{number}", "sign", number, box=items[made].box)
            above = Item(f"from{number}", "sign", number, box=frames[k])
            signs[made, k] = below, above
            edges += [Edge(items[made], below)]
        below, above = signs[made, k]
        if edge.backward:
            edges += [Edge(tail, above, edge.label, backward=True), Edge(below, head, "", backward=True)]
        else:
            edges.append(Edge(above, head, edge.label))
    tops = [items[firsts[0]]]
    for k, first in enumerate(firsts[1:], 1):
        tops.append(next((above for (_, column), (_, above) in signs.items() if column == k), items[first]))
    every = [*items.values(), *(sign for pair in signs.values() for sign in pair)]
    ordered = sorted([*frames, *filter(None, boxes.values())], key=lambda box: len(enclosing(box)))
    return replace(picture, items=every, edges=edges, boxes=ordered, tops=tops)


def column_starts(picture: Picture) -> list[int]:
    """Which of the operations and collapsed modules begin a column, as a page takes them; at least the first."""
    calls = [item for item in picture.items if item.kind in ("operation", "module")]
    place = {item: i for i, item in enumerate(calls)}
    inputs: dict[Item, list[Item]] = defaultdict(list)
    uses: dict[Item, list[int]] = defaultdict(list)  # of each item, where it is made and where it is used
    for edge in picture.edges:
        if not edge.backward and not edge.carried:
            inputs[edge.head].append(edge.tail)
            uses[edge.tail] += [place[item] for item in (edge.tail, edge.head) if item in place]
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
