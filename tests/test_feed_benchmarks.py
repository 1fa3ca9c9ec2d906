"""The feed's benchmark and soak: what they send, count and compare is right. No time is judged."""

from __future__ import annotations

import math
import mmap
import os
import random
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant import SimulatedExchange
from astraquant.candles import Candle, times_of
from astraquant.data.sample import sample_candles
from astraquant.exchange.records import UNIT
from astraquant.feed.book import CandleBook
from astraquant.feed.core import Update
from astraquant.feed.protocol import AggTrade, Kline, parse
from astraquant.timeframes import MINUTE
from benchmarks import feed, harness, judging, load, screen, soak, trouble
from benchmarks.apart import Apart

START = 1_700_000_000_000 // MINUTE * MINUTE
linux = pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")


# The load.


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 90_000)), max_size=12))
def test_the_load_is_a_market_without_a_flaw(beats):
    made, now = load.Made("BTCUSDT", START + 5, history=3), START + 5
    book, ids = CandleBook("BTCUSDT", "1m"), []
    for count, later in beats:
        now += later
        texts = made.messages(count, now)
        assert len(texts) == count
        for text in texts:
            event = parse(text)
            assert isinstance(event, Kline | AggTrade), event
            assert event.event_time == now
            if isinstance(event, Kline):
                book.kline(event)
            else:
                ids.append(event.id)
                assert round(event.price * UNIT) == load.price(event.id)
                book.trade(event)
    assert ids == list(range(len(ids))) == list(range(len(made.times)))
    assert made.sent == sum(count for count, _ in beats)
    assert not any(book.counts.values())
    assert not [gap for gap in book.gaps if gap.kind != "open"]
    bars = made.klines("1m", start=made.begin, end=None, limit=1000, now=now)
    told = dict(zip(times_of(book.candles), book.candles.itertuples(), strict=True))
    for bar in bars[:-1]:
        row = told.pop(bar.open_time)
        assert (row.trades, row.close * UNIT) == (bar.trades, pytest.approx(bar.close))
        assert row.volume == pytest.approx(bar.volume / UNIT)
    assert not told
    assert sum(bar.trades for bar in bars) == len(ids)


