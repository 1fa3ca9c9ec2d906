"""`Backtest.dashboard`: everything about one result on one page, in tabs."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as ipw

from ..performance import monthly_returns, rolling_windows, worst_drawdowns
from . import report_tables as tables
from . import style
from .dashboard_pictures import (
    CurvesPanel,
    drawdown_panel,
    rolling_panel,
)
from .dashboard_shares import exposure_panel, histogram_panel
from .dashboard_trades import TradeList
from .dashboard_view import view_of

USUAL_WINDOW = 30  # days, of the rolling Sharpe ratio
MONEY = "equity (quote currency)"


class Dashboard(style.Chart):
    """All that is known of one result; made by `Backtest.dashboard`.

    ``view``: what is shown. ``tabs``: the pages. ``axis``: the switch of the equity's axis.
    ``window``: of the rolling Sharpe ratio, in days (None: the run is too short for any).
    ``trades``: the list, with its controls.
    """

    def __init__(self, result: Any) -> None:
        """Show ``result``, a backtest or a portfolio."""
        self.view = view = view_of(result)
        self.axis = log_switch()
        self.trades = TradeList(view.rows, view.listed)
        self.window: ipw.Dropdown | None = None
        pages = {
            "Equity": self._equity_page(),
            "Returns": self._returns_page(),
            "Exposure and costs": self._costs_page(),
            view.listed.capitalize(): [self.trades],
            "Passport": [_words(tables.passport_html(view.passport))],
        }
        boxes = [ipw.VBox(parts, layout=ipw.Layout(width="100%")) for parts in pages.values()]
        self.tabs = ipw.Tab(boxes, titles=list(pages), layout=ipw.Layout(width="auto"))
        head = style.header(view.title, synthetic=view.synthetic, note=view.span)
        first = (
            f"{tables.LOOK}{tables.notes_html(view.notes)}"
            f"{tables.figures_html(view.metrics, view.definitions)}"
            f"<p><em>{escape(view.contract)}</em></p>"
        )
        summary = f"Dashboard({view.title}, {len(view.equity):,} bars, "
        super().__init__(
            [head, _words(first), self.tabs], f"{summary}{len(view.rows):,} {view.listed})"
        )

    def _equity_page(self) -> list[ipw.Widget]:
        view = self.view
        curves = {
            "buy and hold": (style.BENCHMARK, view.benchmark),
            "strategy": (style.EQUITY, view.equity),
        }
        panel = CurvesPanel(curves, "Equity", MONEY)
        self.axis.observe(lambda change: panel.show(log=change.new), "value")
        falls = worst_drawdowns(view.equity, view.cash)
        table = _words(tables.drawdowns_html(falls))
        return [self.axis, *panel.parts, *drawdown_panel(view), table]

    def _returns_page(self) -> list[ipw.Widget]:
        view = self.view
        months = monthly_returns(view.equity, view.cash)
        heading = "<b>Monthly returns</b> (UTC months; the first and the last may be parts)"
        parts: list[ipw.Widget] = [_words(f"<p>{heading}</p>{tables.months_html(months)}")]
        parts += self._rolling_part()
        if len(view.results):
            return [*parts, *histogram_panel(view)]
        none = f"<p><b>Returns of trades</b>: none, for {view.why_no_results}.</p>"
        return [*parts, _words(none)]

    def _rolling_part(self) -> list[ipw.Widget]:
        view = self.view
        windows = rolling_windows(len(view.equity), view.timeframe)
        usual = usual_window(windows)
        if usual is None:
            return [_words("<p><b>Rolling Sharpe ratio</b>: none, the run is too short.</p>")]
        self.window = ipw.Dropdown(
            options={f"{days} day{'s' if days > 1 else ''}": days for days in windows},
            value=usual,
            description="window",
            layout=ipw.Layout(width="190px"),
        )
        box = ipw.VBox(rolling_panel(view, usual), layout=ipw.Layout(width="100%"))

        def change_window(change: Any) -> None:
            former = box.children
            box.children = rolling_panel(view, change.new)
            for part in former:
                style.close_all(part)

        self.window.observe(change_window, "value")
        return [self.window, box]

    def _costs_page(self) -> list[ipw.Widget]:
        view = self.view
        curves = {
            "gross: at zero cost": (style.LINES[0], view.gross),
            "net: what is left": (style.EQUITY, view.equity),
        }
        money = CurvesPanel(curves, "Gross against net", MONEY).parts
        return [*exposure_panel(view), *money, _words(f"<p>{escape(view.costs)}</p>")]


def usual_window(windows: list[int]) -> int | None:
    """The window to begin with: the longest of at most a month; None if there is none at all."""
    return max(
        [days for days in windows if days <= USUAL_WINDOW], default=next(iter(windows), None)
    )


def log_switch() -> ipw.ToggleButtons:
    """Whether a value axis is logarithmic."""
    look = {"button_width": "90px"}
    return ipw.ToggleButtons(options={"linear axis": False, "log axis": True}, style=look)


def _words(body: str) -> ipw.HTML:
    return ipw.HTML(tables.said(body), layout=ipw.Layout(width="100%"))
