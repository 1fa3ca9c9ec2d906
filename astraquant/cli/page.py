"""The command `dashboard`: a notebook as a page of its own, by Voilà."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import secrets
import webbrowser
from pathlib import Path
from typing import Any

from ..errors import AstraQuantError, DataError, install_line
from .common import command_parser

EXAMPLES = """examples:
  astraquant dashboard notebooks/03_backtest.ipynb
  astraquant dashboard mine.ipynb --theme dark --port 9000 --no-browser

The notebook is run anew for each visitor, in a kernel of its own, and shown without its code: so
open no notebook that you do not trust. The page can be reached from this machine alone, with the
token in its address. A kernel ends when its page is closed, or after half an hour of idling.
Ctrl-C ends it all."""

HOST = "127.0.0.1"
IDLE = 1800  # seconds after which a kernel of which nothing was asked is ended
LOOK_EVERY = 30  # seconds between two looks for such kernels
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: "
    f"ws://{HOST}:*; frame-ancestors 'self'"
)


def run_dashboard(arguments: list[str]) -> int:
    """Run `astraquant dashboard ARGUMENTS` until Ctrl-C and return its exit code."""
    parser = command_parser("dashboard", "Serve a notebook as a page.", EXAMPLES)
    parser.add_argument("file", metavar="FILE", type=Path, help="a notebook (.ipynb)")
    parser.add_argument("--port", type=int, default=8866, help="default: 8866, or a free one near")
    parser.add_argument(
        "--theme", choices=("light", "dark"), default="light", help="default: light"
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    known = parser.parse_args(arguments)
    _check(known)
    from tornado.ioloop import IOLoop

    token = secrets.token_urlsafe(24)
    page = make_page(known.file, known.port, known.theme, token)

    def introduce() -> None:  # called when the page is there: by then the port is known
        address = f"http://{HOST}:{page.port}/?token={token}"
        print(f"{known.file} is a page at\n    {address}\nCtrl-C ends it.", flush=True)
        if not known.no_browser:
            webbrowser.open(address)

    IOLoop.current().add_callback(introduce)
    page.start()
    return 0


def make_page(file: Path, port: int, theme: str, token: str) -> Any:
    """A Voilà application that shows ``file`` to who knows ``token``, on this machine alone."""
    voila = importlib.import_module("voila.app")  # it has no type hints
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel "python3" of the user may lead elsewhere
    options = {
        "Application.log_level": "ERROR",
        "Voila.ip": HOST,
        "Voila.port": port,
        "Voila.token": token,
        "Voila.open_browser": False,  # it would open one without the token
        "VoilaConfiguration.theme": theme,
        "VoilaConfiguration.strip_sources": True,
        # A page keeps its connection open; without one its kernel has no reader any more.
        "MappingKernelManager.cull_idle_timeout": IDLE,
        "MappingKernelManager.cull_interval": LOOK_EVERY,
        "MappingKernelManager.cull_connected": True,
    }
    page = voila.Voila()
    page.initialize([str(file), *(f"--{name}={value}" for name, value in options.items())])
    page.tornado_settings = {
        **page.tornado_settings,
        # Who comes under another name, which somebody lets point here, gets no answer.
        "allow_remote_access": False,
        # Nothing is asked of another site.
        "headers": {"Content-Security-Policy": _POLICY},
        # A page that is closed ends its kernel by a request that can carry no such mark. What can
        # be asked for without one concerns a kernel whose random name has to be known.
        "disable_check_xsrf": True,
    }
    return page


def _check(known: argparse.Namespace) -> None:
    if known.file.suffix != ".ipynb":
        raise DataError(f"{known.file}: expected a notebook, a file whose name ends in .ipynb")
    if not known.file.is_file():
        raise DataError(f"there is no notebook {known.file}")
    if not 0 < known.port < 2**16:
        raise DataError(f"--port {known.port}: expected 1 to 65535")
    if importlib.util.find_spec("voila") is None:
        raise AstraQuantError(
            "a notebook as a page needs Voilà, which this Python has not.\nInstall it "
            + install_line("dashboard")
        )
