"""What the tests of pictures share: a notebook of cells, run and drawn, its axes looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat
from conftest import Lab
from playwright.sync_api import Locator, Page, expect
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

AXES = ".bqplot > svg.svg-background"
# Texts of a picture that reach beyond its frame, or ticks of one axis that touch.
CLIPPED = """svgs => svgs.flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
            || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
    }).map(text => text.textContent);
})"""
TOUCHING = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('.axis')]).flatMap(axis => {
    const boxes = [...axis.querySelectorAll('.tick text')].map(t => t.getBoundingClientRect());
    return boxes.filter((a, i) => boxes.some((b, j) => j > i
        && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom))
        .map(() => axis.textContent);
})"""
# Texts that hardly differ from the page behind them (WCAG contrast below 3).
FAINT = """svgs => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const page = document.querySelector('.jp-NotebookPanel-notebook');
    const back = light(getComputedStyle(page).backgroundColor);
    return svgs.flatMap(svg => [...svg.querySelectorAll('.axis text')]).filter(text => {
        const front = light(getComputedStyle(text).fill);
        return text.textContent && Math.max(front, back) / Math.min(front, back) < 3;
    }).map(text => text.textContent + ' in ' + getComputedStyle(text).fill);
}"""


def write_notebook(project: Path, name: str, cells: Sequence[str]) -> str:
    """Write a notebook of code cells into the project that the lab serves; its name again."""
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, project / "notebooks" / name)
    return name


def draw_all(page: Page, lab: Lab, notebook: str, pictures: int) -> Locator:
    """Run all cells and wait until so many pictures are drawn whole; their axes."""
    open_notebook(page, lab, notebook)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    axes = page.locator(AXES)
    expect(axes).to_have_count(pictures, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    return axes


def set_theme(page: Page, theme: str) -> None:
    """Switch to "light" or "dark" and wait until the page has done so."""
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    light = str(theme == "light").lower()
    page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")


def assert_readable(axes: Locator) -> None:
    """No text of these axes is cut off, touches another, or hardly differs from the page."""
    assert axes.evaluate_all(CLIPPED) == []
    assert axes.evaluate_all(TOUCHING) == []
    assert axes.evaluate_all(FAINT) == []
