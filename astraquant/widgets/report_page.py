"""`Backtest.report` and `Backtest.picture`: a result as one file.

The page is a template (jinja2) filled with tables and pictures (matplotlib's SVG); it holds all it
needs and asks no network for anything. Neither file says when it was written: the same result
gives the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from matplotlib import rc_context

from ..errors import DataError, unknown
from ..performance import monthly_returns, rolling_windows, worst_drawdowns
from . import report_pictures as pictures
from . import report_tables as tables
from .dashboard import usual_window
from .dashboard_view import View, view_of

PICTURES = (".png", ".svg", ".pdf")
_DATES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


class Panel(NamedTuple):
    """A section of a report; ``svg`` and ``table`` are markup, the rest is text."""

    heading: str
    svg: str | None
    caption: str
    table: str | None = None


def write_report(result: Any, path: str | Path) -> None:
    """Write ``result`` as one HTML page; a file that is there is replaced.

    Raises `DataError` if ``path`` does not end in .html or can't be written.
    """
    file = _check_path(path, (".html",))
    _write(file, report_html(view_of(result)).encode())


def write_picture(result: Any, path: str | Path) -> None:
    """Write equity and drawdown of ``result`` as a picture for a paper: PNG (200 dpi), SVG or PDF.

    A file that is there is replaced. Raises `DataError` for another ending, or if ``path`` can't be
    written.
    """
    file = _check_path(path, PICTURES)
    figure = pictures.paper_figure(view_of(result))
    kind = file.suffix.lower()
    try:
        with rc_context({"svg.hashsalt": "astraquant"}):
            figure.savefig(file, format=kind[1:], dpi=200, metadata=_DATES.get(kind))
    except OSError as error:
        raise _unwritable(file, error) from None


def report_html(view: View) -> str:
    """The page as text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("report.html").read_text("utf-8"))
    listed = tables.list_html(view.rows, range(len(view.rows)))
    names = {name: name.replace("_", " ") for name in map(str, view.metrics.index)}
    return template.render(
        view=view,
        look=tables.LOOK,
        notes=tables.notes_html(view.notes),
        figures=tables.figures_html(view.metrics, view.definitions),
        meanings=[(shown, view.definitions.get(name, "")) for name, shown in names.items()],
        panels=_panels(view),
        rows=listed if len(view.rows) else f"<p>No {view.listed}.</p>",
        passport=tables.passport_html(view.passport),
    )


def _panels(view: View) -> list[Panel]:
    falls = worst_drawdowns(view.equity, view.cash)
    months = monthly_returns(view.equity, view.cash)
    held = "Equity of the strategy and of buying and holding"
    log = _picture(view, pictures.draw_equity_log, "log", f"{held}, on a logarithmic axis")
    return [
        Panel("Equity", _picture(view, pictures.draw_equity, "equity", held), f"{held}."),
        Panel("", log, "The same on a logarithmic axis: equal distances are equal returns."),
        Panel(
            "Drawdown",
            _picture(view, pictures.draw_drawdown, "drawdown", "Drawdown over time", 2.0),
            "How far equity lies below the highest so far; the worst are numbered.",
            tables.drawdowns_html(falls),
        ),
        Panel(
            "Monthly returns",
            None,
            "UTC months; the first and the last may be parts.",
            tables.months_html(months),
        ),
        _rolling(view),
        _spread(view),
        Panel(
            "Exposure",
            _picture(view, pictures.draw_exposure, "exposure", "Exposure over time", 2.0),
            "Share of equity in position, each step the mean of a stretch of time.",
        ),
        Panel(
            "Gross against net",
            _picture(view, pictures.draw_gross, "gross", "Equity at zero cost and after costs"),
            view.costs,
        ),
    ]


def _picture(view: View, draw: pictures.Draw, name: str, text: str, height: float = 2.6) -> str:
    return pictures.panel_svg(view, draw, name, text, height)


def _rolling(view: View) -> Panel:
    heading = "Rolling Sharpe ratio"
    days = usual_window(rolling_windows(len(view.equity), view.timeframe))
    if days is None:
        return Panel(heading, None, "None: the run is too short.")
    text = f"Sharpe ratio of the last {days} day{'s' if days > 1 else ''}"
    svg = _picture(view, pictures.draw_rolling(days), "rolling", text, 2.2)
    return Panel(heading, svg, f"{text}, annualised; nothing before there are so many.")


def _spread(view: View) -> Panel:
    heading = "Returns of trades"
    if not len(view.results):
        return Panel(heading, None, f"None: {view.why_no_results}.")
    text = "Histogram of the returns of closed trades, after costs"
    return Panel(heading, _picture(view, pictures.draw_histogram, "spread", text), f"{text}.")


def _check_path(path: str | Path, endings: tuple[str, ...]) -> Path:
    file = Path(path)
    if file.suffix.lower() not in endings:
        raise DataError(f"{file}: {unknown('ending', file.suffix, endings)}")
    if not file.parent.is_dir():
        raise DataError(
            f"{file} can't be written: there is no folder {file.parent}. Make it first, or give "
            "another path."
        )
    return file


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise _unwritable(file, error) from None


def _unwritable(file: Path, error: OSError) -> DataError:
    return DataError(f"{file} can't be written: {error.strerror or error}. Give another path.")
