"""Settings of the whole process that make NumPy faster.

Only our own programs change them. Whoever imports tinygrad_np into another program decides for that one.
"""

import os
import sys
from pathlib import Path

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # of NumPy's BLAS
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")  # from mpirun: how many processes share this machine
USED_BY_SKYLAKEX = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def better_kernels(cpuinfo: str) -> str | None:
    """The kernels that OpenBLAS should use on the processor that /proc/cpuinfo describes; None if it chooses well."""
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    known = fields.get("vendor_id") != "AuthenticAMD"
    return None if known or not USED_BY_SKYLAKEX.issubset(fields.get("flags", "").split()) else "SKYLAKEX"


def use_better_kernels() -> None:
    """Let matrix products use AVX-512 where OpenBLAS would not. To be called before NumPy is imported.

    The OpenBLAS that comes with NumPy falls back to its AVX2 kernels on AMD processors that have AVX-512 (Zen 4 and
    later), and single products then take 1.6 to 1.9 times as long. Its variable OPENBLAS_CORETYPE names the kernels to
    use. It is left alone if the user has set it, or if it is too late because NumPy is loaded.
    """
    try:
        kernels = better_kernels(Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        return
    if kernels and "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_CORETYPE", kernels)


def share_cores() -> None:
    """Give each of the processes that mpirun has started here its share of the cores, as threads of matrix products.

    To be called before NumPy is imported. It leaves alone what the user has set, and a process that is by itself.
    """
    ranks = next((int(os.environ[name]) for name in LOCAL_RANKS if os.environ.get(name, "").isdecimal()), 1)
    if ranks > 1 and not any(name in os.environ for name in THREADS):
        cores = os.cpu_count() or 1
        if hasattr(os, "sched_getaffinity"):
            # mpirun may have bound this process to some of the cores that its parent, a part of mpirun, may use.
            cores = min(len(os.sched_getaffinity(0)) * ranks, len(os.sched_getaffinity(os.getppid())))
        os.environ.update(dict.fromkeys(THREADS, str(max(1, cores // ranks))))


def keep_freed_memory() -> None:
    """Let the process keep up to 64 MB of freed memory for the next arrays.

    The GNU C library returns the memory of every array above some size to the system when it is freed, and gets it
    anew, page by page, for the next. That size follows the largest block freed so far, up to 32 MB. So free one such
    block, which is never written to: operations on 10,000 numbers then take 36% of the time, and 42% with backward.
    With another C library this does nothing.
    """
    bytes(2**25 - 2**13)
