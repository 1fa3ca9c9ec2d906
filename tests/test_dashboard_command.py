"""`astraquant dashboard`: what it refuses, and how the page is set up; more in browser/."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path

import nbformat
import pytest

from astraquant.cli import main, page


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(written, tmp_path / "one.ipynb")
    return tmp_path / "one.ipynb"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/none.ipynb"], "there is no notebook"),
        (["{folder}"], "expected a notebook, a file whose name ends in .ipynb"),
        (["{folder}/one.ipynb", "--port", "0"], "--port 0: expected 1 to 65535"),
        (["{folder}/one.ipynb", "--port", "70000"], "expected 1 to 65535"),
    ],
)
def test_refusals(
    arguments: list[str], said: str, notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(folder=notebook.parent) for argument in arguments]
    assert main(["dashboard", *filled]) == 1
    assert said in capsys.readouterr().err


def test_without_voila_the_error_says_how_to_install_it(
    notebook: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        page.importlib.util, "find_spec", lambda name: None if name == "voila" else find(name)
    )
    assert main(["dashboard", str(notebook)]) == 1
    assert 'python -m pip install -e ".[dashboard]"' in capsys.readouterr().err


def test_the_page_is_for_this_machine_and_its_idle_kernels_end(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")  # and afterwards what it was before
    before = signal.getsignal(signal.SIGTERM)
    try:
        made = page.make_page(notebook, 8866, "dark", "secret")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert made.ip == "127.0.0.1"
    assert made.token == "secret"
    assert not made.open_browser
    assert made.voila_configuration.theme == "dark"
    assert made.voila_configuration.strip_sources
    assert made.tornado_settings["allow_remote_access"] is False
    kernels = made.init_settings()["kernel_manager"]
    assert kernels.cull_idle_timeout == page.IDLE == 1800
    assert kernels.cull_interval == page.LOOK_EVERY == 30
    assert kernels.cull_connected  # of a page that somebody left open, too
