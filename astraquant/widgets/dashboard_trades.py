"""A list of trades or orders in a dashboard: sorted by any column, a page at a time.

An HTML table with plain controls, not a grid on a canvas: a screen reader reads it, Tab and the
arrow keys reach everything, and a stored notebook still shows it.
"""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd

from .report_tables import list_html, said

PAGE = 20  # rows
_ORDERS = {"lowest first": "", "highest first": "-"}


class TradeList(ipw.VBox):  # type: ignore[misc]  # ipywidgets is untyped
    """The rows of a table, `PAGE` at a time; rows without a value in the sorted column come last.

    Made for a dashboard; `show` does what its controls do.
    """

    def __init__(self, rows: pd.DataFrame, listed: str) -> None:
        """List ``rows``, in their own order at first; ``listed``: what they are, in the plural."""
        self._rows, self._listed = rows, listed
        names = {name.replace("_", " "): name for name in map(str, rows.columns)}
        self._by = ipw.Dropdown(options=names, description="sort by", layout=_wide("230px"))
        self._order = ipw.Dropdown(options=_ORDERS, layout=_wide("130px"))
        self._page = ipw.BoundedIntText(
            1, min=1, max=max(1, -(-len(rows) // PAGE)), description="page", layout=_wide("150px")
        )
        self._before = ipw.Button(description="‹ before", layout=_wide("90px"))
        self._next = ipw.Button(description="next ›", layout=_wide("90px"))
        self._told, self._table = ipw.HTML(), ipw.HTML()
        for control in (self._by, self._order):
            control.observe(lambda _: self._restart(), "value")
        self._page.observe(lambda _: self._draw(), "value")
        self._before.on_click(lambda _: self._turn(-1))
        self._next.on_click(lambda _: self._turn(1))
        controls = [self._by, self._order, self._page, self._before, self._next, self._told]
        row = ipw.Box(controls, layout=ipw.Layout(flex_flow="row wrap", align_items="center"))
        super().__init__([row, self._table] if len(rows) else [self._table])
        self._draw()

    @property
    def sort(self) -> str:
        """The column by which the rows are sorted, with "-" before it for highest first."""
        return f"{self._order.value}{self._by.value}"

    def show(self, sort: str, page: int = 1) -> None:
        """Sort by a column ("-profit": highest first) and turn to a page."""
        self._order.value = "-" if sort.startswith("-") else ""
        self._by.value = sort.lstrip("-")
        self._page.value = page

    def _turn(self, pages: int) -> None:
        self._page.value = min(max(self._page.value + pages, 1), self._page.max)

    def _restart(self) -> None:
        if self._page.value == 1:
            self._draw()
        else:
            self._page.value = 1

    def _draw(self) -> None:
        count = len(self._rows)
        if not count:
            self._table.value = said(f"<p>No {self._listed}.</p>")
            return
        first = PAGE * (self._page.value - 1)
        places = self._places()[first : first + PAGE]
        self._told.value = said(f"{first + 1:,} to {first + len(places):,} of {count:,}")
        self._table.value = said(list_html(self._rows, places, self.sort))
        self._before.disabled = self._page.value == 1
        self._next.disabled = self._page.value == self._page.max

    def _places(self) -> list[int]:
        """All rows' places in the order that is asked for; equal ones keep their own."""
        values: Any = self._rows[self._by.value].reset_index(drop=True)
        order = values.sort_values(
            ascending=not self._order.value, kind="stable", na_position="last"
        )
        return [int(place) for place in np.asarray(order.index)]


def _wide(width: str) -> ipw.Layout:
    return ipw.Layout(width=width)
