"""Training runs that are killed, run out of disk space or may not write leave whole checkpoints and lose no work.

Real processes of scripts/train.py are killed at random moments, and at chosen ones: before each renaming of a file.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import with_room_for, without_the_superusers_right

from tinygrad_np import checkpoint

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "scripts" / "train.py")
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
SETTINGS = ["--limit", "3000", "--hidden", "32", "--epochs", "4", "--batch-size", "64", "--dropout", "0.1"]
FILES = {"last.safetensors", "config.json", "metrics.jsonl", "best.safetensors"}

# Runs train.py, and kills it just before it renames a file for the n-th time.
KILLED_BEFORE_RENAMING = """
import itertools, os, runpy, signal, sys
n, *sys.argv = sys.argv[1:]
renamings = itertools.count(1)

def watch(event, arguments):
    if event == "os.rename" and next(renamings) == int(n):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs train.py, and prints what it syncs and renames.
WATCHED = """
import os, runpy, stat, sys
del sys.argv[0]
fsync, replace = os.fsync, os.replace

def watched_fsync(descriptor):
    print("sync", "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
    fsync(descriptor)

def watched_replace(source, target):
    print("rename to", os.path.basename(target))
    replace(source, target)

os.fsync, os.replace = watched_fsync, watched_replace
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(*arguments, program=(TRAIN,)):
    return [sys.executable, *program, *map(str, arguments), "--no-pictures"]


def train(*arguments, program=(TRAIN,)):
    line = command(*arguments, program=program)
    return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=100)


def to_go_on(folder):
    """The flags with which a user brings the run in a folder to its end."""
    return ["--resume", folder] if (folder / "last.safetensors").exists() else [*SETTINGS, "--out", folder]


def refusal(*arguments, program=(TRAIN,)):
    """The one line on standard error with which the script refuses."""
    result = train(*arguments, program=program)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("train.py: error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def outcome(folder):
    """Everything that a run leaves except its times, as bytes and plain values that can be compared."""

    def without_times(value):
        if isinstance(value, dict):
            return {key: without_times(item) for key, item in value.items() if key != "seconds"}
        if isinstance(value, list):
            return [without_times(item) for item in value]
        return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    files = {name: without_times(checkpoint.load(folder / f"{name}.safetensors")) for name in ("last", "best")}
    files["metrics"] = [without_times(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    files["config"] = json.loads((folder / "config.json").read_text())
    return files


def assert_whole(folder):
    """Each file is complete. Of each, one temporary file may be left, which a killed process was about to rename.

    One of each, not one in all: only the next write of the same file removes it. So a process killed as it writes the
    checkpoint and the next killed as it writes the settings leave two. But two of the same file would mean that
    abandoned ones are not removed, and add up.
    """
    names = {path.name for path in folder.iterdir()}
    left = [re.fullmatch(r"\.(.+)\.[0-9a-f]{16}\.tmp", name) for name in sorted(names - FILES)]
    assert all(left), names
    targets = [match[1] for match in left]
    assert set(targets) <= FILES
    assert len(set(targets)) == len(targets), names
    for name in names & {"last.safetensors", "best.safetensors"}:
        checkpoint.load(folder / name)
    if "config.json" in names:
        json.loads((folder / "config.json").read_text())
    if "metrics.jsonl" in names:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(lines) + 1))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    result = train(TRAIN, *SETTINGS, "--out", folder, program=("-c", WATCHED))
    assert result.returncode == 0, result.stderr
    return outcome(folder), result.stdout.splitlines()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run killed at the end of its second epoch, before it renames the metrics."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    result = train(6, TRAIN, *SETTINGS, "--out", folder, program=("-c", KILLED_BEFORE_RENAMING))
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert checkpoint.load(folder / "last.safetensors")["progress"]["epoch"] == 1
    return folder


# Killed


def run_with_kills(folder, moments):
    """Train to the end, killing the process after each of the times, in seconds from its first line; returns how often
    that was before it had ended by itself."""
    kills = 0
    for moment in [*moments, None]:
        with subprocess.Popen(
            command(*to_go_on(folder)), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            if moment is not None:
                process.stdout.readline()  # it has the data, and is about to write to the folder
                time.sleep(moment)
                process.kill()
            _, errors = process.communicate(timeout=100)
        assert process.returncode in (0, -signal.SIGKILL), errors
        kills += process.returncode == -signal.SIGKILL
        assert_whole(folder)
    return kills


@pytest.mark.slow
def test_a_run_killed_at_random_moments_and_resumed_ends_as_if_it_had_never_stopped(undisturbed, tmp_path):
    generator = random.Random(0)
    moments = [generator.uniform(0, 0.15) for _ in range(3)]
    assert run_with_kills(tmp_path / "run", moments) >= 1
    assert outcome(tmp_path / "run") == undisturbed[0]
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_run_killed_ever_so_often_ends_as_if_it_had_never_stopped(seed, undisturbed, tmp_path):
    generator = random.Random(seed)
    moments = [generator.choice([0.02, 0.1, 0.3]) * generator.random() for _ in range(9)]
    run_with_kills(tmp_path / "run", moments)
    assert outcome(tmp_path / "run") == undisturbed[0]
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


@pytest.mark.slow
def test_a_run_killed_before_any_renaming_of_a_file_ends_as_if_it_had_never_stopped(undisturbed, tmp_path):
    folder = tmp_path / "run"
    # A run writes its first checkpoint, its settings, and after each epoch the metrics, the best and the last
    # checkpoint. When resumed, it writes the settings again, and then what it was killed before.
    files = ["last.safetensors", "config.json", "metrics.jsonl", "best.safetensors"]
    for renaming, done in [(1, 0), (2, 1), (2, 2), (3, 3), (4, 4)]:
        killed = train(renaming, TRAIN, *to_go_on(folder), program=("-c", KILLED_BEFORE_RENAMING))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert {path.name for path in folder.iterdir() if path.suffix != ".tmp"} == set(files[:done])
        assert_whole(folder)
        if not done:
            assert f"start the run with --out {folder}" in refusal("--resume", folder)
    assert checkpoint.load(folder / "last.safetensors")["progress"]["epoch"] == 0
    resumed = train("--resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert outcome(folder) == undisturbed[0]
    assert {path.name for path in folder.iterdir()} == FILES


def test_a_run_syncs_each_file_before_its_renaming_and_the_folder_after_it(undisturbed):
    lines = [line for line in undisturbed[1] if line.startswith(("sync", "rename"))]
    assert len(lines) >= 3 * (2 + 3 * 4 - 3)  # the best checkpoint need not be a new one after each of the epochs
    assert lines[0::3] == ["sync file"] * (len(lines) // 3)
    assert all(line.startswith("rename to ") for line in lines[1::3])
    assert lines[2::3] == ["sync folder"] * (len(lines) // 3)


# A full disk


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint_from_which_the_run_goes_on(undisturbed, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "run")
    before = (folder / "last.safetensors").read_bytes()
    no_room = [*with_room_for(len(before) // 2), TRAIN]
    message = refusal("--resume", folder, program=no_room)
    assert "cannot write" in message
    assert "File too large" in message
    assert (folder / "last.safetensors").read_bytes() == before
    assert {path.name for path in folder.iterdir()} <= FILES
    assert train("--resume", folder).returncode == 0
    assert outcome(folder) == undisturbed[0]

    assert "File too large" in refusal(*SETTINGS, "--out", tmp_path / "new", program=no_room)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for two checkpoints, but not for a third while it is being written; and how to enlarge it."""

    def mount(options):
        line = ["mount", "-t", "tmpfs", "-o", options, "none", tmp_path]
        return subprocess.run(line, capture_output=True, check=False).returncode == 0

    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and mount("size=800k")):
        pytest.skip("only the superuser may mount a disk; the test above fills one by a limit on the size of files")
    try:
        yield tmp_path, lambda: mount("remount,size=4m")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_first_epoch_leaves_a_run_that_goes_on(undisturbed, small_disk):
    disk, enlarge = small_disk
    message = refusal(*SETTINGS, "--out", disk / "run")
    assert "No space left on device" in message
    assert_whole(disk / "run")
    assert enlarge()
    assert train("--resume", disk / "run").returncode == 0
    assert outcome(disk / "run") == undisturbed[0]


# A folder that may not be written to


@pytest.mark.slow
def test_a_read_only_folder_is_refused_and_keeps_its_run(killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "run")
    before = (folder / "last.safetensors").read_bytes()
    program = [*without_the_superusers_right(), TRAIN]
    folder.chmod(0o555)
    tmp_path.chmod(0o555)
    try:
        message = refusal("--resume", folder, program=program)
        assert f"{folder} cannot be written to" in message
        message = refusal(*SETTINGS, "--out", tmp_path / "new", program=program)
        assert "Permission denied" in message
        assert "new" in message
    finally:
        tmp_path.chmod(0o755)
        folder.chmod(0o755)
    assert (folder / "last.safetensors").read_bytes() == before
