"""How long it takes until a price is on the screen: venue, feed, widget, JupyterLab, Chromium.

The load's server makes each trade's price tell its id. In JupyterLab a `live_chart` of 500 candles
follows it; a script in the page reads the last price's label in every frame. Both sides look at the
same clock. Needs Playwright and a Chromium or Chrome on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astraquant.data.cache import VARIABLE

from .apart import Apart
from .load import CENT, PRICE, PRICES, Load

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROJECT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
RATE, LIMIT = 100, 0.15  # messages a second, seconds for 95 % of them
MANY = 450  # candles at the least: "All" shows 500, less some room at the right
IDLE = 5  # messages a second while the page is made ready
WARM_UP = 5.0  # seconds
PATIENCE = 120.0  # seconds for JupyterLab, and for the picture
TOKEN = "benchmark"
CODE = "from astraquant.widgets.live import live_chart\nlive_chart('BTCUSDT', venue={url!r})"

READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle';
}"""
RUN = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
# The last price is the only bold number beside a panel: bqplot has no other name for it.
LABEL = """() => [...document.querySelectorAll('.bqplot .axis text')].filter(
    text => Number(getComputedStyle(text).fontWeight) >= 600 && text.textContent.includes('.'))"""
WATCH = f"""() => {{
    const find = {LABEL};
    const seen = window.seen = [];
    let label = null;
    const look = () => {{
        if (!label?.isConnected) label = find()[0];
        const text = label?.textContent;
        if (text && text !== seen.at(-1)?.[1]) seen.push([Date.now(), text]);
        requestAnimationFrame(look);
    }};
    look();
}}"""
# Candles of the first panel that are in view.
CANDLES = """() => {
    const panel = document.querySelector('.bqplot');
    const view = panel.querySelector('.plotarea_background').getBoundingClientRect();
    return [...panel.querySelectorAll('.stick')].filter(stick => {
        const x = stick.getBoundingClientRect().x;
        return view.left <= x && x <= view.right;
    }).length;
}"""


class Seen(NamedTuple):
    """Milliseconds from the venue's sending of a trade until the page has it in its DOM.

    ``shown``: of each price that was drawn, ``all``: of every trade, until it or a later one was
    drawn.
    """

    candles: int
    shown: np.ndarray[Any, np.dtype[np.float64]]
    all: np.ndarray[Any, np.dtype[np.float64]]


def measure(seconds: float) -> Seen:
    """Watch the page for so many seconds."""
    with tempfile.TemporaryDirectory() as folder, Apart(Load) as venue:
        venue.ask("rate", IDLE)
        with lab(Path(folder), CODE.format(url=venue.ask("url"))) as address, page() as opened:
            candles = prepare(opened, address)
            opened.evaluate(WATCH)
            venue.ask("rate", RATE)
            time.sleep(WARM_UP + seconds)
            seen = opened.evaluate("window.seen")
            made = np.frombuffer(venue.ask("made"), np.int64)
    return delays(seen, made, candles)


def delays(seen: list[tuple[float, str]], made: Any, candles: int) -> Seen:
    """From the page's notes and the time at which each trade was made."""
    begin = seen[0][0] + 1000 * WARM_UP
    counted = [(moment, trade_of(text, len(made))) for moment, text in seen if moment >= begin]
    moments, ids = (np.array(column) for column in zip(*counted, strict=True))
    ids = np.maximum.accumulate(ids)
    every = np.arange(np.searchsorted(made, begin), ids[-1] + 1)
    first = np.searchsorted(ids, every)
    return Seen(candles, (moments - made[ids]) * 1.0, (moments[first] - made[every]) * 1.0)


def trade_of(text: str, made: int) -> int:
    """The newest of ``made`` trades with the price in a label."""
    number = round(float(text.replace(",", "")) * 100) - PRICE // CENT
    return number + (made - 1 - number) // PRICES * PRICES


@contextmanager
def lab(folder: Path, code: str) -> Iterator[str]:
    """A JupyterLab of its own, with a notebook of one cell; the notebook's address."""
    cell = {"cell_type": "code", "id": "one", "source": code, "metadata": {}, "outputs": []}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    book = {"cells": [cell | {"execution_count": None}], "nbformat": 4, "nbformat_minor": 5}
    (folder / "live.ipynb").write_text(json.dumps(book | {"metadata": kernel}), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = {"HOME": str(folder), VARIABLE: str(folder / "cache"), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}"]
    command += [f"--IdentityProvider.token={TOKEN}", "--expose-app-in-browser", "--allow-root"]
    with (folder / "log").open("w") as log:
        environment = {**os.environ, **paths, "JUPYTER_PREFER_ENV_PATH": "1"}
        running = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", running)
            yield f"http://127.0.0.1:{port}/lab/tree/live.ipynb?token={TOKEN}"
        finally:
            running.terminate()
            running.wait(60)


def _wait_for(address: str, running: subprocess.Popen[bytes]) -> None:
    begin = time.monotonic()
    while running.poll() is None and time.monotonic() - begin < PATIENCE:
        try:
            with urllib.request.urlopen(address):
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab does not answer at {address}")


def browser() -> str | None:
    """The browser's program, if there is one (and Playwright)."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return None
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def page() -> Iterator[Page]:
    """A page of a browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser(), args=SWITCHES)
        yield running.new_page(viewport={"width": 1400, "height": 1100})
        running.close()


def prepare(opened: Page, address: str) -> int:
    """Let the notebook draw its chart with all candles; returns how many are drawn."""
    patience = 1000 * PATIENCE
    opened.goto(address)
    opened.wait_for_function(READY, timeout=patience)
    opened.evaluate(RUN)
    opened.wait_for_function(f"() => ({LABEL})().length > 0", timeout=patience)
    opened.get_by_role("button", name="All", exact=True).click()
    opened.wait_for_function(f"() => ({CANDLES})() > {MANY}", timeout=patience)
    return int(opened.evaluate(CANDLES))
