"""Tables as text and for notebooks, and times and memory in readable units."""

from __future__ import annotations

import html
from collections.abc import Sequence

from tinygrad_np.printing import printable

__all__ = ["Blocks", "Printed", "aligned", "in_bytes", "in_html", "in_seconds"]


Blocks = tuple[Sequence[Sequence[str]], ...]


class Printed:
    """What prints as a table, in a notebook too: it has `blocks`, as for `aligned`, and may have text below them."""

    def blocks(self) -> Blocks:
        raise NotImplementedError

    def caption(self) -> str:
        return ""

    def __str__(self) -> str:
        return "\n\n".join(filter(None, (aligned(*self.blocks()), self.caption())))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return in_html(*self.blocks(), caption=self.caption())


def aligned(*blocks: Sequence[Sequence[str]]) -> str:
    """Align rows of cells in columns, the first column left and the others right, with a line between blocks.

    Args:
        blocks: each a sequence of rows; every row is a sequence of as many cells.

    Returns:
        The table, without a line break at its end. Control characters in cells are shown as escapes. What is long in
        the first column loses its middle, so that the table is not wider than a terminal of 80 characters.

    >>> print(aligned([["module", "calls"]], [["layers.0", "1"], ["layers.2", "12"]]))
    module    calls
    ---------------
    layers.0      1
    layers.2     12
    """
    blocks = tuple([[printable(cell).replace("\n", "\\n") for cell in row] for row in block] for block in blocks)
    widths = [max(map(len, column)) for column in zip(*(row for block in blocks for row in block), strict=True)]
    widths[0] = min(widths[0], max(80 - sum(widths[1:]) - 2 * len(widths[1:]), 16))
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(row: Sequence[str]) -> str:
        _, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        return "  ".join([_shortened(row[0], widths[0]).ljust(widths[0]), *others]).rstrip()

    return f"\n{rule}\n".join("\n".join(map(line, block)) for block in blocks)


def _shortened(text: str, width: int) -> str:
    """The text with its middle left out if it is too long; an indentation stays."""
    if len(text) <= width:
        return text
    indent = text[: len(text) - len(text.lstrip())]
    head = len(indent) + (width - len(indent) - 3) // 3
    return f"{text[:head]}...{text[len(text) - width + head + 3 :]}"


def in_html(*blocks: Sequence[Sequence[str]], caption: str = "") -> str:
    """Write the same rows as an HTML table, the first block as its head, for a notebook to show.

    Args:
        blocks: as for `aligned`.
        caption: text that stands below the table.

    Returns:
        The element.

    >>> in_html([["module", "calls"]], [["a < b", "1"]])[:60]
    '<table><thead><tr><th style="text-align: left; white-space: '
    """

    def lines(block: Sequence[Sequence[str]], tag: str) -> str:
        return "".join(f"<tr>{cells(row, tag)}</tr>" for row in block)

    def cells(row: Sequence[str], tag: str) -> str:
        sides = ["left; white-space: pre", *["right"] * (len(row) - 1)]  # the first column may be indented
        pairs = zip(sides, map(html.escape, row), strict=True)
        return "".join(f'<{tag} style="text-align: {side}">{cell}</{tag}>' for side, cell in pairs)

    head, *bodies = blocks
    parts = [f"<thead>{lines(head, 'th')}</thead>", *(f"<tbody>{lines(body, 'td')}</tbody>" for body in bodies)]
    below = [f"<div>{html.escape(line)}</div>" for line in caption.splitlines()]
    return "".join(["<table>", *parts, "</table>", *below])


def in_seconds(seconds: float) -> str:
    """Write a time, given in seconds, in a suitable unit, and zero as a dash.

    >>> [in_seconds(time) for time in (0, 2e-6, 0.0123, 100)]
    ['-', '2.0 us', '12.3 ms', '100.0 s']
    """
    return _scaled(seconds * 1e6, ("us", "ms", "s"))


def in_bytes(count: float) -> str:
    """Write an amount of memory, given in bytes, in a suitable unit (1 kB is 1000 bytes), and zero as a dash.

    >>> [in_bytes(count) for count in (0, 4, 65536, 2e9)]
    ['-', '4 B', '65.5 kB', '2.0 GB']
    """
    return f"{count:.0f} B" if 0 < count < 1000 else _scaled(count, ("B", "kB", "MB", "GB"))


def _scaled(amount: float, units: Sequence[str]) -> str:
    """Write an amount in the unit in which it is 1 to 999.9; each unit is a thousand times the one before."""
    if not amount:
        return "-"
    power = 0
    while amount >= 999.95 and power + 1 < len(units):
        amount, power = amount / 1000, power + 1
    return f"{amount:.1f} {units[power]}"
