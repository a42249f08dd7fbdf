"""Whether calls are recorded, in which module call they are made, and who watches.

All of it belongs to the running context (`contextvars`): every thread and every asyncio task has its own.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np

from tinygrad_np.errors import ArgumentTypeError

__all__ = [
    "Context",
    "Scope",
    "State",
    "Watch",
    "composed",
    "differentiating",
    "enabled",
    "isolated",
    "named",
    "next_number",
    "no_grad",
    "state",
    "tracing",
    "watching",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

next_number = itertools.count(1).__next__
"""Counts nodes, and writes to arrays, in the order of their making."""


class Scope:
    """One call of a module, in which other calls are made; or a part of the user's code that has a name.

    Attributes:
        outer: the scope that it was entered in, or None.
        kind: the module's class.
        module: a weak reference to the module, so that a graph keeps none alive and is in no cycle with one. For a part
            with a name, it and `kind` are those of the module call around it, or None.
        name: of a part that is drawn as one box; "" for a module call.
        inputs: the arrays that an outermost scope was given, as weak references, with the names of the arguments.
    """

    __slots__ = ("inputs", "kind", "module", "name", "outer")

    def __init__(
        self, module: Any, outer: Scope | None, function: Any = None, args: Sequence[Any] = (), name: str = ""
    ) -> None:
        self.outer, self.name = outer, name
        self.inputs: list[tuple[str, weakref.ref[Any]]] = []
        self.kind: Any = type(module) if module is not None else outer.kind if outer is not None else None
        self.module: Callable[[], Any] = (
            weakref.ref(module) if module is not None else outer.module if outer is not None else nothing
        )
        if outer is None and function is not None:
            code = getattr(function, "__code__", None)
            names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
            for argument, value in zip(names[names[:1] == ["self"] :], args, strict=False):
                value = getattr(value, "array", value)
                if isinstance(value, np.ndarray):
                    self.inputs.append((argument, weakref.ref(value)))


def nothing() -> None:
    """A module that is not there."""


class Watch(Protocol):
    """An observer, notified of each recorded call and of each derivative; `debug` has some.

    One that has a method `ran(call, backward, seconds, taken)` is notified of the calls of compiled programs too. While
    another watches, compiled functions are not run as programs. One that has `stepped(optimizer, place, seconds)` is
    notified of the steps of optimizers.
    """

    def recorded(self, node: Any, seconds: float) -> None:
        """A call was made and recorded; `seconds` is the time that the function itself took."""
        return None

    def reached(self, node: Any, gradient: Any) -> None:
        """In a backward pass, the gradient with respect to the call's result is complete."""
        return None

    def derived(self, node: Any, parent: Any, contribution: Any) -> None:
        """In a backward pass, the rule of `node` gave its contribution to the gradient of `parent`."""
        return None


class State:
    """How a context records. Never changed, only replaced, because contexts inherit it from each other.

    Attributes:
        suspended: a token of each `no_grad` that the context is in; calls are recorded if it is in none.
        scope: the innermost module call, or None.
        watches: the observers to notify.
        inputs: the nodes that running transforms of `func` differentiate with respect to.
        trace: what `compile` is tracing, or None.
    """

    __slots__ = ("inputs", "scope", "suspended", "trace", "watches")

    def __init__(
        self,
        suspended: frozenset[object] = frozenset(),
        scope: Scope | None = None,
        watches: tuple[Watch, ...] = (),
        inputs: frozenset[Any] = frozenset(),
        trace: Any = None,
    ) -> None:
        self.suspended = suspended
        self.scope = scope
        self.watches = watches
        self.inputs = inputs
        self.trace = trace

    def but(self, **changes: Any) -> State:
        """The same state, but for some attributes."""
        given = changes.get
        return State(
            given("suspended", self.suspended),
            given("scope", self.scope),
            given("watches", self.watches),
            given("inputs", self.inputs),
            given("trace", self.trace),
        )


state: ContextVar[State] = ContextVar("tinygrad_np.recording", default=State())  # noqa: B039 (State is never changed)


@contextlib.contextmanager
def _while(enter: Callable[[State], State], leave: Callable[[State], State]) -> Iterator[None]:
    """Change the state, and change it back at the end: not to what it was, since generators may end in any order.

    An interrupt may come anywhere. To leave twice does what to leave once does. And an interrupt before the body, or
    before the end, ends this generator, by the latest when the interrupt has been dealt with.
    """
    try:
        state.set(enter(state.get()))
        yield
    finally:
        try:
            state.set(leave(state.get()))
        except BaseException:
            state.set(leave(state.get()))
            raise


def suspended() -> contextlib.AbstractContextManager[None]:
    """Within it, nothing is recorded."""
    token = frozenset([object()])
    return _while(
        lambda now: now.but(suspended=now.suspended | token),
        lambda now: now.but(suspended=now.suspended - token),
    )


