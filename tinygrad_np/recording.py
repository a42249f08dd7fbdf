"""Whether calls are recorded, in which module call they are made, and who watches.

All three belong to the running context (`contextvars`): every thread and every asyncio task has its own.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["Scope", "State", "Watch", "changed", "no_grad", "state", "watching"]


class Scope:
    """One call of a module, in which other calls are made.

    Attributes:
        outer: the module call that it was made in, or None.
        kind: the module's class.
        module: a weak reference to the module, so that a graph keeps none alive and is in no cycle with one.
    """

    __slots__ = ("kind", "module", "outer")

    def __init__(self, module: Any, outer: Scope | None) -> None:
        self.outer = outer
        self.kind = type(module)
        self.module = weakref.ref(module)


class Watch(Protocol):
    """An observer, notified of each recorded call and of each derivative; `debug` has some."""

    def recorded(self, node: Any, seconds: float) -> None:
        """A call was made and recorded; `seconds` is the time that the function itself took."""

    def reached(self, node: Any, gradient: Any) -> None:
        """In a backward pass, the gradient with respect to the call's result is complete."""

    def derived(self, node: Any, parent: Any, contribution: Any) -> None:
        """In a backward pass, the rule of `node` gave its contribution to the gradient of `parent`."""


class State:
    """How a context records. Never changed, only replaced, because contexts inherit it from each other.

    Attributes:
        enabled: whether calls are recorded; not within `no_grad`.
        scope: the innermost module call, or None.
        watches: the observers to notify.
    """

    __slots__ = ("enabled", "scope", "watches")

    def __init__(self, enabled: bool = True, scope: Scope | None = None, watches: tuple[Watch, ...] = ()) -> None:
        self.enabled = enabled
        self.scope = scope
        self.watches = watches


state: ContextVar[State] = ContextVar("tinygrad_np.recording", default=State())  # noqa: B039 (State is never changed)


@contextlib.contextmanager
def changed(**attributes: Any) -> Iterator[None]:
    """Within it, the state has other attributes."""
    outer = state.get()
    given = {"enabled": outer.enabled, "scope": outer.scope, "watches": outer.watches}
    try:
        state.set(State(**(given | attributes)))
        yield
    finally:
        state.set(outer)


def watching(watch: Watch) -> contextlib.AbstractContextManager[None]:
    """Within it, the watch is notified, after those that are there already."""
    return changed(watches=(*state.get().watches, watch))


class no_grad(contextlib.ContextDecorator):  # noqa: N801 (PyTorch's name)
    """Within it, and in functions decorated with it, nothing is recorded.

    >>> from tinygrad_np import Tensor
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     (x * x).requires_grad
    False
    """

    def __init__(self) -> None:
        self._entered: list[contextlib.AbstractContextManager[None]] = []

    def _recreate_cm(self) -> no_grad:
        return type(self)()

    def __enter__(self) -> None:
        self._entered.append(changed(enabled=False))
        self._entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)
