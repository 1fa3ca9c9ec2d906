"""The two commands of every day: JupyterLab on the notebooks, and the tests."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import AstraQuantError

PROJECT = Path(__file__).resolve().parent.parent
START = "notebooks/00_start_here.ipynb"
THEMES: dict[str, dict[str, object]] = {
    "light": {"adaptive-theme": False, "theme": "JupyterLab Light"},
    "dark": {"adaptive-theme": False, "theme": "JupyterLab Dark"},
    "system": {"adaptive-theme": True},
}
_THEME = "@jupyterlab/apputils-extension:themes"
# What JupyterLab does until the user has it otherwise: ask nothing, and show file names in full.
_DEFAULTS: dict[str, dict[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/filebrowser-extension:browser": {"showLastModifiedColumn": False},
}
_TEST_TOOLS = (
    *("pytest", "nbval", "xdist", "hypothesis", "talib", "playwright", "yaml", "schemathesis"),
    *("fastapi", "uvicorn", "skfolio", "voila"),
)


def run_lab(arguments: list[str], project: Path = PROJECT) -> int:
    """Open JupyterLab on the first notebook, every notebook trusted, and return its exit code.

    ``arguments`` that are not explained by ``--help`` are handed to ``jupyter lab`` as they are.
    """
    parser = argparse.ArgumentParser(
        prog="astraquant lab",
        description="Open JupyterLab on the notebooks.",
        epilog="Anything else is handed to JupyterLab: --no-browser, --port 8890, --ip 0.0.0.0 ...",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--theme",
        choices=THEMES,
        help="keep this theme, as if chosen in the Settings menu "
        "(until one is chosen, JupyterLab follows the system)",
    )
    known, others = parser.parse_known_args(arguments)
    _require(project / "notebooks")
    from jupyterlab.commands import get_user_settings_dir
    from jupyterlab.labapp import LabApp

    settings = _theme_file(Path(get_user_settings_dir()))
    if known.theme:
        _update_json(settings, THEMES[known.theme])
    state = project / ".jupyter"  # not the user's: other projects have other windows open
    defaults = _DEFAULTS if settings.is_file() else {**_DEFAULTS, _THEME: THEMES["system"]}
    _write_json(state / "labconfig" / "default_setting_overrides.json", defaults)
    _prepend_path("JUPYTER_CONFIG_PATH", state)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel "python3" of the user may lead elsewhere
    trust((project / "notebooks").rglob("*.ipynb"))
    options = {
        "Application.log_level": "WARN",  # else the address drowns in thirty other lines
        "ServerApp.root_dir": str(project),
        "LabApp.default_url": f"/lab/tree/{START}",
        "LabApp.workspaces_dir": str(state / "workspaces"),
    }
    given = {argument.partition("=")[0] for argument in others}
    chosen = [f"--{name}={value}" for name, value in options.items() if f"--{name}" not in given]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        chosen.append("--allow-root")  # in a container there is nobody else
    print(f"JupyterLab on {project}: Ctrl-C, twice, stops it.", flush=True)
    LabApp.launch_instance([*chosen, *others])
    return 0


def run_test(arguments: list[str], project: Path = PROJECT) -> int:
    """Run pytest, notebooks included, and return its exit code.

    Without ``arguments``: all tests and notebooks, spread over the processors, a file to each.
    With any: exactly ``pytest arguments``.
    """
    _require(project / "tests")
    missing = [name for name in _TEST_TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        raise AstraQuantError(
            f"the tests need {', '.join(missing)}, which this Python has not.\n"
            "Install them with: "
            'python -m pip install --group test -e ".[dashboard,portfolio,serve]"'
        )
    import pytest

    os.chdir(project)
    spread = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    return int(pytest.main(arguments or spread))


def trust(notebooks: Iterable[Path]) -> None:
    """Sign notebooks, so that JupyterLab shows their stored pictures before anything is run."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    try:
        for path in notebooks:
            notary.sign(nbformat.read(path, as_version=4))
    finally:
        notary.store.close()  # its database


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise AstraQuantError(
            f"there is no folder {folder}: it comes with the repository, not with the package.\n"
            "Clone the repository and type the command there."
        )


def _theme_file(settings: Path) -> Path:
    return settings / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"


def _update_json(path: Path, values: Mapping[str, object]) -> None:
    import json5  # JupyterLab's settings may hold comments

    old = json5.loads(path.read_text("utf-8")) if path.is_file() else {}
    _write_json(path, {**old, **values})


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def _prepend_path(variable: str, folder: Path) -> None:
    others = os.environ.get(variable)
    os.environ[variable] = os.pathsep.join([str(folder), *([others] if others else [])])
