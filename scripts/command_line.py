"""What the command lines of all scripts share: parsing, and errors in one line."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tinygrad_np.printing import printable


class Parser(argparse.ArgumentParser):
    """Takes only full flags, keeps the layout of the description and examples, and reports errors in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {in_one_line(message)} (see --help)\n")


def number(kind: type, low: float, high: float = math.inf, low_included: bool = True) -> Callable[[str], Any]:
    """A parser of numbers in a range, for argparse."""
    name = "a whole number" if kind is int else "a finite number"
    bounds = f"{'at least' if low_included else 'more than'} {low}" + (
        f" and less than {high}" if high < math.inf else ""
    )

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value < high and (low_included or value > low)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {bounds}")
        return value

    return parse


def path(text: str) -> Path:
    """A path, for argparse. An empty one is refused: most likely a shell variable was not set."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def text(value: str) -> str:
    """Any text but an empty one, for argparse."""
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


positive, count, share = number(float, 0, low_included=False), number(int, 1, 10**9), number(float, 0, 1)


def fail(program: str, error: Exception) -> int:
    """Report in one line on standard error what went wrong; returns the exit status for it."""
    print(f"{program}: error: {in_one_line(error)}", file=sys.stderr)
    return 2


def in_one_line(text: object) -> str:
    """The text for a terminal: control characters and line breaks, as in a file's name, are shown as escapes."""
    return printable(text).replace("\n", "\\n")


for stream in filter(None, (sys.stdout, sys.stderr)):
    if hasattr(stream, "reconfigure"):  # not so in Jupyter and IDLE
        stream.reconfigure(errors="backslashreplace")  # a file's name need not be in the terminal's encoding
