"""The README and the pages in .github: their Python examples run as they stand, and what is made from code is up to
date."""

import re
import shutil
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, functional, nn

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / ".github").glob("*.md"))]


def read(page):
    return page.read_text(encoding="utf-8")


def examples(page):
    return re.findall(r"```python\n(.*?)```", read(page), re.S)


def between(page, start, end):
    found = re.search(f"<!-- {start} -->\n(.*)\n<!-- {end} -->", read(page), re.S)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", list(filter(examples, PAGES)), ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_one_after_another_and_print_what_their_comments_say(
    page, monkeypatch, capsys, tmp_path
):
    shutil.copytree(ROOT / "models", tmp_path / "models")  # Windows lets few users make links
    monkeypatch.chdir(tmp_path)  # where it may write files
    names = {}
    for example in examples(page):
        files = set(tmp_path.iterdir())
        exec(compile(example, page.name, "exec"), names)
        printed = capsys.readouterr().out
        assert printed or set(tmp_path.iterdir()) > files
        for promise in re.findall(r"#\s+(\[[-\d. ]+\])$", example, re.M):
            assert promise in printed


def test_the_readme_is_short():
    assert len(read(ROOT / "README.md").split()) <= 800


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_within_the_repository_leads_somewhere(page):
    for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', read(page)):
        path, _, heading = "".join(link).partition("#")
        if path.startswith("https:"):
            continue
        target = page.parent / path if path else page
        assert target.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)", read(target), re.M)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


def families(table):
    """The headings of a table of functions, each with the functions that the installed NumPy has."""
    blocks = table.strip().split("\n\n")
    return {
        heading: [name for name in names.split(", ") if is_in_numpy(name)]
        for heading, names in zip(blocks[::2], blocks[1::2], strict=True)
    }


def is_in_numpy(name):
    try:
        return name in ("indexing", "sliding_window_view") or attrgetter(name)(np) is not None
    except AttributeError:
        return False


def test_the_list_of_functions_is_that_of_the_derivative_table():
    command = [sys.executable, "-m", "tinygrad_np.derivatives"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    listed = between(ROOT / ".github" / "functions.md", "table", "end of table")
    assert families(listed) == families(table)
    if hasattr(np, "matvec"):  # NumPy is new enough to have all
        assert listed == table.rstrip()


class Network(nn.Module):
    """784-10-10."""

    def __init__(self, generator):
        self.hidden = nn.Linear(784, 10, generator=generator)
        self.output = nn.Linear(10, 10, generator=generator)

    def forward(self, images: np.ndarray) -> Tensor:
        return self.output(functional.relu(self.hidden(images)))


def test_the_backward_pass_in_the_readme_is_the_one_that_compile_writes():
    generator = np.random.default_rng(0)
    model = Network(generator)
    step = tinygrad_np.compile(lambda images, labels: functional.cross_entropy(model(images), labels))
    source = step.source(generator.random((32, 784), dtype=np.float32), generator.integers(0, 10, 32))
    written = re.sub(r" +#.*", "", source[source.index("def backward") :]).strip()
    shown = re.sub(r" +#.*", "", between(ROOT / "README.md", "source", "end of source"))
    assert shown == f"```\n{written}\n```"
