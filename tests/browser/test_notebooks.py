"""Every notebook, opened and run in JupyterLab as a reader would do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, Lab, Shoot
from playwright.sync_api import Page, expect

NOTEBOOKS = sorted(path.name for path in (PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PATIENCE = 180_000  # milliseconds
READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle';
}"""
# The code cells that hold code, as JupyterLab has them: no matter what is on the screen.
CELLS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter(cell => cell.type === 'code' && cell.sharedModel.getSource().trim())
    .map(cell => ({count: cell.executionCount, outputs: cell.outputs.toJSON()}))"""
# Each command's promise is left alone: what came of it is looked at with a limit of time.
RUN_ALL_AFRESH = """async () => {
    const {commands, shell} = window.jupyterapp;
    await commands.execute('notebook:clear-all-cell-outputs');
    await shell.currentWidget.sessionContext.session.kernel.restart();
    void commands.execute('notebook:run-all-cells');
}"""
TRUSTED = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .every(cell => cell.type !== 'code' || cell.trusted)"""
# From the top of the first cell to the end of the last.
HEIGHT = """() => {
    const cells = document.querySelectorAll('.jp-Notebook .jp-Cell');
    const [first, last] = [cells[0], cells[cells.length - 1]];
    return last.getBoundingClientRect().bottom - first.getBoundingClientRect().top;
}"""
DONE = """cells => cells.every(cell => cell.count !== null)
    || cells.some(cell => cell.outputs.some(output => output.output_type === 'error'))"""
BAD_WIDGETS = "text=/Error (displaying|creating) widget|Loading widget|Model not found/"


def open_notebook(page: Page, lab: Lab, name: str) -> None:
    start, _, token = lab.url.partition("?")
    page.goto(f"{start.rpartition('/')[0]}/{name}?{token}&reset")
    page.wait_for_function(READY, timeout=PATIENCE)
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    assert page.evaluate("window.jupyterapp.shell.currentWidget.context.path").endswith(name)


def show_whole(page: Page) -> None:
    """Make the window as high as the notebook, so that all of it is drawn."""
    for _ in range(3):  # drawing more may make it higher
        high = min(max(900, int(page.evaluate(HEIGHT)) + 200), 15_000)
        page.set_viewport_size({"width": 1400, "height": high})
        page.wait_for_function("() => new Promise(r => requestIdleCallback(() => r(true)))")


def outputs_of(cells: list[dict[str, Any]], kind: str) -> list[Any]:
    return [out for cell in cells for out in cell["outputs"] if out["output_type"] == kind]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS[:1] == ["00_start_here.ipynb"]


def test_lab_opens_on_the_first_notebook_without_a_dialog(
    lab: Lab, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{lab.url}&reset")  # whatever another test has left open
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    page.wait_for_function(READY, timeout=PATIENCE)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    shoot(page, "lab")
    path = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    assert path == "notebooks/00_start_here.ipynb"
    assert page.evaluate(TRUSTED)
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    expect(page.locator(".jp-toastContainer .Toastify__toast")).to_have_count(0)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, lab: Lab, page: Page, shoot: Shoot) -> None:
    open_notebook(page, lab, name)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(
        0, timeout=PATIENCE
    )  # stored pictures, before anything is run
    page.evaluate(RUN_ALL_AFRESH)
    page.wait_for_function(f"() => ({DONE})(({CELLS})())", timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)

    cells = page.evaluate(CELLS)
    errors = outputs_of(cells, "error")
    assert not errors, "\n".join(errors[0]["traceback"])
    assert len(cells) == code_cells(PROJECT / "notebooks" / name)
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    show_whole(page)
    shoot(page, f"{Path(name).stem}_light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    shoot(page, f"{Path(name).stem}_dark")
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")  # free its memory


def code_cells(path: Path) -> int:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return sum(cell["cell_type"] == "code" and any(cell["source"]) for cell in cells)