def enabled() -> contextlib.AbstractContextManager[None]:
    """Within it, calls are recorded even within `no_grad`: a derivative was asked for."""
    tokens = state.get().suspended
    return _while(
        lambda now: now.but(suspended=now.suspended - tokens),
        lambda now: now.but(suspended=now.suspended | tokens),
    )


def named(name: str) -> contextlib.AbstractContextManager[None]:
    """Within it, calls belong to a part of the user's code that has this name."""
    outer = state.get().scope
    return _while(lambda now: now.but(scope=Scope(None, outer, name=name)), lambda now: now.but(scope=outer))


def composed(function: F) -> F:
    """Make of a function that is made of several recorded calls a part with its name, which is drawn as one box."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        outer = state.get()
        scope = Scope(None, outer.scope, function, args, function.__name__)
        state.set(State(outer.suspended, scope, outer.watches, outer.inputs, outer.trace))
        try:
            return function(*args, **kwargs)
        finally:
            now = state.get()
            state.set(State(now.suspended, outer.scope, now.watches, now.inputs, now.trace))

    return call  # type: ignore[return-value]


def watching(watch: Watch) -> contextlib.AbstractContextManager[None]:
    """Within it, the watch is notified, after those that are there already."""

    def leave(now: State) -> State:
        return now.but(watches=tuple(other for other in now.watches if other is not watch))

    return _while(lambda now: now.but(watches=(*now.watches, watch)), leave)


def differentiating(inputs: frozenset[Any]) -> contextlib.AbstractContextManager[None]:
    """Within it, what depends on these nodes carries a derivative that must not get lost, and calls are recorded."""
    tokens = state.get().suspended
    return _while(
        lambda now: now.but(inputs=now.inputs | inputs, suspended=now.suspended - tokens),
        lambda now: now.but(inputs=now.inputs - inputs, suspended=now.suspended | tokens),
    )


def tracing(trace: Any) -> contextlib.AbstractContextManager[None]:
    """Within it, `trace` is handed every call; with None, calls are recorded as usual."""
    before = state.get().trace
    return _while(lambda now: now.but(trace=trace), lambda now: now.but(trace=before))


def isolated(*watches: Watch) -> contextlib.AbstractContextManager[None]:
    """Within it, calls are recorded outside of any module call, for these watches only."""
    before = state.get()
    return _while(lambda now: State(watches=watches), lambda now: before)


entered: ContextVar[tuple[int, ...]] = ContextVar("tinygrad_np.entered", default=())
"""The numbers under which each `Context` keeps the managers that this context is in: threads may share the object.

Only numbers: when an interrupt has prevented that a manager is left, it ends because nobody else refers to it.
"""


class Context(Generic[T]):
    """A context manager that also decorates functions, generator functions and coroutine functions.

    A decorated function is within it whenever its body runs. A generator is not while it waits at a `yield`.
    """

    def __init__(self, manager: Callable[[], contextlib.AbstractContextManager[T]]) -> None:
        self._manager = manager
        self._entered: dict[int, contextlib.AbstractContextManager[T]] = {}

    def __enter__(self) -> T:
        number, manager = next_number(), self._manager()
        self._entered[number] = manager
        entered.set((*entered.get(), number))
        return manager.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        numbers = entered.get()
        number = next((number for number in reversed(numbers) if number in self._entered), None)
        if number is None:  # entered in another thread or task, whose state cannot be changed from here
            return None
        entered.set(tuple(other for other in numbers if other != number))
        return self._entered.pop(number).__exit__(*error)

    def __call__(self, function: F) -> F:
        manager = self._manager
        if isinstance(function, type) or not callable(function):
            raise ArgumentTypeError(
                f"{function!r} cannot be decorated, but a function can; decorate the methods of a class, and a "
                "classmethod below @classmethod"
            )
        if inspect.isasyncgenfunction(function):
            raise ArgumentTypeError(
                f"the asynchronous generator {function.__name__} cannot be decorated; use a with statement in its body"
            )
        if inspect.iscoroutinefunction(function):

            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with manager():
                    return await function(*args, **kwargs)

            return functools.wraps(function)(coroutine)  # type: ignore[return-value]
        if inspect.isgeneratorfunction(function):

            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with contextlib.closing(function(*args, **kwargs)) as inner:
                    resume, value = inner.send, None
                    while True:
                        try:
                            with manager():
                                item = resume(value)
                        except StopIteration as stop:
                            return stop.value
                        try:
                            resume, value = inner.send, (yield item)
                        except Exception as error:
                            resume, value = inner.throw, error

            return functools.wraps(function)(generator)  # type: ignore[return-value]

        def call(*args: Any, **kwargs: Any) -> Any:
            with manager():
                return function(*args, **kwargs)

        return functools.wraps(function)(call)  # type: ignore[return-value]


@overload
def no_grad() -> Context[None]: ...
@overload
def no_grad(function: F) -> F: ...
def no_grad(function: Any = None) -> Any:
    """Within it, and in functions decorated with it, nothing is recorded.

    >>> from tinygrad_np import Tensor
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     (x * x).requires_grad
    False
    """
    context = Context(suspended)
    return context if function is None else context(function)
