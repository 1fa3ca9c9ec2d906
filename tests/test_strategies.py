"""What a strategy is, what its signature may say, and where strategies come from."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from test_backtesting import random_walk

import astraquant as aq
from astraquant.strategies import Range, find_strategy, load_strategies, ma_cross, plugins, strategy
from astraquant.strategies.definition import RESERVED
from astraquant.strategies.running import Tracer


def test_the_signature_is_the_parameter_space():
    @strategy
    def rich(
        candles,
        window: Annotated[int, Range(2, 50)] = 20,
        width: Annotated[float, Range(0.5, 4)] = 2,
        kind: Literal["sma", "ema"] = "sma",
        name: str = "x",
        need: int = 3,
    ):
        """Do this.

        And more.
        """

    assert rich.description == "Do this."
    assert [p.name for p in rich.parameters.values()] == ["window", "width", "kind", "name", "need"]
    assert rich.parameters["window"].range == Range(2, 50)
    assert rich.parameters["kind"].choices == ("sma", "ema")
    assert rich.bind({"window": np.int64(5), "width": 1, "kind": "ema"}) == {
        "window": 5,
        "width": 1.0,
        "kind": "ema",
        "name": "x",
        "need": 3,
    }
    assert [
        type(v) for v in rich.bind({"window": np.int64(5), "width": np.float32(1)}).values()
    ] == [
        int,
        float,
        str,
        str,
        int,
    ]
    for bad, text in [
        ({"window": 1}, "out of range; expected 2 to 50"),
        ({"window": 20.0}, "whole number; write 20"),
        ({"window": True}, "whole number"),
        ({"width": float("nan")}, "a number"),
        ({"kind": "smaa"}, "Did you mean 'sma'"),
        ({"name": 5}, "expected text"),
        ({"windw": 5}, "Did you mean 'window'"),
    ]:
        with pytest.raises(aq.StrategyError, match=text):
            rich.bind(bad)


def test_a_parameter_without_default_must_be_given():
    @strategy
    def needy(candles, level: float):
        return candles.close > level

    assert repr(needy) == "<strategy needy(level)>"
    with pytest.raises(aq.StrategyError, match="needs a value for level"):
        aq.backtest(random_walk(20, 0), needy)
    assert aq.backtest(random_walk(20, 0), needy, level=0).position.all()


def _wrong_first(prices):
    return prices


def _no_type(candles, window=5):
    return candles


def _bad_type(candles, window: list = 5):
    return candles


def _bytes(candles, kind: Literal[1, 2] = 1):
    return candles


def _reserved(candles, cost: float = 0.1):
    return candles


def _star(candles, *windows: int):
    return candles


def _many(candles, **windows: int):
    return candles


def _default(candles, window: Annotated[int, Range(2, 9)] = 50):
    return candles


def _text_range(candles, kind: Annotated[str, Range(2, 9)] = "a"):
    return candles


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (_wrong_first, "must be called candles"),
        (_no_type, "window needs a type"),
        (_bad_type, "window needs a type"),
        (_bytes, "kind needs a type"),
        (_reserved, "cost bears the name of an option"),
        (_star, "a name of its own"),
        (_many, "a name of its own"),
        (_default, "default window=50 is out of range"),
        (_text_range, "int or float, not with text"),
    ],
)
def test_a_signature_that_cannot_be_used_is_refused_at_once(function, text):
    with pytest.raises(aq.StrategyError, match=text):
        strategy(function)


def test_ranges_and_rules_are_checked_at_once():
    with pytest.raises(aq.StrategyError, match="low end"):
        Range(5, 5)
    with pytest.raises(aq.StrategyError, match="Did you mean 'short'"):

        @strategy(valid=lambda shrt, long: shrt < long)
        def cross(candles, short: int = 5, long: int = 9):
            return candles


def test_the_rule_shows_itself():
    assert ma_cross.rule == "short < long"
    with pytest.raises(
        aq.StrategyError, match=r"short=9, long=5 is no valid.*expected short < long"
    ):
        ma_cross.bind({"short": 9, "long": 5})

    @strategy(valid=lambda low, high: low < high and high < 100)
    def band(candles, low: int = 5, high: int = 9):
        return candles.close > low

    assert band.rule == "its rule over low, high to hold"


def test_every_option_of_backtest_and_sweep_is_reserved():
    options: set[str] = set()
    for function in (aq.backtest, aq.sweep):
        options |= set(inspect.signature(function).parameters) - {"parameters", "grid"}
    assert options <= RESERVED


def test_a_strategy_can_use_another():
    @strategy
    def cautious(candles, short: int = 3, long: int = 9):
        return ma_cross(candles, short=short, long=long) & (candles.volume > 0)

    candles = random_walk(300, 1)
    plain = aq.backtest(candles, ma_cross, short=3, long=9)
    assert aq.backtest(candles, cautious).position.equals(plain.position)
    with pytest.raises(aq.StrategyError, match=r"For history call\s+backtest"):
        ma_cross(candles, short=3, long=9)


def test_a_trace_makes_no_node_twice():
    tracer = Tracer(ma_cross)
    first = tracer.trace({"short": 5, "long": 20})
    made = len(tracer.graph.nodes)
    assert tracer.trace({"short": 5, "long": 20}) is first
    assert len(tracer.graph.nodes) == made
    tracer.trace({"short": 5, "long": 21})
    assert len(tracer.graph.nodes) == made + 4  # one average, two crossings, one hold


def test_a_strategy_cannot_change_the_table():
    @strategy
    def vandal(candles):
        candles.close[0] = 1.0
        return candles.close > 1

    with pytest.raises(aq.StrategyError, match="read-only"):
        aq.backtest(random_walk(20, 0), vandal)


def test_a_misspelled_column_suggests_the_nearest():
    @strategy
    def typo(candles):
        return candles.colse > 1

    with pytest.raises(aq.StrategyError, match="Did you mean 'close'"):
        aq.backtest(random_walk(20, 0), typo)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda c: c.close[1:] > 1, "19 values for 20 candles"),
        (lambda c: True, "shape"),
        (lambda c: np.ones((20, 2), bool), r"shape \(20, 2\)"),
        (lambda c: np.full(20, "long"), "type <U4"),
        (lambda c: aq.where(c.close > c.open, 2, 0), "a position of 2 at 2023-01-01"),
        (lambda c: np.full(20, 0.5), "a position of 0.5"),
    ],
    ids=["shorter", "scalar", "plane", "text", "two", "half"],
)
def test_answers_that_break_the_contract_are_refused(answer, text):
    @strategy
    def wrong(candles):
        return answer(candles)

    with pytest.raises(aq.StrategyError, match=text):
        aq.backtest(random_walk(20, 0), wrong)


def test_numbers_decide_the_direction_themselves():
    @strategy
    def either(candles):
        return aq.where(candles.close > candles.open, 1, -1)

    assert set(aq.backtest(random_walk(50, 0), either).position) == {1, -1}
    with pytest.raises(aq.StrategyError, match="leave it out"):
        aq.backtest(random_walk(50, 0), either, direction="both")


def test_the_words_on_arrays_refuse_what_they_cannot_honour():
    numbers, flags = np.arange(5.0), np.arange(5) > 2
    with pytest.raises(aq.StrategyError, match="Compare first"):
        aq.hold(numbers, flags)
    with pytest.raises(aq.StrategyError, match="equal lengths"):
        aq.crossed_above(numbers, numbers[:3])
    with pytest.raises(aq.StrategyError, match="two series, or one and a number"):
        aq.crossed_above(1, 2)
    with pytest.raises(aq.StrategyError, match="condition must be"):
        aq.where(numbers, 1, 2)


def test_strategies_are_found_by_name():
    assert load_strategies()["ma_cross"] is ma_cross
    assert find_strategy("ma_cross") is ma_cross
    with pytest.raises(aq.StrategyError, match="Did you mean 'ma_cross'"):
        find_strategy("ma_crss")


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Any:
    """Put a package with entry points on the path, as an installer would."""

    def install(entries: str) -> None:
        (tmp_path / "tiny_strategies.py").write_text(
            "from astraquant import strategy\n"
            "@strategy\n"
            "def always(candles):\n"
            "    return candles.close > 0\n"
            "number = 5\n"
        )
        info = tmp_path / "tiny-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[astraquant.strategies]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_an_installed_package_adds_its_strategies(installed):
    installed("always = tiny_strategies:always")
    found = load_strategies()["always"]
    assert aq.backtest(random_walk(20, 0), found).position.all()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("broken = tiny_strategies:missing", "'broken'.*left out"),
        ("five = tiny_strategies:number", "decorate it with @strategy"),
        ("ma_cross = tiny_strategies:always", "is taken already"),
    ],
)
def test_a_broken_plug_in_warns_and_harms_nothing_else(installed, entry, text):
    installed(entry)
    with pytest.warns(UserWarning, match=text):
        found = load_strategies()
    assert found == {"ma_cross": ma_cross}


def test_the_group_is_the_documented_one():
    assert plugins.GROUP == "astraquant.strategies"
    assert EntryPoint("a", "b:c", plugins.GROUP).group == plugins.GROUP
