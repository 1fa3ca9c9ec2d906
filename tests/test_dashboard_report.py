"""Reports and pictures: one file that has everything, the same each time, and refusals."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from results import KINDS, crossover, flat_candles, named, plain, result_of, table_rows

import astraquant as aq
from astraquant.errors import DataError
from astraquant.reports import format_figure
from astraquant.widgets.dashboard_view import view_of
from astraquant.widgets.report_pictures import paper_figure

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Checker(HTMLParser):
    """Whether each element is closed where it should be, and no name is given twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.names.append(str(value))
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.asked.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_whole_and_asks_for_nothing(kind: str, tmp_path: Path) -> None:
    result = result_of(kind)
    result.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(set(checker.names)) == len(checker.names)
    assert all(value.startswith("#") for value in checker.asked)
    assert "://" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    said = plain(text)
    for note in result.notes:
        assert note in said
    for name, value in result.metrics.items():
        like = {"orders": "trades", "invested": "exposure"}.get(name, name)
        assert f"{name.replace('_', ' ')} {format_figure(like, value)}" in said
    for name, value in result.passport.items():
        if isinstance(value, str):
            assert f"{name.replace('_', ' ')} {value}" in said
    assert ("synthetic prices" in said) == ("These prices are simulated" in said)


def test_a_report_lists_every_trade(tmp_path: Path) -> None:
    result = crossover()
    result.report(tmp_path / "report.html")
    rows = table_rows((tmp_path / "report.html").read_text("utf-8"))
    assert [row[0] for row in rows] == [f"{t:%Y-%m-%d %H:%M}" for t in result.trades["entry_time"]]
    assert [row[7] for row in rows] == [f"{profit:,.2f}" for profit in result.trades["profit"]]


@pytest.mark.parametrize("name", ["report.html", "picture.png", "picture.svg", "picture.pdf"])
def test_the_same_result_gives_the_same_file(name: str, tmp_path: Path) -> None:
    written = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / name
        (crossover().report if name.endswith("html") else crossover().picture)(file)
        written.append(file.read_bytes())
    assert written[0] == written[1]


def test_a_picture_is_large_enough_for_paper_and_says_that_prices_are_simulated(
    tmp_path: Path,
) -> None:
    crossover().picture(str(tmp_path / "picture.png"))
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == (1400, 1000)
    crossover().picture(tmp_path / "picture.svg")
    assert "SIMULATED PRICES" in (tmp_path / "picture.svg").read_text("utf-8")
    ET.parse(tmp_path / "picture.svg")
    result_of("free").picture(tmp_path / "picture.svg")
    assert "SIMULATED" not in (tmp_path / "picture.svg").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_has_a_picture(kind: str, tmp_path: Path) -> None:
    result_of(kind).picture(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_what_looks_like_markup_is_shown_as_text(tmp_path: Path) -> None:
    result = aq.backtest(flat_candles([1, 2, 3], "a <script>alert(1)</script> file"), named)
    result.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in text
    assert "named(name='<b>&')" not in text


def test_a_dollar_in_a_name_is_no_formula(tmp_path: Path) -> None:
    result = aq.backtest(flat_candles([1, 2, 3]), named, name=r"$\frac$ of $5")
    result.picture(tmp_path / "picture.svg")
    held = aq.portfolio({r"$x_{$": flat_candles([1, 2, 3]), "B": flat_candles([2, 2, 3])})
    held.report(tmp_path / "report.html")
    assert ">$x_{$<" in (tmp_path / "report.html").read_text("utf-8")


def test_a_long_title_is_broken_into_lines(tmp_path: Path) -> None:
    view = view_of(aq.backtest(flat_candles([1, 2, 3]), named, name="long " * 30))
    (title,) = [text for text in paper_figure(view).texts if "long" in text.get_text()]
    assert max(map(len, title.get_text().splitlines())) <= 76


def test_a_portfolio_says_why_there_are_no_returns_of_trades(tmp_path: Path) -> None:
    result_of("portfolio").report(tmp_path / "report.html")
    said = plain((tmp_path / "report.html").read_text("utf-8"))
    assert "None: an account has orders, not trades." in said


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    result_of("two bars").report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") != "old"


def test_refusals_name_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*Make it first"):
        result_of("two bars").report(tmp_path / "missing" / "report.html")
    with pytest.raises(DataError, match=r"unknown ending '.htlm'\. Did you mean '.html'\?"):
        result_of("two bars").report(tmp_path / "report.htlm")
    with pytest.raises(DataError, match=r"unknown ending '.jpg'"):
        result_of("two bars").picture(tmp_path / "picture.jpg")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "folder.png").mkdir()
    for write, name in (
        (result_of("two bars").report, "folder.html"),
        (result_of("two bars").picture, "folder.png"),
    ):
        with pytest.raises(DataError, match="can't be written: Is a directory"):
            write(tmp_path / name)
