"""The processes that mpirun has started, if it has: how this one finds the others, and how all of them end.

MPI numbers its processes by ranks from 0. Rank 0 prints and writes files; the others only compute.
"""

import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tinygrad_np import data
from tinygrad_np.errors import DistributedError

# What starters of MPI programs tell each process, under the name of Open MPI; MPICH, Intel and Microsoft; or Slurm.
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
STOPPED = 130  # the status of a run that was asked to stop, as all ranks have agreed then
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def told(names: tuple[str, ...]) -> int | None:
    """The number in the first of these environment variables that is set."""
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), None)


class Alone:
    """What a run asks of an MPI communicator, where there is one process."""

    rank, size = 0, 1

    def Allreduce(self, values: None, sums: np.ndarray) -> None:  # noqa: N802 (MPI's name; None: in place)
        pass

    def bcast(self, value: Any) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value]


ALONE = Alone()


def join() -> Any:
    """The communicator of all processes that mpirun has started, or `ALONE`. Only the former imports mpi4py.

    Raises a DistributedError if mpi4py is missing or of another MPI: each process would train for itself.
    """
    rank, size = told(RANKS), told(SIZES)
    if rank is None or size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library of MPI
        raise DistributedError(
            f"started by mpirun, but mpi4py cannot be used ({error}); "
            'install it with: python -m pip install -e ".[mpi]"'
        ) from error
    if size is not None and MPI.COMM_WORLD.size != size:
        raise DistributedError(
            f"mpirun has started {size} processes, but mpi4py, which uses {MPI.Get_library_version().split(',')[0]}, "
            f"sees {MPI.COMM_WORLD.size}: they are of different MPIs; start the mpirun that stands beside this python"
        )
    return MPI.COMM_WORLD


def run(main: Callable[[Any], int]) -> NoReturn:
    """Do what `main` does, given the communicator, and end with its status. If it fails, end all other ranks as well.

    An error that all ranks meet, such as a wrong flag, is printed by rank 0 alone.
    """
    rank, errors = told(RANKS) or 0, sys.stderr
    if rank:
        sys.stdout, sys.stderr = open(os.devnull, "w"), io.StringIO()  # noqa: SIM115 (to the end of the process)
    comm = None
    try:
        comm = join()
        status = main(comm)
    except SystemExit as ending:  # a wrong flag, or --help
        status = ending.code if isinstance(ending.code, int) else 1
    except DistributedError as error:
        status = 2
        print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
    except Exception:
        status = 1
        traceback.print_exc()
    if rank and status:
        time.sleep(1)  # rank 0 has ended this process by then, if it met the same error
        print(f"rank {rank}: {sys.stderr.getvalue().strip()}", file=errors, flush=True)
    if status not in (0, STOPPED) and comm is not None and comm.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        comm.Abort(status)
    sys.exit(status)


def summed(comm: Any, *numbers: float) -> list[float]:
    """The sum of each number over all ranks."""
    sums = np.array(numbers, np.float64)
    comm.Allreduce(None, sums)
    return sums.tolist()


def any_of(comm: Any, condition: object) -> bool:
    """Whether the condition holds on any rank. All get the same answer, so that they can act on it together."""
    return bool(summed(comm, bool(condition))[0])


def batches(
    *arrays: np.ndarray, batch_size: int, seed: int, epoch: int, part: tuple[int, int]
) -> Iterator[tuple[np.ndarray, ...]]:
    """A rank's part, (rank, size), of each batch of an epoch. Only the seed and the epoch decide the order of rows."""
    # If a batch is all of the rows, their order makes no difference, and keeping it saves copying them.
    generator = np.random.default_rng([seed, 2, epoch]) if batch_size < len(arrays[0]) else None
    return data.batches(*arrays, batch_size=batch_size, generator=generator, part=part)


def rows(count: int, batch_size: int, seed: int, epoch: int, part: tuple[int, int]) -> np.ndarray:
    """The numbers of the rows that these batches hold, in ascending order."""
    numbers = batches(np.arange(count), batch_size=batch_size, seed=seed, epoch=epoch, part=part)
    return np.sort(np.concatenate([batch for (batch,) in numbers]))
