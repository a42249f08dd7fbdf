"""Lets NumPy's products use AVX-512 where the library behind them would not; to be called before NumPy is imported.

OpenBLAS, as it comes with NumPy, falls back to its AVX2 kernels on AMD processors that have AVX-512 (Zen 4 and later):
single products then take 1.6 to 1.9 times as long. Its variable OPENBLAS_CORETYPE names the kernels to use. Only our
programs set it; who imports tinygrad_np into theirs decides for themselves.
"""

import os
import sys
from pathlib import Path

USED_BY_SKYLAKEX = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def better_kernels(cpuinfo: str) -> str | None:
    """The kernels to name to OpenBLAS for the processor that Linux describes so, or None to let it choose itself."""
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    known = fields.get("vendor_id") != "AuthenticAMD"
    return None if known or not USED_BY_SKYLAKEX.issubset(fields.get("flags", "").split()) else "SKYLAKEX"


def use_better_kernels() -> None:
    """Name them, unless the user has named some, or NumPy is loaded already."""
    try:
        kernels = better_kernels(Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        return
    if kernels and "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_CORETYPE", kernels)
