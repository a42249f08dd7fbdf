"""Prints the derivative table as Markdown: `python -m tinygrad_np.derivatives`."""

import importlib
from collections.abc import Callable
from typing import Any

from tinygrad_np import derivatives
from tinygrad_np.derivatives.table import COMPOSITES, CONSTANT, RULES


def module(function: Callable[..., Any]) -> str:
    """The module that a function is of. Some of NumPy's name none."""
    return getattr(function, "__module__", None) or "numpy"


def name(function: Callable[..., Any]) -> str:
    """The function's name as users write it after `np.`; "indexing" for x[index]."""
    if function.__name__ == "getitem":
        return "indexing"
    prefix = module(function).removeprefix("numpy").strip(".")
    return f"{prefix}.{function.__name__}" if prefix in ("fft", "linalg") else function.__name__


def family(function: Callable[..., Any]) -> str:
    """The module that holds the function's rule."""
    part = COMPOSITES.get(function) or next(vjp for vjp in RULES[function].vjps if vjp is not None)
    return module(part).rpartition(".")[2]


def markdown() -> str:
    """Each family with the first paragraph of its documentation, and its functions in alphabetical order."""
    of_numpy = {f: rule for f, rule in RULES.items() if module(f).partition(".")[0] in ("numpy", "_operator")}
    sections = []
    for title in derivatives.__all__:
        names = {name(f) for f, rule in of_numpy.items() if rule is not CONSTANT and family(f) == title}
        if names:
            text = (importlib.import_module(f"{derivatives.__name__}.{title}").__doc__ or "").partition("\n\n")[0]
            sections.append(f"**{title}** - {' '.join(text.split())}\n\n{', '.join(sorted(names))}")
    constants = {name(f) for f, rule in of_numpy.items() if rule is CONSTANT}
    sections.append(f"**constant** almost everywhere: plain arrays result.\n\n{', '.join(sorted(constants))}")
    return "\n\n".join(sections)


if __name__ == "__main__":
    print(markdown())
