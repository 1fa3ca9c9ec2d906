"""What a strategy is, what its signature may say, and where strategies come from."""

from __future__ import annotations

import gc
import inspect
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from test_backtesting import random_walk

import astraquant as aq
from astraquant.indicators import bollinger, sma
from astraquant.strategies import Range, find_strategy, load_strategies, ma_cross, strategy
from astraquant.strategies.definition import RESERVED
from astraquant.strategies.running import Tracer, paused_collection


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
        ({"width": float("nan")}, "a finite number"),
        ({"width": 10**400}, "a finite number"),
        ({"window": 10**400}, "out of range; expected 2 to 50"),
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
    with pytest.raises(aq.StrategyError, match="level needs a value: level="):
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


def test_every_option_of_backtest_sweep_and_pictures_is_reserved():
    options: set[str] = set()
    for function in (aq.backtest, aq.sweep, aq.Sweep.heatmap, aq.check_strategy):
        options |= set(inspect.signature(function).parameters)
    assert options - {"parameters", "grid", "self", "fixed"} <= RESERVED


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("timefrmae", "timeframe"),
        ("costs", "cost"),
        ("slipage", "slippage"),
        ("dirction", "direction"),
        ("fil", "fill"),
        ("strat", "start"),
        ("engin", "engine"),
        ("memory_limt", "memory_limit"),
        ("shrt", "short"),
    ],
)
def test_a_misspelled_option_suggests_the_nearest(given, meant):
    options = tuple(inspect.signature(aq.sweep).parameters)
    with pytest.raises(
        aq.StrategyError, match=f"Did you mean '{meant}'.*short, long, kind, candles"
    ):
        ma_cross.bind({given: 5}, options)


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda: strategy(50), "put @strategy above its def"),
        (lambda: strategy(valid="short < long")(ma_cross.function), "valid=lambda short, long"),
        (lambda: Range("a", 5), "two finite numbers"),
        (lambda: Range(1, 10**400), "finite numbers, such as"),
        (lambda: ma_cross(short=5), r"without candles.*backtest\(candles, ma_cross, short=5\)"),
        (lambda: ma_cross(50, 200), r"with int\. For history call backtest\(candles, ma_cross"),
        (lambda: sma(np.ones(5), windw=5), "Did you mean 'window'"),
        (lambda: sma(np.ones(5)), r"missing.*'window'; expected sma\(values, window\)"),
        (lambda: sma(np.ones(5), 1, 2), r"too many.*expected sma\(values, window\)"),
        (lambda: bollinger(np.ones(5), 2, 10**400), "expected a positive number"),
    ],
)
def test_plausible_mistakes_are_told_with_the_cure(mistake, text):
    with pytest.raises(aq.StrategyError, match=text):
        mistake()


def test_a_misspelled_strategy_of_the_module_suggests_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'ma_cross'"):
        _ = aq.strategies.ma_crss


def test_a_strategy_can_use_another():
    @strategy
    def cautious(candles, short: int = 3, long: int = 9):
        return ma_cross(candles, short=short, long=long) & (candles.volume > 0)

    candles = random_walk(300, 1)
    plain = aq.backtest(candles, ma_cross, short=3, long=9)
    assert aq.backtest(candles, cautious).position.equals(plain.position)
    with pytest.raises(aq.StrategyError, match=r"For history call\s+backtest"):
        ma_cross(candles, short=3, long=9)


def test_a_strategy_is_called_like_its_function():
    @strategy
    def placed(candles, short: int = 3):
        return ma_cross(candles, short, long=9)

    @strategy
    def named(candles):
        return ma_cross(short=3, candles=candles, long=9)

    candles = random_walk(300, 1)
    plain = aq.backtest(candles, ma_cross, short=3, long=9).position
    for other in (placed, named):
        assert aq.backtest(candles, other).position.equals(plain)
    with pytest.raises(aq.StrategyError, match="each once"):
        ma_cross(candles, 3, short=5)
    with pytest.raises(aq.StrategyError, match="each once"):
        ma_cross(candles, 3, 9, "ema", 12)


def test_a_trace_makes_no_node_twice():
    tracer = Tracer(ma_cross)
    first = tracer.trace({"short": 5, "long": 20})
    made = len(tracer.graph.nodes)
    assert tracer.trace({"short": 5, "long": 20}) is first
    assert len(tracer.graph.nodes) == made
    tracer.trace({"short": 5, "long": 21})
    assert len(tracer.graph.nodes) == made + 4  # one average, two crossings, one hold


@pytest.mark.parametrize("was_on", [True, False])
def test_collection_is_paused_for_a_block_and_then_as_it_was(was_on):
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with paused_collection():
            assert not gc.isenabled()
            with paused_collection():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled() == was_on
        with pytest.raises(KeyError), paused_collection():
            raise KeyError
        assert gc.isenabled() == was_on
    finally:
        (gc.enable if before else gc.disable)()


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


@pytest.mark.parametrize("key", ["close", -1])
def test_candles_are_no_table(key):
    @strategy
    def table(candles):
        return candles[key] > 1

    with pytest.raises(aq.StrategyError, match=r"write candles\.close"):
        aq.backtest(random_walk(20, 0), table)


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
    for mistake, text in [
        (lambda: aq.hold(numbers, flags), "enter is 1-dimensional float64; expected a condition"),
        (lambda: aq.hold(flags, flags[:3]), r"\(enter 5, exit 3\); expected equal lengths"),
        (lambda: aq.hold(True, False), "at least one series"),
        (lambda: aq.hold(flags, None), "exit is None; expected a condition"),
        (lambda: aq.hold(flags[:, None], flags), "2-dimensional bool"),
        (lambda: aq.crossed_above(numbers, numbers[:3]), r"\(a 5, b 3\); expected equal lengths"),
        (lambda: aq.crossed_above(1, 2), "at least one series"),
        (lambda: aq.crossed_above("a", numbers), "a is 'a'; expected a series of numbers"),
        (lambda: aq.crossed_above(None, numbers), "a is None; expected a series of numbers"),
        (lambda: aq.crossed_below(numbers, flags), "b is 1-dimensional bool; expected a series"),
        (lambda: aq.where(numbers, 1, 2), "condition is 1-dimensional float64; expected a cond"),
        (lambda: aq.where(flags, numbers[:3], 2), r"\(condition 5, yes 3\); expected equal"),
        (lambda: aq.where(flags, numbers, flags), "both be numbers or both conditions"),
        (lambda: aq.where(flags, "long", "short"), "yes is 'long'; expected numbers"),
    ]:
        with pytest.raises(aq.StrategyError, match=text):
            mistake()


@pytest.mark.parametrize("never", [False, np.False_, np.array(False)])
def test_a_single_value_counts_for_every_bar(never):
    flags = np.array([False, True, False])
    assert aq.hold(flags, never).tolist() == [False, True, True]
    assert aq.hold(np.logical_not(never), flags).tolist() == [True, True, True]
    assert aq.where(flags, 1, -1).tolist() == [-1, 1, -1]
    assert aq.where(never, flags, ~flags).tolist() == [True, False, True]
    assert aq.crossed_above([1, 3, 1], 2).tolist() == flags.tolist()


BUILT_IN = {
    "ma_cross", "rsi_reversion", "macd_cross", "bollinger_reversion", "donchian_breakout",
    "momentum", "buy_and_hold",
}  # fmt: skip


def test_strategies_are_found_by_name():
    assert set(load_strategies()) == BUILT_IN
    assert set(aq.strategies.__all__) >= BUILT_IN
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
    assert set(found) == BUILT_IN
    assert found["ma_cross"] is ma_cross
