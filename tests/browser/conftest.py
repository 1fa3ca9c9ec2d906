"""A real browser on a real JupyterLab, started by the launcher as a user would start it.

Needs a Chromium or Chrome on the PATH; without one these tests skip (in CI they fail). They work
on a copy of the project with a home folder of their own. Screenshots go into the folder
ASTRAQUANT_SCREENSHOTS, or ``screenshots`` in the project.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Shoot = Callable[[Page, str], Path]


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser's program."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"no browser on the PATH (looked for {', '.join(BROWSERS)})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(browser_path: str, playwright: Playwright) -> Iterator[Browser]:
    running = playwright.chromium.launch(executable_path=browser_path, args=SWITCHES)
    yield running
    running.close()


@pytest.fixture(scope="session")
def shoot() -> Shoot:
    """Write a picture of the page under a name and return its path."""
    folder = Path(os.environ.get("ASTRAQUANT_SCREENSHOTS", PROJECT / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> Path:
        path = folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        return path

    return take


class Lab:
    """A running ``python -m astraquant lab``: its address, and the latest lines it printed."""

    def __init__(self, project: Path, home: Path, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        outside = {"JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR"}
        environment = {k: v for k, v in os.environ.items() if k not in outside}
        command = [sys.executable, "-m", "astraquant", "lab", "--no-browser", f"--port={port}"]
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
        self._reader.start()  # else the server would stand still when the pipe is full

    def _wait_for_url(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", line):
                return found.group()
        pytest.fail("the launcher ended:\n" + "".join(self.lines))

    def close(self) -> int:
        """End it as a service manager would, and return its exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        self._reader.join(60)
        self.process.stdout.close()  # type: ignore[union-attr]
        return code


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the launcher needs: nothing is changed in the tree."""
    copy = tmp_path_factory.mktemp("project")
    rubbish = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for folder in ("astraquant", "notebooks"):
        shutil.copytree(PROJECT / folder, copy / folder, ignore=rubbish)
    for file in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, copy)
    return copy


@pytest.fixture(scope="session")
def lab(
    browser_path: str, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """JupyterLab as the launcher opens it for somebody who has never used it."""
    running = Lab(project, tmp_path_factory.mktemp("home"), "--expose-app-in-browser")
    yield running
    running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
    yield opened
    opened.close()
