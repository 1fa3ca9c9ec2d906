"""The environment in ``.venv``: is it there, and how it is built.

It runs on a Python that has nothing installed: standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

UNFINISHED = "unfinished"
COST = "about 400 MB to download, 1.4 GB on disk: ten seconds to three minutes"


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(project: Path) -> str:
    """Return the hash of the two files that decide what is installed."""
    files = (project / "pyproject.toml", project / "requirements.lock")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def stamp(venv: Path) -> str:
    """Return what ``venv`` was built from: a `fingerprint`, `UNFINISHED` or "" (not by us)."""
    file = venv / "astraquant.stamp"
    return file.read_text() if file.is_file() and python_of(venv).exists() else ""


def is_current(project: Path) -> bool:
    """Tell whether ``.venv`` is complete and built from the files as they are now."""
    return stamp(project / ".venv") == fingerprint(project)


def is_enough(project: Path) -> bool:
    """Tell whether the running Python has the project and its dependencies (conda, Docker)."""
    import tomllib  # since Python 3.11

    declared = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in declared["dependencies"]]
    with contextlib.suppress(metadata.PackageNotFoundError):
        return all(metadata.distribution(name) for name in (declared["name"], *names))
    return False


def refusal(version: tuple[int, ...], can_make_venv: bool, has_apt: bool) -> str:
    """Return why this Python can't build the environment and what to do, or "" if it can."""
    spelled = ".".join(map(str, version))
    if not (3, 11) <= version <= (3, 14):
        return (
            f"This is Python {spelled}; AstraQuant needs 3.11, 3.12, 3.13 or 3.14.\n"
            "Install one of them and call it by name: python3.13 -m astraquant lab"
        )
    if can_make_venv:
        return ""
    cure = f"sudo apt-get install python{spelled}-venv" if has_apt else "install uv"
    return f"This Python can't make environments (it has no ensurepip). Do:\n    {cure}"


def build(project: Path) -> None:
    """Build ``.venv`` or bring it up to date; exit with the cure where that is impossible."""
    venv, uv = project / ".venv", shutil.which("uv")
    if uv and subprocess.run([uv, "--version"], capture_output=True, check=False).returncode:
        uv = None  # a shim that leads nowhere
    can_make_venv = bool(uv or util.find_spec("ensurepip"))
    if reason := refusal(sys.version_info[:2], can_make_venv, bool(shutil.which("apt-get"))):
        sys.exit(reason)
    with _one_at_a_time(project / ".venv.lock"):
        if is_current(project):
            return  # another process has just built it
        broken = stamp(venv) == UNFINISHED or not python_of(venv).exists()
        if venv.exists() and broken and Path(sys.prefix).resolve() != venv.resolve():
            shutil.rmtree(venv)  # never the one that runs this: it is mended in place
        doing = "Updating" if venv.exists() else "Building, once,"
        print(f"{doing} the environment in {venv}\n({COST})", file=sys.stderr, flush=True)
        try:
            _install(project, venv, uv)
        except subprocess.CalledProcessError as failed:
            sys.exit(f"It failed, see above: {failed}\nThe same command starts it anew.")


def _install(project: Path, venv: Path, uv: str | None) -> None:
    def run(*line: object) -> None:  # stdout belongs to the command that was asked for
        subprocess.run([str(part) for part in line], check=True, stdout=sys.stderr)

    python = python_of(venv)
    if not python.exists():
        base = getattr(sys, "_base_executable", sys.executable)  # not that of another venv
        # --seed brings pip, so that %pip works in a notebook
        run(*([uv, "venv", "--seed", "--python", base] if uv else [base, "-m", "venv"]), venv)
    (venv / "astraquant.stamp").write_text(UNFINISHED)
    pip: list[object] = [python, "-m", "pip", "install"]
    with contextlib.suppress(subprocess.CalledProcessError):  # then pip does it, more slowly
        if not uv:
            run(*pip, "--quiet", "uv")
        pip = [uv or python.with_name("uv"), "pip", "install", "--python", python]
    run(*pip, "--no-deps", "--require-hashes", "-r", project / "requirements.lock")
    run(*pip, "--no-deps", "-e", project)
    (venv / "astraquant.stamp").write_text(fingerprint(project))


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
