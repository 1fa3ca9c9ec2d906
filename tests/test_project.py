"""The project's own rules: its files agree with each other, its modules point downward."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import astraquant

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "astraquant"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = [
    path
    for path in sorted((PROJECT / "notebooks").rglob("*.ipynb"))
    if ".ipynb_checkpoints" not in path.parts
]
# A module may import from its own row and from the rows below it. A package counts as one module.
LEVELS = [
    {"__main__"},
    {"widgets", "serve", "cli", "lab"},
    {"data", "feed", "exchange"},
    {"backtesting", "sweeping", "causality", "grids", "jobs", "reports", "runs"}
    | {"honesty", "luck", "tried"}
    | {"symbol_sweeps"}
    | {"vectorbt_adapter"}
    | {"allocations", "allocation_checks", "estimates", "portfolios", "portfolio_reports"}
    | {"slots", "universes"}
    | {"permutations"}
    | {"walking", "walk_reports", "walk_runs", "walk_windows"},
    {"engine", "strategies"},
    {"indicators", "expressions", "evaluation", "metrics", "moments", "resampling", "price_lines"}
    | {"portfolio_accounting", "portfolio_figures"}
    | {"statistics", "_resampled", "_samples", "_searches", "_splits"}
    | {"markets", "_markets"}
    | {"accounting", "performance", "stops", "_coarse", "_indicator", "_rolling", "_signals"},
    {"candles", "symbols", "timeframes", "errors", "_compile", "_environment", "__init__"},
]
RANK = {name: len(LEVELS) - row for row, names in enumerate(LEVELS) for name in names}
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))


def part_of(path: Path) -> str:
    """Return the module or package right below the root that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST, path: Path) -> set[str]:
    """Return the full names of all modules that a piece of code imports."""
    here = ["astraquant", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            home = ".".join([*base, *([node.module] if node.module else [])])
            found |= {home} if node.module else {f"{home}.{alias.name}" for alias in node.names}
    return found


def without_methods_and_hints(tree: ast.Module) -> ast.Module:
    """Drop what the direction does not bind: methods (`.plot()`), and imports for hints only."""

    class Strip(ast.NodeTransformer):
        def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
            node.body = [item for item in node.body if not isinstance(item, ast.FunctionDef)]
            return node

        def visit_If(self, node: ast.If) -> ast.AST | None:
            hints = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if hints else self.generic_visit(node)

    return Strip().visit(tree)  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    part = part_of(path)
    assert part in RANK, f"say in LEVELS where {part} stands"
    tree = without_methods_and_hints(ast.parse(path.read_text("utf-8")))
    own = {name.split(".")[1] for name in imports_of(tree, path) if name.startswith("astraquant.")}
    upward = {name for name in own if RANK.get(name, 0) > RANK[part]}
    assert not upward, f"{part} imports from above: {upward}"


def test_vectorbt_is_imported_in_one_module() -> None:
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        if any(
            name.split(".")[0] == "vectorbt"
            for name in imports_of(ast.parse(path.read_text("utf-8")), path)
        )
    ]
    assert users == ["vectorbt_adapter.py"]


def test_no_module_bears_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    functions = set(astraquant.__all__) - set(astraquant._MODULES)
    assert functions
    assert not modules & functions


def test_importing_the_package_is_light() -> None:
    code = "import sys, astraquant; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "astraquant" in loaded
    assert not loaded & {"pandas", "numpy", "numba", "vectorbt", "bqplot", "ipywidgets", "torch"}


def bounds(requirement: str) -> tuple[str, frozenset[str]]:
    """Split a requirement of pip or conda into its name and the set of its bounds."""
    name, rest = re.fullmatch(r"([\w.-]+)\s*([^;]*)", requirement.strip()).groups()  # type: ignore[union-attr]
    return name.lower().replace("_", "-"), frozenset(filter(None, rest.replace(" ", "").split(",")))


