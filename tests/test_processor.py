"""What the scripts set for their whole process: OpenBLAS's kernels, where it would choose badly, and kept memory."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from processor import better_kernels  # noqa: E402

AVX2 = "fpu sse2 ssse3 fma avx f16c avx2 bmi2"
AVX512 = AVX2 + " avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16"


def cpuinfo(vendor, flags):
    core = f"vendor_id\t: {vendor}\ncpu family\t: 26\nmodel name\t: A processor: fast\nflags\t\t: {flags}\n\n"
    return core * 2


@pytest.mark.parametrize(
    ("description", "kernels"),
    [
        (cpuinfo("AuthenticAMD", AVX512), "SKYLAKEX"),
        (cpuinfo("AuthenticAMD", AVX2), None),
        (cpuinfo("AuthenticAMD", AVX2 + " avx512f"), None),
        (cpuinfo("GenuineIntel", AVX512), None),
        ("processor\t: 0\nFeatures\t: fp asimd\n", None),
        ("", None),
    ],
    ids=["AMD with AVX-512", "AMD without", "AMD with a part of it", "Intel, which it knows", "ARM", "nothing known"],
)
def test_kernels_are_named_only_where_openblas_has_better_ones_than_it_would_choose(description, kernels):
    assert better_kernels(description) == kernels


def kernels_seen_by(program, **variables):
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"} | variables
    program = f"import os, sys; from pathlib import Path; sys.path.insert(0, {str(SCRIPTS)!r}); import processor\n" + (
        f"Path.read_text = lambda path: {cpuinfo('AuthenticAMD', AVX512)!r}\n{program}\n"
        "processor.use_better_kernels(); print(os.environ.get('OPENBLAS_CORETYPE'))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return output.stdout.strip()


def test_they_are_named_before_numpy_is_loaded_and_never_against_the_user():
    assert kernels_seen_by("") == "SKYLAKEX"
    assert kernels_seen_by("", OPENBLAS_CORETYPE="Haswell") == "Haswell"
    assert kernels_seen_by("import numpy") == "None"


def test_importing_the_package_changes_no_variable():
    program = "import os; before = dict(os.environ); import tinygrad_np; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", program], check=True)


def pages_fetched(program):
    """How many pages of memory are got from the system for 30 MB that the process has freed just before."""
    program = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n{program}\n" + (
        "from resource import RUSAGE_SELF, getrusage\n"
        "for _ in range(3):\n"
        "    before = getrusage(RUSAGE_SELF).ru_minflt\n"
        "    arrays = [bytearray(2**20) for _ in range(30)]\n"
        "    del arrays\n"
        "print(getrusage(RUSAGE_SELF).ru_minflt - before)"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(output.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries manage freed memory in other ways")
def test_freed_memory_is_kept_where_a_script_asks_for_it_and_not_by_importing_the_package():
    assert pages_fetched("import processor; processor.keep_freed_memory()") < 10
    assert pages_fetched("import tinygrad_np") > 10
