"""scripts/train.py under mpirun, with real processes: what it computes, and how all of them end.

The ranks share the cores of this machine. tests/test_optim_distributed.py has the library's part, without MPI.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinygrad_np import checkpoint

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "scripts" / "train.py")
MPIRUN = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
needs_mpi = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None, reason="mpi4py and mpirun are not installed"
)

ENVIRONMENT = {
    **os.environ,
    "PYTHONWARNINGS": "error",
    "OPENBLAS_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
# 602 images in batches of 50 leave a last one of 2, which is fewer than 4 ranks.
SMALL = ["--limit", "602", "--epochs", "2", "--hidden", "16", "--batch-size", "50", "--average", "0.9"]
RANDOM = [*SMALL, "--epochs", "3", "--dropout", "0.2", "--distort"]
LONG = ["--limit", "6000", "--epochs", "500", "--hidden", "16", "--dropout", "0.2"]


def command(ranks, *arguments):
    start = [MPIRUN, "-n", str(ranks), "--oversubscribe"] if ranks > 1 else []
    return [*start, sys.executable, TRAIN, *map(str, arguments), "--no-pictures"]


def train(ranks, *arguments):
    line = command(ranks, *arguments)
    return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)


def finished(ranks, *arguments):
    result = train(ranks, *arguments)
    assert result.returncode == 0, result.stderr
    return result


def weights(folder):
    return np.concatenate([array.ravel() for array in checkpoint.load(folder / "last.safetensors")["model"].values()])


def metrics(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


# What is computed


@needs_mpi
@pytest.mark.slow
def test_two_and_four_ranks_give_what_one_process_gives_to_rounding(tmp_path):
    one = finished(1, *SMALL, "--out", tmp_path / "1")
    for ranks in (2, 4):
        several = finished(ranks, *SMALL, "--out", tmp_path / str(ranks))
        np.testing.assert_allclose(weights(tmp_path / str(ranks)), weights(tmp_path / "1"), rtol=1e-3, atol=1e-4)
        for line, expected in zip(metrics(tmp_path / str(ranks)), metrics(tmp_path / "1"), strict=True):
            assert line == pytest.approx(expected, rel=1e-3)
        assert len(several.stdout.splitlines()) == len(one.stdout.splitlines()), "the first rank alone prints"
        files = {path.name for path in (tmp_path / str(ranks)).iterdir()}
        assert files == {"config.json", "last.safetensors", "best.safetensors", "metrics.jsonl"}


@needs_mpi
@pytest.mark.slow
def test_two_runs_of_as_many_ranks_are_equal_to_the_bit_also_if_one_was_stopped_and_resumed(tmp_path):
    finished(2, *RANDOM, "--out", tmp_path / "whole")
    finished(2, *RANDOM, "--out", tmp_path / "again")
    stopped_after_an_epoch(tmp_path / "parts", RANDOM)
    finished(2, "--resume", tmp_path / "parts")
    for name in ("again", "parts"):
        np.testing.assert_array_equal(weights(tmp_path / name), weights(tmp_path / "whole"))
        assert metrics(tmp_path / name) == metrics(tmp_path / "whole")
    states = checkpoint.load(tmp_path / "whole" / "last.safetensors")
    assert [state != states["generator"] for state in states["other_generators"]] == [True], "dropout differs by rank"


@needs_mpi
@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    finished(1, *SMALL, "--out", tmp_path / "whole")
    stopped_after_an_epoch(tmp_path / "parts", SMALL)
    shutil.copytree(tmp_path / "parts", tmp_path / "alone")
    for ranks, name in ((4, "parts"), (1, "alone")):
        finished(ranks, "--resume", tmp_path / name)
        np.testing.assert_allclose(weights(tmp_path / name), weights(tmp_path / "whole"), rtol=1e-3, atol=1e-4)


def stopped_after_an_epoch(folder, settings):
    """A run of two ranks that ends, as if killed, in its second epoch."""
    code = (
        "import sys; sys.path[:0] = [sys.argv.pop(1)]; import ranks, run_folder, train\n"
        "write = train.write_epoch\n"
        "def write_and_end(run, folder): write(run, folder); raise SystemExit(3)\n"
        "train.write_epoch = write_and_end\n"
        "ranks.run(lambda comm: train.main(comm=comm))"
    )
    line = [MPIRUN, "-n", "2", "--oversubscribe", sys.executable, "-c", code, str(ROOT / "scripts"), *settings]
    result = subprocess.run([*line, "--out", str(folder)], env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert result.returncode == 3, result.stderr
    assert len(metrics(folder)) == 1


# How it ends


@contextlib.contextmanager
def running(folder):
    """A run of two ranks that has saved an epoch: mpirun's process, and the process numbers of the ranks."""
    with subprocess.Popen(
        command(2, *LONG, "--out", folder), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not (folder / "best.safetensors").exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process, ranks_of(process.pid)
        finally:
            process.kill()


def ranks_of(parent):
    listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in listed.splitlines()]
    return [int(pid) for pid, its_parent, arguments in found if int(its_parent) == parent and "train.py" in arguments]


def wait_for_the_end_of(*pids):
    deadline = time.monotonic() + 20  # they take less than one second, on a machine that is not busy
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a rank is left"
        time.sleep(0.05)


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("how", ["ctrl-c", "sigterm", "a rank dies", "mpirun dies"])
def test_whatever_ends_a_run_ends_all_ranks_and_leaves_a_whole_checkpoint(how, tmp_path):
    folder = tmp_path / "run"
    with running(folder) as (process, pids):
        assert len(pids) == 2
        if how == "a rank dies":
            os.kill(pids[1], signal.SIGKILL)
        else:
            process.send_signal({"ctrl-c": signal.SIGINT, "sigterm": signal.SIGTERM}.get(how, signal.SIGKILL))
        process.communicate(timeout=30)
        wait_for_the_end_of(*pids)
    progress = checkpoint.load(folder / "last.safetensors")["progress"]
    assert progress["epoch"] >= 1
    assert progress["step"] < 500 * 47


@needs_mpi
@pytest.mark.slow
def test_a_rank_that_is_asked_to_stop_stops_all_and_the_run_is_saved_where_it_was(tmp_path):
    folder = tmp_path / "run"
    with running(folder) as (process, pids):
        os.kill(pids[1], signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert f"--resume {folder}" in output
    assert checkpoint.load(folder / "last.safetensors")["progress"]["step"] > 47


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--lr", "-1"], "--lr"), (["--resume", "nowhere"], "nowhere"), ([*SMALL, "--lr", "1e30"], "the loss became")],
    ids=["a flag", "a folder", "the loss"],
)
def test_an_error_is_told_once_and_ends_all_ranks(arguments, said, tmp_path):
    new = [] if "--resume" in arguments else ["--out", str(tmp_path / "run")]
    result = train(2, *arguments, *new)
    assert result.returncode == 2
    assert len(re.findall("train.py: error: ", result.stderr)) == 1, result.stderr
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


# Without MPI


def test_without_mpi4py_a_rank_says_how_to_install_it(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('there is none')")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "2",
    }
    result = subprocess.run([sys.executable, TRAIN], env=environment, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert 'python -m pip install -e ".[mpi]"' in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_process_imports_no_mpi4py():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import train, ranks; "
        "assert ranks.join() is ranks.ALONE and 'mpi4py' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI", "PMI"))}
    subprocess.run([sys.executable, "-c", code, str(ROOT / "scripts")], env=environment, check=True, timeout=100)
