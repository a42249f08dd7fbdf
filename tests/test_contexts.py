"""Whether calls are recorded, and who watches, belongs to the running context, whatever interrupts it."""

import asyncio
import contextlib
import gc
import random
import signal
import sys
import threading

import numpy as np
import pytest

from tinygrad_np import Tensor, debug, nn, no_grad
from tinygrad_np.errors import AnomalyError, ArgumentTypeError

x = Tensor([1.0, 2.0], requires_grad=True)


def is_recorded():
    return (x * 2).requires_grad


def test_no_grad_decorates_with_and_without_parentheses():
    @no_grad
    def one():
        return is_recorded()

    @no_grad()
    def two():
        return is_recorded()

    assert (one(), two(), is_recorded()) == (False, False, True)
    assert one.__name__ == "one"


def test_a_decorated_generator_records_nothing_in_its_body_and_lets_its_consumer_record():
    @no_grad()
    def generator(start):
        received = yield start, is_recorded()
        try:
            yield received, is_recorded()
        except ValueError:
            yield "caught", is_recorded()
        return "returned"

    running = generator(1)
    assert next(running) == (1, False)
    assert is_recorded()
    assert running.send(2) == (2, False)
    assert running.throw(ValueError) == ("caught", False)
    assert is_recorded()
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "returned"
    assert is_recorded()


def test_a_decorated_generator_that_is_closed_closes_the_one_within():
    closed = []

    @no_grad()
    def generator():
        try:
            yield 1
        finally:
            closed.append(is_recorded())

    running = generator()
    next(running)
    running.close()
    assert closed
    assert is_recorded()


def test_a_decorated_coroutine_records_nothing_though_others_run_in_between():
    @no_grad()
    async def evaluate():
        seen = [is_recorded()]
        await asyncio.sleep(0)
        return [*seen, is_recorded()]

    async def train():
        seen = [is_recorded()]
        await asyncio.sleep(0)
        return [*seen, is_recorded()]

    async def both():
        return await asyncio.gather(evaluate(), train(), evaluate())

    assert asyncio.run(both()) == [[False, False], [True, True], [False, False]]


def test_an_asynchronous_generator_cannot_be_decorated():
    with pytest.raises(ArgumentTypeError, match="with statement in its body"):

        @no_grad()
        async def generator():
            yield 1


def test_each_task_has_its_own_watches():
    async def watched():
        with debug.profile() as profile:
            await asyncio.sleep(0)
            np.exp(x)
            await asyncio.sleep(0)
        return sum(row.calls for row in profile.rows())

    async def unwatched():
        await asyncio.sleep(0)
        np.exp(x)
        np.exp(x)

    async def both():
        return await asyncio.gather(watched(), unwatched())

    assert asyncio.run(both())[0] == 1


@pytest.mark.parametrize("first", [0, 1])
def test_generators_in_no_grad_may_end_in_any_order(first):
    def suspended():
        with no_grad():
            yield

    running = [suspended(), suspended()]
    for generator in running:
        next(generator)
    assert not is_recorded()
    next(running[first], None)
    assert not is_recorded()
    next(running[1 - first], None)
    assert is_recorded()


def test_profiles_that_overlap_leave_nothing_behind():
    def profiled(profiles):
        with debug.profile() as profile:
            profiles.append(profile)
            yield

    profiles = []
    first, second = profiled(profiles), profiled(profiles)
    next(first), next(second)
    np.exp(x)
    next(first, None)
    np.exp(x)
    next(second, None)
    np.exp(x)
    assert [sum(row.calls for row in profile.rows()) for profile in profiles] == [1, 2]


def test_a_thread_starts_with_recording_whatever_its_parent_does():
    seen = []
    with no_grad(), debug.profile() as profile:
        thread = threading.Thread(target=lambda: seen.append(is_recorded()))
        thread.start()
        thread.join()
    assert seen == [True]
    assert not any(row.calls for row in profile.rows())


def test_a_module_s_call_ends_within_a_generator_that_suspends():
    class Module(nn.Module):
        def forward(self, values):
            generator = self.suspended()
            next(generator)
            return generator

        def suspended(self):
            with no_grad():
                yield

    generator = Module()(x)
    assert not is_recorded()
    next(generator, None)
    assert is_recorded()


def interrupted_at_random(enter, seconds, interrupts):
    """Enter and leave a context until a signal interrupts it, somewhere; in a destructor Python drops the exception."""
    count = len(interrupts)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        while len(interrupts) == count:
            with enter():
                pass
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer that interrupts")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # how Python drops an interrupt
@pytest.mark.parametrize("enter", [no_grad, debug.detect_anomaly, debug.profile, debug.trace])
def test_an_interrupt_anywhere_leaves_the_context_as_it_was(enter):
    interrupts = []

    def interrupt(number, frame):
        interrupts.append(number)
        raise KeyboardInterrupt

    before, chosen = signal.signal(signal.SIGALRM, interrupt), random.Random(0)
    try:
        for _ in range(700):
            with contextlib.suppress(KeyboardInterrupt):
                interrupted_at_random(enter, chosen.uniform(1e-6, 3e-4), interrupts)
            assert is_recorded()
    finally:
        signal.signal(signal.SIGALRM, before)
    gc.collect()
    assert np.geterr()["divide"] == "warn"
    with np.errstate(all="ignore"):
        np.log(x - 1)  # which detect_anomaly would refuse


def test_anomaly_detection_decorates_generators_too():
    @debug.detect_anomaly()
    def generator():
        yield np.log(x - 1)

    with pytest.raises(AnomalyError):
        next(generator())
    with np.errstate(all="ignore"):
        np.log(x - 1)


def test_threads_may_share_one_no_grad():
    shared, w, wrong = no_grad(), Tensor(1.0, requires_grad=True), []

    def run():
        for _ in range(200):
            with shared:
                wrong.append((w * 1).requires_grad)
            wrong.append(not (w * 1).requires_grad)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert len(wrong) == 4 * 2 * 200
    assert not any(wrong)


def test_tasks_may_share_one_no_grad():
    shared, w = no_grad(), Tensor(1.0, requires_grad=True)

    async def run(seconds):
        with shared:
            await asyncio.sleep(seconds)
        return (w * 1).requires_grad

    async def main():
        return await asyncio.gather(run(0.02), run(0.01), run(0.03))

    assert asyncio.run(main()) == [True, True, True]


@pytest.mark.parametrize("wrong", [5, False, Tensor, classmethod(len)])
def test_no_grad_decorates_functions_only(wrong):
    with pytest.raises(ArgumentTypeError, match="cannot be decorated"):
        no_grad(wrong)
