"""Run scripts inside the test process. Starting a new one for each would take a second."""

import importlib
import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def imported(name):
    """The module of scripts/`name`.py."""
    sys.path[:] = [str(SCRIPTS), *(path for path in sys.path if path != str(SCRIPTS))]
    return importlib.import_module(name)


def run_script(name, *arguments):
    """Do what `python scripts/name arguments` does, and return what `subprocess.run` would."""
    main = imported(name.removesuffix(".py")).main
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = main(list(map(str, arguments)))
    return subprocess.CompletedProcess([name, *arguments], status, output.getvalue(), errors.getvalue())
