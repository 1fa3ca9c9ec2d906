"""AstraQuant: research trading strategies in Jupyter.

    python3 -m astraquant lab            open JupyterLab on the notebooks
    python3 -m astraquant test           run all tests and notebooks (or: pytest's own arguments)
    python3 -m astraquant COMMAND -h     backtest, sweep and the rest

In a checkout, the first command builds the environment it needs, once, in the folder .venv.
"""
# This file runs on a Python that has nothing installed: standard library only.

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from . import _environment as environment

PROJECT = Path(__file__).resolve().parent.parent


def main(arguments: list[str], project: Path = PROJECT) -> int:
    """Run the command here if this Python has all it needs, else in ``.venv``, built if need be."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it doubles the start of every kernel
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")  # a company's own certificates
    if not (project / "requirements.lock").is_file() or _is_right_here(project):
        from .cli import main as run

        return run(arguments)
    if not environment.is_current(project):
        if arguments in ([], ["-h"], ["--help"]):
            print(__doc__)
            return 0
        environment.build(project)
    return _run_inside(environment.python_of(project / ".venv"), arguments)


def _is_right_here(project: Path) -> bool:
    venv = project / ".venv"
    if venv.exists() and venv.samefile(sys.prefix):
        return environment.is_current(project)
    return sys.version_info >= (3, 11) and environment.is_enough(project)


def _run_inside(python: Path, arguments: list[str]) -> int:
    child = subprocess.Popen([str(python), "-m", "astraquant", *arguments])
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the child too: it decides
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = child.wait()
    return code if code >= 0 else 128 - code  # ended by a signal: what a shell would say


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
