"""Whether calls are recorded, in which module call they are made, and who watches.

All three belong to the running context (`contextvars`): every thread and every asyncio task has its own.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["Scope", "State", "Watch", "enabled", "isolated", "no_grad", "state", "suspended", "watching"]


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
        suspended: how many `no_grad` the context is in; calls are recorded if it is in none.
        scope: the innermost module call, or None.
        watches: the observers to notify.
    """

    __slots__ = ("scope", "suspended", "watches")

    def __init__(self, suspended: int = 0, scope: Scope | None = None, watches: tuple[Watch, ...] = ()) -> None:
        self.suspended = suspended
        self.scope = scope
        self.watches = watches


state: ContextVar[State] = ContextVar("tinygrad_np.recording", default=State())  # noqa: B039 (State is never changed)

# Each manager below undoes its own change alone, since those in generators may end in any order. They are generators
# themselves, so that an interrupt anywhere in them, even before their body, ends in the `finally`.


@contextlib.contextmanager
def suspended(by: int = 1) -> Iterator[None]:
    """Within it, the context is in one more `no_grad`; with a negative number, in fewer."""
    before = state.get()
    try:
        state.set(State(before.suspended + by, before.scope, before.watches))
        yield
    finally:
        now = state.get()
        if now is not before:
            state.set(State(now.suspended - by, now.scope, now.watches))


def enabled() -> contextlib.AbstractContextManager[None]:
    """Within it, calls are recorded even within `no_grad`: a derivative was asked for."""
    return suspended(-state.get().suspended)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Within it, the watch is notified, after those that are there already."""
    before = state.get()
    try:
        state.set(State(before.suspended, before.scope, (*before.watches, watch)))
        yield
    finally:
        now = state.get()
        state.set(State(now.suspended, now.scope, tuple(other for other in now.watches if other is not watch)))


@contextlib.contextmanager
def isolated(*watches: Watch) -> Iterator[None]:
    """Within it, calls are recorded outside of any module call, for these watches only."""
    before = state.get()
    try:
        state.set(State(0, None, watches))
        yield
    finally:
        state.set(before)


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
        return type(self)()  # threads that call a decorated function share none

    def __enter__(self) -> None:
        self._entered.append(suspended())
        self._entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)
