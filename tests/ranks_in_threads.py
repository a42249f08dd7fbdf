"""A communicator for tests: the ranks are threads of one process, and meet at a barrier."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np


class Meeting:
    def __init__(self, size):
        self.values, self.barrier = [None] * size, threading.Barrier(size, timeout=20)


class Communicator:
    """Does what the methods of mpi4py's do that the library calls, in the same order of ranks every time."""

    def __init__(self, rank, meeting):
        self.rank, self.size, self.meeting = rank, len(meeting.values), meeting

    def allgather(self, value):
        self.meeting.values[self.rank] = copy.deepcopy(value)
        self.meeting.barrier.wait()
        values = list(self.meeting.values)
        self.meeting.barrier.wait()
        return copy.deepcopy(values)

    def bcast(self, value):
        return self.allgather(value)[0]

    def Allreduce(self, values, sums):  # noqa: N802 (MPI's name)
        assert values is None, "in place"
        sums[...] = np.sum(self.allgather(sums), axis=0, dtype=sums.dtype)


def on_ranks(size, work):
    """What `work(communicator)` returns on each rank."""
    meeting = Meeting(size)

    def one(rank):
        try:
            return work(Communicator(rank, meeting))
        except Exception:
            meeting.barrier.abort() if meeting.barrier.n_waiting else None
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(copy_context().run, one, rank) for rank in range(size)]
    return [future.result() for future in futures]
