"""The first minute of a newcomer: the environment is built, or the cure is named."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from astraquant import _environment as environment
from astraquant import lab
from astraquant.errors import AstraQuantError

PROJECT = Path(__file__).resolve().parent.parent
BARE = [getattr(sys, "_base_executable", sys.executable), "-S"]  # as if nothing were installed
FIRST_FILES = ("__init__.py", "__main__.py", "_environment.py")


def copy_of_the_project(folder: Path) -> Path:
    """Copy what a clone would have, as far as the launcher needs it."""
    rubbish = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("astraquant", "tests"):
        shutil.copytree(PROJECT / name, folder / name, ignore=rubbish)
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    return folder


def run(project: Path, *arguments: str, python: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*([python] if python else BARE), "-m", "astraquant", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project folder with the two files that decide what is installed."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname="pytest"\ndependencies=["nbval>=0"]')
    (tmp_path / "requirements.lock").write_text("nbval==0\n")
    return tmp_path


def pretend_venv(project: Path, stamp: str) -> None:
    python = environment.python_of(project / ".venv")
    python.parent.mkdir(parents=True)
    python.touch()
    (project / ".venv" / "astraquant.stamp").write_text(stamp)


@pytest.mark.parametrize("name", FIRST_FILES)
def test_what_runs_first_needs_nothing_and_reads_on_old_pythons(name: str) -> None:
    source = (PROJECT / "astraquant" / name).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 8))  # old ones must live to read the refusal
    absolute = {
        module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for module in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert {str(module).partition(".")[0] for module in absolute} <= sys.stdlib_module_names
    assert len(source.splitlines()) <= 125


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13), (3, 14)])
def test_supported_pythons_are_taken(version: tuple[int, int]) -> None:
    assert environment.refusal(version, can_make_venv=True, has_apt=True) == ""


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 15), (4, 0)])
def test_other_pythons_are_refused_with_the_cure(version: tuple[int, int]) -> None:
    said = environment.refusal(version, can_make_venv=True, has_apt=True)
    assert f"Python {version[0]}.{version[1]};" in said
    assert "python3.13 -m astraquant lab" in said


def test_without_venv_the_package_is_named() -> None:
    said = environment.refusal((3, 12), can_make_venv=False, has_apt=True)
    assert "sudo apt-get install python3.12-venv" in said
    assert "install uv" in environment.refusal((3, 12), can_make_venv=False, has_apt=False)


@pytest.mark.parametrize("file", ["pyproject.toml", "requirements.lock"])
def test_a_change_of_either_file_makes_the_environment_old(small: Path, file: str) -> None:
    pretend_venv(small, environment.fingerprint(small))
    assert environment.is_current(small)
    (small / file).write_text("# changed")
    assert not environment.is_current(small)


def test_an_unfinished_or_foreign_environment_is_not_taken_for_complete(small: Path) -> None:
    assert not environment.is_current(small)
    pretend_venv(small, environment.UNFINISHED)
    assert not environment.is_current(small)
    (small / ".venv" / "astraquant.stamp").unlink()
    assert not environment.is_current(small)


def test_an_environment_without_its_python_is_not_taken_for_complete(small: Path) -> None:
    pretend_venv(small, environment.fingerprint(small))
    environment.python_of(small / ".venv").unlink()
    assert not environment.is_current(small)


def test_a_python_that_has_everything_is_used_as_it_is(small: Path) -> None:
    assert environment.is_enough(small)
    text = (small / "pyproject.toml").read_text()
    (small / "pyproject.toml").write_text(text.replace("nbval>=0", "no-such-package[x]>=1"))
    assert not environment.is_enough(small)


def test_help_builds_nothing(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    for arguments in ((), ("--help",)):
        done = run(project, *arguments)
        assert done.returncode == 0
        assert "python3 -m astraquant lab" in done.stdout
    assert not (project / ".venv").exists()


@pytest.mark.skipif(not os.environ.get("CI"), reason="downloads 400 MB; set CI=true to run it")
def test_a_fresh_checkout_builds_its_environment_once(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    command = ("test", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/test_timeframes.py")
    line = [*BARE, "-m", "astraquant", *command]
    both = [
        subprocess.Popen(
            line, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)  # at once: one builds, the other waits for it
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert all("tests/test_timeframes.py::" in out for out, _ in told)
    builds = [err for _, err in told if "Building" in err]
    assert len(builds) == 1
    assert str(project / ".venv") in builds[0]
    assert "MB" in builds[0]
    assert environment.is_current(project)

    inside = str(environment.python_of(project / ".venv"))
    pip = subprocess.run([inside, "-m", "pip", "--version"], check=False, capture_output=True)
    assert pip.returncode == 0  # %pip in a notebook
    assert run(project, "test", "no_such_test.py").returncode == pytest.ExitCode.USAGE_ERROR
    updated = project / "pyproject.toml"
    updated.write_text(updated.read_text("utf-8") + "\n# changed\n", "utf-8")
    again = run(project, *command, python=inside)
    assert again.returncode == 0
    assert "Updating" in again.stderr


def test_missing_notebooks_and_tests_are_explained(tmp_path: Path) -> None:
    for command in (lab.run_lab, lab.run_test):
        with pytest.raises(AstraQuantError, match="Clone the repository"):
            command([], tmp_path)


def test_a_wrong_theme_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        lab.run_lab(["--theme", "blue"])
    assert refused.value.code == 2
    assert "light" in capsys.readouterr().err


def test_a_theme_is_kept_beside_the_other_settings(tmp_path: Path) -> None:
    settings = lab._theme_file(tmp_path)
    lab._update_json(settings, lab.THEMES["dark"])
    assert json.loads(settings.read_text("utf-8"))["theme"] == "JupyterLab Dark"
    settings.write_text('{// mine\n"theme": "JupyterLab Dark", "theme-scrollbars": true}', "utf-8")
    lab._update_json(settings, lab.THEMES["system"])
    kept = json.loads(settings.read_text("utf-8"))
    assert kept == {"theme": "JupyterLab Dark", "theme-scrollbars": True, "adaptive-theme": True}


def test_trusted_notebooks_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_markdown_cell("é")]
    paths = [tmp_path / f"{number}.ipynb" for number in range(2)]
    for path in paths:
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        cells = cells[:1]
    before = paths[0].read_bytes()
    lab.trust(paths[:1])
    with closing(NotebookNotary().store) as store:
        notary = NotebookNotary(store_factory=lambda: store)
        signed = [notary.check_signature(nbformat.read(path, 4)) for path in paths]
    assert signed == [True, False]
    assert paths[0].read_bytes() == before
