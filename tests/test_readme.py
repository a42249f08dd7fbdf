"""The README's Python examples run as they stand, and print what their comments say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_and_prints_what_its_comment_says(example, monkeypatch, capsys, tmp_path):
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)  # where it may write files
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed
    for promise in re.findall(r"#\s+(\[[-\d. ]+\])$", example, re.M):
        assert promise in printed


def test_the_list_of_functions_is_that_of_the_derivative_table():
    listed = re.search(r"<!-- table -->\n(.*)\n<!-- end of table -->", (ROOT / "README.md").read_text(), re.S)
    assert listed is not None
    table = subprocess.run(
        [sys.executable, "-m", "tinygrad_np.derivatives"], capture_output=True, text=True, check=True
    )
    assert listed[1] == table.stdout.rstrip()