def locked() -> dict[str, str]:
    lines = (PROJECT / "requirements.lock").read_text("utf-8").splitlines()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", "\n".join(lines), re.MULTILINE))


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def test_the_lock_names_no_host() -> None:
    text = (PROJECT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert text.count("--hash=sha256:") > len(locked()) > 100


@pytest.mark.parametrize(
    "requirement",
    [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["test"]],
)
def test_the_lock_honours_every_bound(requirement: str) -> None:
    name, limits = bounds(requirement)
    pinned = locked().get(name)
    assert pinned, f"{name} is not in requirements.lock: lock anew, see pyproject.toml"
    for limit in limits:
        sign, number = re.fullmatch(r"([<>=]+)(.*)", limit).groups()  # type: ignore[union-attr]
        kept = version(pinned) >= version(number) if sign == ">=" else None
        kept = version(pinned) < version(number) if sign == "<" else kept
        assert kept, f"{name} {pinned} breaks {limit}"


def conda_requirements() -> dict[str, frozenset[str]]:
    listed: list[Any] = yaml.safe_load((PROJECT / "environment.yml").read_text("utf-8"))[
        "dependencies"
    ]
    by_pip = next(item["pip"] for item in listed if isinstance(item, dict))
    assert "-e ." in by_pip
    plain = [item for item in [*listed, *by_pip] if isinstance(item, str) and item != "-e ."]
    return dict(map(bounds, plain))


def test_conda_gives_what_pip_gives() -> None:
    conda = conda_requirements()
    wanted = dict(map(bounds, PYPROJECT["project"]["dependencies"]))
    del wanted["numba"]  # comes with pip's vectorbt, at the version made for it
    assert wanted.items() <= conda.items()
    extras = PYPROJECT["project"]["optional-dependencies"]
    parts = [PYPROJECT["dependency-groups"]["test"]]
    parts += [listed for name, listed in extras.items() if name != "bench"]
    tools = dict(bounds(line) for part in parts for line in part)
    assert conda.keys() - wanted.keys() - {"python", "pip"} <= tools.keys()
    assert all(conda[name] == tools[name] for name in conda.keys() & tools.keys())


def test_every_test_tool_of_the_launcher_is_in_conda() -> None:
    from astraquant.lab import _TEST_TOOLS

    other_names = {"xdist": "pytest-xdist", "talib": "ta-lib", "yaml": "pyyaml"}
    names = {other_names.get(name, name) for name in _TEST_TOOLS}
    assert names <= conda_requirements().keys()


def test_python_versions_agree() -> None:
    assert PYPROJECT["project"]["requires-python"] == ">=3.11,<3.15"
    versions = [
        line.rpartition(" ")[2]
        for line in PYPROJECT["project"]["classifiers"]
        if re.search(r"Python :: 3\.\d+$", line)
    ]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert conda_requirements()["python"] == {"=3.13"}  # the one spelling that Binder reads


def test_the_version_is_said_once() -> None:
    assert PYPROJECT["project"]["version"] == astraquant.__version__


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_notebook_is_clean(path: Path) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    # When and on what it ran is another text each time: notebooks/conftest.py has the command.
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert not [cell["id"] for cell in cells if "execution" in cell["metadata"]]
    assert path.stat().st_size < 1_000_000
    assert len(cells) <= 25
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= 10, source
        assert "plotly" not in source
        assert not [out for out in cell["outputs"] if out["output_type"] == "error"], source


def tracked_texts() -> list[Path]:
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\n")
    files = [PROJECT / name for name in known if name and not name.endswith((".png", ".lock"))]
    return [path for path in files if path.is_file()]


def test_no_file_names_a_machine() -> None:
    texts = tracked_texts()
    if not texts:
        pytest.skip("not a git checkout: no list of the project's files")
    private = re.compile(r"/(?:home|root|Users)/\w|[A-Z]:\\\\Users")
    named = {
        path.relative_to(PROJECT).as_posix(): found.group()
        for path in texts
        if path != Path(__file__) and (found := private.search(path.read_text("utf-8")))
    }
    assert not named