def test_the_load_answers_like_the_exchange():
    made = load.Made("BTCUSDT", START, history=3)
    made.messages(100, START + 1000)
    made.messages(100, START + 2000)

    def times(**span):
        bars = made.klines("1m", **{"start": None, "end": None, "limit": 10, **span}, now=START)
        return [(bar.open_time - START) // MINUTE for bar in bars]

    assert times() == [-3, -2, -1, 0]
    assert times(limit=2) == [-1, 0]
    assert times(start=START - 2 * MINUTE, limit=2) == [-2, -1]
    assert times(end=START - 1) == [-3, -2, -1]
    assert [trade.id for trade in made.trades_from(170, 1000, 0)] == list(range(170, 180))
    assert [trade.id for trade in made.last_trades(2, 0)] == [178, 179]
    assert made.trades_between(START + 1500, START + 3000, 1, 0)[0].time == START + 2000


class Grumbler:
    """Doubles numbers; what isn't one breaks it."""

    def __init__(self, *values):
        if values:
            raise ValueError("born broken")

    def __call__(self, question, *values):
        if question == "leave":
            os._exit(3)
        return {"twice": lambda number: 2 * number}[question](*values), os.getpid()

    def close(self):
        pass


def test_a_process_apart_answers_and_tells_its_errors():
    with Apart(Grumbler) as apart:
        answer, process = apart.ask("twice", 21)
        assert (answer, process != os.getpid()) == (42, True)
        with pytest.raises(RuntimeError, match="KeyError: 'thrice'"):
            apart.ask("thrice", 21)
        assert apart.ask("twice", 1) == (2, process)
        with pytest.raises(RuntimeError, match="has ended, with code 3"):
            apart.ask("leave")
    with pytest.raises(RuntimeError, match="born broken"):
        Apart(Grumbler, 1)


# The faults.

STREAMS = soak.STREAMS


def test_a_plan_of_faults_is_drawn_from_its_seed():
    one, same = (trouble.plan(3, 1000, 10, STREAMS) for _ in range(2))
    assert one == same != trouble.plan(4, 1000, 10, STREAMS)
    assert [step.at for step in one] == sorted(step.at for step in one)
    assert [step.at for step in one if step.kind] == [10.0 * k for k in range(1, 101)]


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_all_kinds_come_in_turn_and_none_stays_on(seed, rounds):
    steps = trouble.plan(seed, 10.0 * rounds, 10, STREAMS)
    assert all(step.at <= 10 * rounds for step in steps)
    kinds, count = [step.kind for step in steps if step.kind], len(trouble.DRAWS)
    assert len(kinds) == rounds
    for k in range(0, rounds, count):
        assert len(set(kinds[k : k + count])) == len(kinds[k : k + count])
    faults = [step.fault for step in steps]
    assert faults.count("mute") == faults.count("unmute")
    assert faults.count("freeze") == faults.count("thaw") + kinds.count("shorten")  # and a kill
    last = {step.fault: step.values for step in steps}
    assert last.get("slow", (0,)) == (0,)
    assert last.get("shorten", (1000,)) == (1000,)


def test_the_exchange_knows_every_fault():
    venue = SimulatedExchange(sample_candles("BTCUSDT", end="2023-01-02"))
    draw = random.Random(0)
    for kind, steps in trouble.DRAWS.items():
        for _ in range(20):
            for step in steps(draw, STREAMS):
                getattr(venue, step.fault)(*step.values, **step.options)
        assert steps(draw, STREAMS)[0].at == 0, kind


# What is held against what.


@pytest.fixture(scope="module")
def truth():
    return sample_candles("BTCUSDT", end="2023-01-01 01:00")


def test_candles_are_held_against_the_truth(truth):
    assert judging.compare(truth, truth) == (60, 0, 0, 0, 0)
    assert judging.compare(truth, truth).is_right
    twice = pd.concat([truth.iloc[:7], truth.iloc[5:]])
    assert judging.compare(twice, truth) == (60, 0, 2, 0, 0)
    assert judging.compare(truth.drop(truth.index[[3, 4, 5]]), truth) == (60, 3, 0, 0, 0)
    assert judging.compare(truth, truth.iloc[:58]) == (58, 0, 0, 2, 0)
    for column in truth.columns:
        wrong = truth.copy()
        wrong.iloc[8, wrong.columns.get_loc(column)] = np.nextafter(wrong[column].iloc[8], 0)
        assert judging.compare(wrong, truth) == (60, 0, 0, 0, 1)
        assert not judging.compare(wrong, truth).is_right
    assert judging.compare(truth.drop(columns="trades"), truth).differing == 60


def test_a_subscribers_view_is_built_from_updates(truth):
    view = judging.View(truth.iloc[:50])
    rows = [Candle(*row) for row in judging.View(truth).table().itertuples(index=True)]
    rows = [row._replace(time=row.time.value // 10**6) for row in rows]

    def tell(kind, k, before=None, **changes):
        candle = rows[k]._replace(**changes)
        view.take([Update("BTCUSDT", kind, candle.time, candle, before)])
        return candle

    for k in range(50, 58):
        tell("closed", k)
    tell("filled", 59)
    wrong = tell("closed", 58, volume=1.0)
    assert judging.compare(view.table(), truth) == (60, 0, 0, 0, 1)
    tell("revised", 58, wrong)
    tell("forming", 3, close=1.0)
    assert judging.compare(view.table(), truth) == (60, 0, 0, 0, 0)
    assert (view.duplicated, view.unfounded) == (0, 0)
    tell("filled", 58)
    tell("revised", 57, wrong)
    assert (view.duplicated, view.unfounded) == (1, 1)
    assert view.counts == {"closed": 9, "filled": 2, "revised": 2, "forming": 1}


def test_a_run_is_right_only_if_everything_is():
    def ended(**values):
        run = soak.Soak(1, 1, 1, 1, 1)
        good = judging.Verdict(100, 0, 0, 0, 0)
        run.verdict = run.view = good
        for name, value in values.items():
            setattr(run, name, value)
        return run.is_right

    assert ended()
    assert ended(gaps={"ours": 3})
    for flaw in range(1, 5):
        bad = judging.Verdict(*(100 if k == 0 else int(k == flaw) for k in range(5)))
        assert not ended(verdict=bad)
        assert not ended(view=bad)
    assert not ended(verdict=None)
    assert not ended(unfounded=1)
    assert not ended(gaps={"venue": 1})


# What a process holds.


def test_the_slope_of_memory():
    curve = judging.Curve()
    for second in range(0, 3600, 10):
        grown = second if second < 600 else 600 + (second - 600) / 600 * 0.5
        held = harness.Process(int((100 + grown) * 2**20), 4, 10 + (second == 700))
        curve.add(second, held)
    curve.add(3600, None)  # not measured
    part = curve.after(600)
    assert len(part.seconds) == 300
    assert part.slope == pytest.approx(0.5, abs=1e-6)
    assert (max(part.files), max(part.threads)) == (11, 4)
    assert math.isnan(curve.after(3580).slope)


@linux
def test_what_a_process_holds_is_measured(tmp_path):
    before = harness.process()
    block = mmap.mmap(-1, 2**25)  # fresh memory, where an array may get some that was freed
    block.write(bytes([1]) * len(block))
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    with (tmp_path / "file").open("w"):
        after = harness.process()
    done.set()
    thread.join()
    assert after.threads == before.threads + 1
    assert after.files == before.files + 1
    assert after.memory - before.memory > 0.9 * len(block)
    block.close()


def test_a_share_of_values():
    values = random.sample(range(1, 101), 100)
    assert [harness.percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert harness.percentile([7], 0.99) == 7


def test_each_command_rewrites_its_own_section_alone(tmp_path):
    path = tmp_path / "RESULTS.md"
    harness.write_section(path, "soak", ["## Soak", "old"])
    path.write_text(path.read_text().replace("# Benchmarks", "# Benchmarks\n\nOf all."), "utf-8")
    harness.write_section(path, "feed", ["## Feed"])
    harness.write_section(path, "soak", ["## Soak", "new", r"\1"])
    text = (
        "\n<!-- begin of soak -->\n## Soak\nnew\n\\1\n<!-- end of soak -->\n"
        "\n<!-- begin of feed -->\n## Feed\n<!-- end of feed -->\n"
    )
    assert path.read_text("utf-8") == "# Benchmarks\n\nOf all.\n" + text
    assert harness.sections(path) == text
    assert harness.sections(tmp_path / "none.md") == ""


# All of it, for a moment.


def test_a_short_load_counts_every_message():
    with feed.rig() as rig:
        steady, burst = rig.steady(2000, 1.0), rig.burst(3000)
        assert rig.missing() == 0
    assert 0 < steady.sent == steady.handled == len(steady.lags)
    assert burst.sent == burst.handled == len(burst.lags) == 3000
    assert (steady.lost, steady.repeated, burst.lost, burst.repeated) == (0, 0, 0, 0)
    assert (steady.lags >= 0).all()
    assert burst.seconds == burst.lags.max()
    figures = feed.Figures(2000, 1.0, steady, burst, 0, 1.0, 2.0)
    assert figures.is_right
    assert "| 3,000 messages at once: lost | 0 | 0 |" in feed.report(figures)
    assert not figures._replace(missing=1).is_right
    assert not figures._replace(burst=burst._replace(handled=2999)).is_right
    assert burst._replace(handled=3001, repeated=1).lost == 0


def test_what_is_lost_on_the_way_is_counted():
    """Of what the server sent one trade in fifty, and all from the 600th on, never comes."""

    class Leaky(feed.Recorder):
        ended = False

        async def receive(self):
            while True:
                message = await super().receive()
                event = parse(message)
                number = event.id if isinstance(event, AggTrade) else 0
                self.ended |= number >= 600
                if not self.ended and number % 50 != 7:
                    return message
                self._asked.pop()  # so that this one counts as never come

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "Recorder", Leaky)
        patch.setattr(feed, "PATIENCE", 1.0)
        with feed.rig() as rig:
            passed = rig.steady(1000, 1.0)
            missing = rig.missing()
    assert passed.lost == passed.sent - passed.handled > missing > 100


@pytest.mark.parametrize("handle", [feed.read_and_drop, feed.read_and_parse])
def test_the_cost_of_a_message_is_measured(handle):
    assert feed.cost_of(handle, 2000, 0.2) > 0


def test_a_short_soak_is_right(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "RESULTS.md")
    arguments = "--minutes 0.05 --fault-every 1 --speed 100".split()
    assert soak.main(arguments) == 0
    assert " LIVE " in capsys.readouterr().out
    text = harness.RESULTS.read_text("utf-8")
    assert "| … lost / duplicated / invented | 0 / 0 / 0 | 0 / 0 / 0 |" in text
    assert text.endswith("<!-- end of soak -->\n")


def test_delays_on_the_screen_are_those_of_the_prices_that_it_shows(monkeypatch):
    monkeypatch.setattr(screen, "WARM_UP", 1.0)
    made = START + 10 * np.arange(100_010)  # a trade every 10 ms; the prices come round once
    seen = screen.delays(
        [
            (START + 998_500, "9,990.12"),  # before the first trade, and before it counts
            (START + 999_560, "10,999.52"),
            (START + 1_000_060, "10,000.03"),
            (START + 1_000_070, "10,000.02"),  # by mistake an older one: the newest was drawn
        ],
        made,
        485,
    )
    assert seen.candles == 485
    assert seen.shown.tolist() == [40, 30, 40]
    assert seen.all.tolist() == [60, 50, 40, *range(530, 20, -10)]


@pytest.mark.skipif(
    screen.browser() is None and not os.environ.get("CI"),  # there it fails
    reason="needs Playwright and a browser on the PATH",
)
def test_prices_reach_the_screen(monkeypatch):
    monkeypatch.setattr(screen, "WARM_UP", 1.0)
    seen = screen.measure(2.0)
    assert seen.candles > screen.MANY
    assert len(seen.all) > len(seen.shown) > 1
    assert (seen.all >= 0).all()
