"""The tutorial in models/from_scratch.ipynb runs in a kernel of its own, and still prints what it shows."""

import copy
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

TUTORIAL = Path(__file__).resolve().parents[1] / "models" / "from_scratch.ipynb"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return re.sub(r"\S*ipykernel_\d+[/\\]", "", text)  # the folder that this kernel takes its cells to lie in


def kinds(cell):
    """The forms in which a cell's results are shown: text, pictures, drawings."""
    return [sorted(output.data) for output in cell.outputs if "data" in output]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Proactor event loop:RuntimeWarning")  # of pyzmq under Windows
def test_the_tutorial_prints_and_draws_what_it_shows():
    shown = nbformat.read(TUTORIAL, as_version=4)
    run = copy.deepcopy(shown)
    nbclient.NotebookClient(run, timeout=600, resources={"metadata": {"path": str(TUTORIAL.parent)}}).execute()
    for expected, found in zip(code_cells(shown), code_cells(run), strict=True):
        assert kinds(found) == kinds(expected)
        assert NUMBER.sub("#", printed(found)) == NUMBER.sub("#", printed(expected))
        numbers = [np.array(NUMBER.findall(printed(cell)), dtype=float) for cell in (found, expected)]
        np.testing.assert_allclose(*numbers, rtol=0.02)  # other processors round in other ways
