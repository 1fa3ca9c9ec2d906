"""A notebook as a page of its own: right figures, for this machine alone, with a token."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import nbformat
import psutil
import pytest
from conftest import Shoot
from playwright.sync_api import Page, expect
from test_dashboard import TABLE
from test_notebooks import BAD_WIDGETS, PATIENCE

import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross

CELL = """
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-15")
aq.backtest(candles, ma_cross, timeframe="5m", short=20, long=100).dashboard()
"""


class Server:
    """A running ``python -m astraquant dashboard``: its address, and what it printed."""

    def __init__(self, notebook: Path, project: Path, home: Path, *arguments: str) -> None:
        outside = {"JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"}
        environment = {k: v for k, v in os.environ.items() if k not in outside}
        command = [sys.executable, "-m", "astraquant", "dashboard", str(notebook), "--no-browser"]
        self.lines: deque[str] = deque(maxlen=200)
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=project,
            env={**environment, "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = self._wait_for_url()
        self._reader = threading.Thread(target=self.lines.extend, args=[self.process.stdout])
        self._reader.start()  # else it would stand still when the pipe is full

    def _wait_for_url(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                return found.group()
        pytest.fail("the command ended:\n" + "".join(self.lines))

    def kernels(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ipykernel_launcher" in child.cmdline()]

    def close(self) -> int:
        """End it by Ctrl-C, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(60)
        self.process.stdout.close()  # type: ignore[union-attr]
        return code


@pytest.fixture
def server(project: Path, tmp_path: Path) -> Iterator[Server]:
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, tmp_path / "page.ipynb")
    running = Server(tmp_path / "page.ipynb", project, tmp_path)
    yield running
    assert running.close() == 0


def test_a_page_shows_the_result_and_is_for_this_machine_alone(
    server: Server, page: Page, shoot: Shoot
) -> None:
    outside: list[str] = []
    host = urlsplit(server.url).netloc
    page.on("response", lambda r: outside.append(r.url) if urlsplit(r.url).netloc != host else None)
    page.set_viewport_size({"width": 1300, "height": 1_300})
    page.goto(server.url)
    page.locator(".astraquant-chart .bqplot").first.wait_for(timeout=PATIENCE)
    candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-15")
    result = aq.backtest(candles, ma_cross, timeframe="5m", short=20, long=100)
    assert page.locator(".figures > div").evaluate_all(TABLE) == {
        name.replace("_", " "): format_figure(name, value) for name, value in result.metrics.items()
    }
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("synthetic prices")).to_be_visible()
    expect(page.get_by_text("sample_candles(")).to_have_count(0)  # code is not shown
    page.get_by_role("button", name="log axis").click()
    expect(page.get_by_text("equity (quote currency), log")).to_be_visible()
    shoot(page, "page_equity")
    page.get_by_role("tab", name="Trades").click()
    first = page.locator("table.list td").first
    expect(first).to_have_text(f"{result.trades['entry_time'].iloc[0]:%Y-%m-%d %H:%M}")
    shoot(page, "page_trades")
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []

    kernels = server.kernels()
    assert len(kernels) == 1
    page.goto("about:blank")
    _, alive = psutil.wait_procs(kernels, timeout=60)
    assert not alive  # a closed page ends its kernel

    address = urlsplit(server.url)
    strange = httpx.get(server.url, headers={"Host": "example.com"})
    assert strange.status_code == 403
    nobody = httpx.get(f"http://{address.netloc}/")
    assert nobody.status_code == 302
    assert "/login" in nobody.headers["location"]
    assert not server.kernels()  # nor is anything run for them
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", address.port), timeout=5)
