"""Prints what there is to run with, for questions and reports of bugs: `python -m tinygrad_np`."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np

import tinygrad_np


def about() -> Iterator[tuple[str, str]]:
    """Pairs of a name and what is known of it."""
    yield "tinygrad_np", f"{tinygrad_np.__version__} in {os.path.dirname(tinygrad_np.__file__)}"
    yield "Python", f"{platform.python_version()} at {sys.executable}"
    yield "system", f"{platform.platform()}, {os.cpu_count()} processors"
    yield "NumPy", np.__version__
    yield "BLAS", blas()
    for name, purpose in {
        "filelock": "files that several programs write",
        "safetensors": "checkpoints",
        "tqdm": "progress bars",
        "graphviz": "pictures of graphs",
        "graphviz-pure": "pictures of graphs without dot",
        "matplotlib": "pictures of runs",
        "Pillow": "digits in image files",
        "threadpoolctl": "what is known of BLAS",
    }.items():
        yield name, version(name) or f"missing; {purpose}: python -m pip install {name}"
    yield "dot", shutil.which("dot") or "missing; graphviz-pure draws instead, but no PDF"


def version(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def blas() -> str:
    """The library of matrix products: its version, and if threadpoolctl is there its kernels and threads."""
    if version("threadpoolctl"):
        for library in importlib.import_module("threadpoolctl").threadpool_info():
            if library["user_api"] == "blas":
                kernels = library.get("architecture", "unknown")
                named = f"{library['internal_api']} {library['version']}"
                return f"{named}, kernels for {kernels}, threads: {library['num_threads']}"
    built: Any = np.show_config(mode="dicts")
    found = built["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}, kernels and threads unknown: python -m pip install threadpoolctl"


if __name__ == "__main__":
    for name, known in about():
        print(f"{name:<14} {known}")
