"""NumPy's warnings of divisions by zero, overflows and the like name the user's line."""

import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from tinygrad_np import Tensor, compile, functional
x = Tensor([0.0, 1.0], requires_grad=True)
y = np.log(x)
z = 1 / x
for i in range(3):
    w = np.exp(x * 1000)
y.sum().backward()
f = compile(lambda a: np.log(a).sum())
g = f(x)
g = f(x)
g.backward()
np.log(np.zeros(1))
"""
LINES = {
    "log": ["y = np.log(x)", "f = compile(lambda a: np.log(a).sum())", "g = f(x)", "g = f(x)", "np.log(np.zeros(1))"],
    "divide": ["z = 1 / x", "y.sum().backward()", "g = f(x)", "g.backward()"],
    "exp": ["w = np.exp(x * 1000)"],
}


def run(tmp_path, *options):
    file = tmp_path / "users own.py"
    file.write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run([sys.executable, *options, str(file)], capture_output=True, text=True, env=environment)


def test_each_is_said_once_and_at_the_users_line(tmp_path):
    said = run(tmp_path).stderr
    found = re.findall(r"users own.py:(\d+): RuntimeWarning: .* encountered in (\w+)", said)
    assert said.count("RuntimeWarning") == len(found) == len(set(found))
    lines = PROGRAM.splitlines()
    for function, expected in LINES.items():
        assert [lines[int(line) - 1].strip() for line, name in found if name == function] == expected


@pytest.mark.parametrize("choice", ["ignore", "error"])
def test_filters_of_the_user_count(tmp_path, choice):
    ended = run(tmp_path, "-W", choice)
    assert ended.returncode == (choice == "error")
    assert ("y = np.log(x)" in ended.stderr) is (choice == "error")
