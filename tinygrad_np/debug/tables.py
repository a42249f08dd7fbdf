"""Tables of text in columns, and the units in which they give times and memory."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(*blocks: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns, the first to the left and the others to the right, with a line between the blocks.

    >>> print(aligned([["module", "calls"]], [["layers.0", "1"], ["layers.2", "12"]]))
    module    calls
    ---------------
    layers.0      1
    layers.2     12
    """
    widths = [max(map(len, column)) for column in zip(*(row for block in blocks for row in block), strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(row: Sequence[str]) -> str:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        return "  ".join([row[0].ljust(len(first)), *others]).rstrip()

    return f"\n{rule}\n".join("\n".join(map(line, block)) for block in blocks)


def in_seconds(seconds: float) -> str:
    """A time in a unit that suits it, and a dash for none.

    >>> [in_seconds(time) for time in (0, 2e-6, 0.0123, 100)]
    ['-', '2.0 us', '12.3 ms', '100.0 s']
    """
    return _scaled(seconds * 1e6, ("us", "ms", "s"))


def in_bytes(count: float) -> str:
    """An amount of memory in a unit that suits it, and a dash for none: 1 kB is 1000 bytes.

    >>> [in_bytes(count) for count in (0, 4, 65536, 2e9)]
    ['-', '4 B', '65.5 kB', '2.0 GB']
    """
    return f"{count:.0f} B" if 0 < count < 1000 else _scaled(count, ("B", "kB", "MB", "GB"))


def _scaled(amount: float, units: Sequence[str]) -> str:
    """An amount of the first unit in the unit, each a thousand times the one before, that gives 1 to 999.9 of it."""
    if not amount:
        return "-"
    power = 0
    while amount >= 999.95 and power + 1 < len(units):
        amount, power = amount / 1000, power + 1
    return f"{amount:.1f} {units[power]}"
