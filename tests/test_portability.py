"""Windows and notebooks: everything works without what only POSIX systems, or only terminals, have.

It is tried in processes that lack it. What cannot be tried so is Windows itself.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--limit", "300", "--hidden", "8", "--no-pictures"]

# Takes away the modules, functions and constants that Windows lacks, before anything else is imported. As on Windows,
# folders cannot be opened, a file cannot be renamed while it is open, and symbolic links need a special right.
WITHOUT_POSIX = """
import os, signal, subprocess, sys
for name in "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline":
    sys.modules[name] = None
for module, names in {
    os: "fchmod fchown chown lchown O_DIRECTORY O_NOFOLLOW O_NONBLOCK fork forkpty getuid geteuid getgid "
    "getegid getpgid setpgid getpgrp killpg setsid getsid mkfifo mknod sched_getaffinity nice pread pwrite "
    "statvfs sync fdatasync getloadavg setuid setgid ttyname tcgetpgrp wait3 wait4",
    signal: "SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE SIGCHLD SIGTSTP SIGCONT setitimer alarm pause "
    "sigwait pthread_kill pthread_sigmask siginterrupt",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
open_any, replace_any = os.open, os.replace

def open_file(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return open_any(path, *arguments, **options)

def replace_closed(source, target):
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    if os.path.realpath(source) in held or os.path.realpath(target) in held:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")
    replace_any(source, target)

def symlink(source, target, *arguments, **options):
    raise OSError(22, "A required privilege is not held by the client", target)

os.open, os.symlink = open_file, symlink
if os.path.isdir("/proc/self/fd"):
    os.replace = replace_closed
"""

# Trains, saves, resumes, evaluates, reads data and draws, all by the library alone.
LIBRARY = """
import numpy as np
from models.mnist_mlp import MnistMLP
from tinygrad_np import checkpoint, data, debug, functional, optim, visualize

images, labels = data.load_mnist("{root}/models/data/mnist")[:2]
inputs, labels = data.to_inputs(images[:200]), labels[:200]

def losses(model, optimizer, steps):
    for _ in range(steps):
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()

model = MnistMLP((784, 8, 10), generator=np.random.default_rng(0))
optimizer = optim.Adam(model.parameters(), lr=0.01)
first = list(losses(model, optimizer, 5))
for _ in range(2):  # the second replaces the first
    checkpoint.save("model.safetensors", {{"model": model.state_dict(), "optimizer": optimizer.state_dict()}})
resumed = MnistMLP((784, 8, 10), generator=np.random.default_rng(1))
found = checkpoint.load("model.safetensors")
resumed.load_state_dict(found["model"])
again = optim.Adam(resumed.parameters(), lr=0.01)
again.load_state_dict(found["optimizer"])
assert list(losses(model, optimizer, 5)) == list(losses(resumed, again, 5))
assert (resumed(inputs).numpy().argmax(axis=1) == labels).mean() > 0.2
for name in "graph.svg", "graph.png", "graph.html":
    visualize.draw(functional.cross_entropy(model(inputs), labels), model).render(name)
print("all done")
"""


def python(program, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("a folder with spaces")


def script(name, *arguments):
    """A program that runs a script in the process itself, as a notebook does."""
    return f"\nimport {name}\nassert not {name}.main({list(arguments)!r})\n"


def test_the_library_needs_no_posix_system(folder):
    result = python(WITHOUT_POSIX + LIBRARY.format(root=ROOT), folder)
    assert result.stdout == "all done\n", result.stderr
    assert {"graph.svg", "graph.png", "graph.html"} <= set(os.listdir(folder))


@pytest.mark.slow
def test_scripts_train_resume_evaluate_and_draw_without_a_posix_system(folder):
    run = "my runs/first one"
    steps = [
        script("train", "--out", run, "--epochs", "1", *SMALL),
        script("train", "--out", "other", "--epochs", "2", "--distort", "0.5", *SMALL),
        script("train", "--resume", run, "--no-pictures"),
        script("evaluate", run),
        script("compare", run, "other"),
        script("draw_graph", "graph.svg"),
    ]
    result = python(WITHOUT_POSIX + "".join(steps), folder)
    assert result.returncode == 0, result.stderr
    assert "test accuracy:" in result.stdout
    # The stand-in for Windows has no locks either, and this is said. No file to be locked is left.
    assert f"{run} cannot be locked" in result.stderr
    assert sorted(os.listdir(folder / run)) == ["best.safetensors", "config.json", "last.safetensors", "metrics.jsonl"]


@pytest.mark.slow
def test_a_sweep_runs_without_a_posix_system(folder):
    sweep = script("sweep", "lr=0.01,0.02", "--out", "my sweep", "--", "--epochs", "1", *SMALL)
    result = python(WITHOUT_POSIX + sweep, folder)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^1 +0\.0\d.*my sweep", result.stdout, re.M)


def test_a_folder_that_cannot_be_opened_is_locked_by_a_file_in_it(folder):
    """Windows opens no folders, but it has locks."""
    program = """
import os
from pathlib import Path
from run_folder import locked
open_any = os.open
def open_file(path, *arguments):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return open_any(path, *arguments)
os.open = open_file
folder = Path(".")
with locked(folder, "run"):
    try:
        with locked(folder, "run"):
            print("locked twice")
    except ValueError as error:
        print(error)
print(os.path.exists(".lock"))
"""
    assert python(program, folder).stdout == "another run is at work in .; choose another folder with --out\nFalse\n"


def test_scripts_run_in_a_notebook_whose_output_is_no_terminal(folder):
    """Jupyter and IDLE replace the standard streams by objects that have only a part of a file's methods."""
    notebook = """
import io, sys
class Stream:
    def __init__(self, shown): self.shown = shown
    def write(self, text): self.shown.append(text); return len(text)
    def flush(self): pass
shown = []
sys.stdout, sys.stderr = Stream(shown), Stream([])
"""
    steps = [script("train", "--out", "notebook", "--epochs", "1", *SMALL), script("evaluate", "notebook")]
    result = python(notebook + "".join(steps) + 'sys.__stdout__.write("".join(shown))', folder)
    assert result.returncode == 0, result.stderr
    assert "test accuracy:" in result.stdout


def test_the_package_tells_what_it_runs_with(folder):
    command = [sys.executable, "-m", "tinygrad_np"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["Python"].startswith(sys.version.split()[0])
    assert {"tinygrad_np", "NumPy", "BLAS", "filelock", "graphviz-pure", "matplotlib", "dot"} <= set(lines)
