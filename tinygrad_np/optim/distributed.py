"""Training by several processes that MPI joins, on one machine or many: each takes its part of every batch.

The processes, MPI's ranks, hold the same parameters. Each computes the gradient of its rows; the mean over all of them
is the gradient of the whole batch, so each can take the same step by itself. Nothing here imports MPI: a communicator
is handed in, such as `mpi4py.MPI.COMM_WORLD`. A loop needs the three lines that name `together`:

    comm = MPI.COMM_WORLD
    together = optim.Distributed(optimizer, comm)
    for epoch in range(epochs):
        for batch, truth in data.batches(x, y, batch_size=512, generator=epoch, part=(comm.rank, comm.size)):
            if len(truth):
                step(batch, truth).backward()
            together.average(len(truth))
            optimizer.step()
            optimizer.zero_grad()
        together.check()

Run it as `mpirun -n 4 python -m mpi4py loop.py`, so that an error in one process ends all of them.
"""

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_np.arguments import integer
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DistributedError
from tinygrad_np.optim.optimizers import Optimizer
from tinygrad_np.writes import written

__all__ = ["Distributed"]

Array = np.ndarray[Any, Any]
NO_ROWS = "rows is 0 on every rank, so there is no gradient; leave out empty batches"


class Distributed:
    """What the ranks do together around an optimizer of any kind. Every rank must call each method equally often.

    Making it gives all ranks the parameters, the buffers and the optimizer's state of rank 0.

    Args:
        optimizer: over parameters of the same shapes and dtypes, in the same order, on every rank.
        comm: an MPI communicator with mpi4py's `rank`, `size`, `Allreduce`, `bcast` and `allgather`.
        buffers: arrays beside the parameters that steps change, such as the running statistics of BatchNorm1d; they
            are averaged with the gradients. Whole numbers, such as counts, are left alone. (What a batch is normalised
            by is its rank's rows, so with BatchNorm the result does depend on the number of ranks.)

    Raises:
        ArgumentTypeError: `optimizer` is no Optimizer, or `comm` no communicator.
        DistributedError: the parameters or buffers of a rank have other shapes or dtypes. Every rank raises it.
    """

    def __init__(self, optimizer: Optimizer, comm: Any, buffers: Iterable[Array] = ()) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(f"optimizer must be one of optim's, but is a {type(optimizer).__name__}")
        if not all(hasattr(comm, name) for name in ("rank", "size", "Allreduce", "bcast", "allgather")):
            raise ArgumentTypeError(
                f"comm must be a communicator, such as mpi4py.MPI.COMM_WORLD, but is a {type(comm).__name__}"
            )
        self._optimizer, self._comm = optimizer, comm
        self._buffers = [array for array in buffers if array.dtype.kind == "f"]
        if comm.size == 1:
            return
        arrays = self._arrays()
        kinds = comm.allgather([f"{array.shape} {array.dtype}" for array in arrays])
        for rank, its in enumerate(kinds):
            if its != kinds[0]:
                raise DistributedError(f"rank {rank} has parameters and buffers {its}, but rank 0 has {kinds[0]}")
        for array, first in zip(arrays, comm.bcast(arrays), strict=True):
            array[...] = first
            written(array)
        optimizer.load_state_dict(comm.bcast(optimizer.state_dict()))
        # One flat buffer: an Allreduce of each array would wait for the network as often. float16 would overflow in it.
        sizes = [array.size for array in arrays]
        self._ends = np.cumsum(sizes).tolist()
        # After the arrays: of each parameter, on how many ranks it has a gradient; then the number of rows.
        self._length = sum(sizes) + len(optimizer.params) + 1
        self._dtype = np.result_type(np.float32, *arrays)

    def _arrays(self) -> list[Array]:
        return [*(parameter.data for parameter in self._optimizer.params), *self._buffers]

    def average(self, rows: int) -> None:
        """Replace gradients and buffers by their means over the ranks, weighted by rows. To be called after backward().

        So clipping and the step come after it, and are the same on every rank. A parameter keeps `.grad` None only if
        it is None on all ranks.

        Args:
            rows: how many rows of the batch this rank had, over which its loss is the mean. It may be 0, for a
                batch with fewer rows than ranks: then a gradient of this rank does not count, and it needs none.

        Raises:
            ArgumentError: `rows` is no integer or below 0, or is 0 on every rank.
        """
        rows = integer("rows", rows, least=0)
        if self._comm.size == 1:
            if not rows:
                raise ArgumentError(NO_ROWS)
            return
        params, buffers = self._optimizer.params, self._buffers
        grads = [parameter.grad for parameter in params]
        # A new array each time, for it becomes the gradients, which are the user's.
        means, counts = np.empty(self._length, self._dtype), self._ends[-1]
        parts = self._parts(means)
        for part, array in zip(parts, [*grads, *buffers], strict=True):
            if array is None or not rows:
                part[...] = 0
            else:
                np.multiply(array.reshape(-1), rows, out=part, dtype=part.dtype)
        means[counts:] = [*(grad is not None and rows > 0 for grad in grads), rows]
        self._comm.Allreduce(None, means)  # in place
        if not means[-1]:
            raise ArgumentError(NO_ROWS)
        means[:counts] /= means[-1]
        for parameter, part, ranks in zip(params, parts, means[counts:-1], strict=False):
            mean = part.reshape(parameter.shape).astype(parameter.dtype, copy=False)
            parameter.grad = mean if ranks else None
        for buffer, part in zip(buffers, parts[len(params) :], strict=True):
            buffer[...] = part.reshape(buffer.shape)
            written(buffer)

    def _parts(self, flat: Array) -> list[Array]:
        """The part of a flat buffer for each parameter and each buffer."""
        return [flat[start:end] for start, end in zip([0, *self._ends], self._ends, strict=False)]

    def check(self) -> None:
        """Make sure that parameters, buffers and the optimizer's state are still the same bits on all ranks.

        It compares checksums, which takes some milliseconds: once an epoch is often enough.

        Raises:
            DistributedError: they are not. Every rank raises it.
        """
        value = 0
        for array in (*self._arrays(), *self._optimizer.state_dict().values()):
            value = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, value)
        values = self._comm.allgather(value)
        others = [rank for rank, its in enumerate(values) if its != values[0]]
        if others:
            raise DistributedError(
                f"the parameters or the optimizer's state on {len(others)} of {len(values)} ranks, rank {others[0]} "
                "first, are no longer those of rank 0; call average() on every rank between backward() and step(), and "
                "change parameters and learning rates on all ranks alike"
            )
