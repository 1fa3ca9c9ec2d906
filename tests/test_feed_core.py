"""What a feed decides, rule by rule: silence, patience, questions, lag."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from naive_feed import candle_at

from astraquant.candles import candle_table
from astraquant.data.pieces import Piece
from astraquant.feed.core import (
    AHEAD,
    CLOCK_KEPT,
    GRACE,
    HOLE_GRACE,
    Bars,
    Clock,
    Core,
    Newest,
    Question,
    Trades,
)
from astraquant.feed.protocol import AggTrade
from astraquant.feed.track import LONGEST_PATIENCE, PATIENCE

MINUTE = 60_000
START = 1_672_531_200_000  # 2023-01-01


def kline(minute: int, last_id: int, *, at: int = 2000, closed: bool = False) -> bytes:
    """The kline of a minute as it is ``at`` ms after its start; a closing one at its end."""
    time = START + minute * MINUTE
    bar: dict[str, Any] = dict(zip("ohlc", ("2.0", "3.0", "1.0", "2.5"), strict=True))
    bar |= {"t": time, "T": time + MINUTE - 1, "s": "ABC", "i": "1m", "x": closed}
    bar |= {"f": 0, "L": last_id, "n": last_id + 1} | dict.fromkeys("vqVQ", "1.0")
    event = time + (MINUTE if closed else at)
    return json.dumps({"e": "kline", "E": event, "s": "ABC", "k": bar}).encode()


def trade(number: int, ms: int) -> bytes:
    """A trade of one; its ids are its number."""
    deal = {"a": number, "f": number, "l": number, "p": "2.0", "q": "0.5", "m": False}
    time = START + ms
    return json.dumps({"e": "aggTrade", "s": "ABC", "E": time, "T": time, **deal}).encode()


def asked(core: Core, now: float) -> Question | None:
    """What is most urgent."""
    questions = core.questions(now)
    return questions[0] if questions else None


def past_trade(number: int, ms: int = 0) -> AggTrade:
    return AggTrade("ABC", number, 2.0, 0.5, number, number, START + ms, False, START + ms)


def piece(minutes: list[int], until: int) -> Piece:
    """REST's answer with these bars."""
    candles = [candle_at(START + minute * MINUTE, 1) for minute in minutes]
    table = candle_table(candles)
    values = {str(name): table[name].to_numpy() for name in table.columns}
    if not candles:
        values = {name: np.empty(0) for name in candle_table([candle_at(START, 1)]).columns}
    times = np.array([candle.time for candle in candles], np.int64)
    return Piece(times, values, START + until * MINUTE)


@pytest.fixture
def core() -> Core:
    """A feed that has just been connected and has been answered; its last trade is number 9."""
    found = Core(["ABC"], "1m")
    found.load(
        "ABC", candle_table([candle_at(START - 2 * MINUTE, 1), candle_at(START - MINUTE, 1)])
    )
    found.opened(100.0)
    found.receive(kline(0, 9), 100.0)
    found.receive(trade(9, 2000), 100.0)
    found.newest("ABC", past_trade(9), 100.0)
    return found


def test_a_new_connection_asks_for_the_newest_trade_and_is_complete_after_it(core: Core) -> None:
    assert core.is_complete(100.0)
    assert asked(core, 100.0) is None
    core.opened(105.0)
    assert not core.is_complete(105.0)
    assert asked(core, 105.0) == Newest("ABC")
    core.newest("ABC", past_trade(9), 105.0)  # nothing has happened since
    assert core.is_complete(105.0)


def test_a_quiet_venue_is_not_taken_for_complete_before_its_candles_come(core: Core) -> None:
    core.opened(105.0)
    core.newest("ABC", past_trade(12), 105.0)
    assert not core.is_complete(105.0)
    core.receive(kline(0, 12, at=4000), 105.5)
    assert core.is_complete(105.5)


def test_a_renewed_connection_leaves_nothing_to_ask(core: Core) -> None:
    core.opened(105.0, renewed=True)
    assert core.is_complete(105.0)
    assert asked(core, 105.0) is None


def test_a_bar_whose_close_does_not_come_is_asked_for_after_a_grace(core: Core) -> None:
    core.receive(kline(1, 20, at=GRACE - 1), 103.0)
    assert asked(core, 103.0) is None
    core.receive(kline(1, 20, at=GRACE), 103.0)
    assert asked(core, 103.0) == Bars("ABC", START, START + MINUTE)
    assert not core.is_complete(103.0)
    (filled,) = core.bars("ABC", START, piece([0], 1), START + MINUTE + 5000)
    assert (filled.kind, filled.time) == ("filled", START)
    assert asked(core, 103.0) is None
    assert core.is_complete(103.0)


def test_what_was_missed_while_away_is_asked_for_by_the_venue_s_time(core: Core) -> None:
    core.opened(400.0)
    core.newest("ABC", past_trade(50), 400.0)
    core.told_time(START + 5 * MINUTE, 400.0, 1.0)
    assert asked(core, 400.0) == Bars("ABC", START, START + 4 * MINUTE)  # REST may be behind
    later = 400.0 + GRACE / 1000  # nothing comes, but the venue's time goes on
    assert asked(core, later) == Bars("ABC", START, START + 5 * MINUTE)
    updates = core.bars("ABC", START, piece([0, 1, 3], 5), START + 5 * MINUTE)
    assert [update.kind for update in updates] == ["gap", "filled", "filled", "filled"]
    assert asked(core, later) == Trades("ABC", 10, 50)


def test_a_silent_stream_is_noticed_and_a_speaking_one_is_not(core: Core) -> None:
    assert core.silent(100.0 + PATIENCE) == ""
    assert core.silent(100.1 + PATIENCE) == "no candle of ABC for 10 s"
    core.receive(kline(0, 9, at=4000), 105.0)
    assert core.silent(100.1 + PATIENCE) == ""


def test_trades_that_only_candles_know_of_are_noticed(core: Core) -> None:
    core.receive(kline(0, 12, at=4000), 101.0)
    core.receive(kline(0, 15, at=6000), 110.0)
    assert core.silent(101.0 + PATIENCE) == ""
    assert core.silent(101.1 + PATIENCE).startswith("no trade of ABC for 10 s")
    core.receive(trade(15, 5000), 111.2)  # with a hole: it is asked for
    assert core.silent(101.1 + PATIENCE) == ""


def test_a_quiet_market_may_be_silent_for_longer_and_longer(core: Core) -> None:
    now, patience = 100.0, PATIENCE
    for _ in range(8):
        now += patience + 1
        assert core.silent(now)
        core.be_patient(now)
        core.opened(now)
        core.newest("ABC", past_trade(9), now)
        patience = min(2 * patience, LONGEST_PATIENCE)
        assert core.silent(now + patience) == ""
    assert patience == LONGEST_PATIENCE
    core.opened(now)
    core.newest("ABC", past_trade(10), now)  # this was missed: no more patience than before
    assert core.silent(now + PATIENCE + 1)


def test_a_hole_in_trade_ids_is_refilled_after_a_moment(core: Core) -> None:
    core.receive(trade(13, 3000), 101.0)
    assert asked(core, 101.0) is None
    later = 101.0 + HOLE_GRACE
    question = asked(core, later)
    assert question == Trades("ABC", 10, 12)
    core.trades(question, [past_trade(number, 2500) for number in (10, 11, 12)], later)
    assert asked(core, later) is None
    forming = core.tracks["ABC"].book.forming
    assert forming is not None
    assert not core.tracks["ABC"].book.partial
    assert forming.volume == 1.0 + 4 * 0.5
    assert core.counts["trades_refilled"] == 3


def test_trades_that_the_venue_has_not_are_given_up(core: Core) -> None:
    core.receive(trade(20, 3000), 101.0)
    question = asked(core, 102.0)
    assert question == Trades("ABC", 10, 19)
    core.trades(question, [past_trade(11)], 102.0)  # a short page: what it passes over is gone
    assert asked(core, 102.0) == Trades("ABC", 12, 19)
    core.trades(Trades("ABC", 12, 19), [], 102.0)
    assert asked(core, 102.0) is None
    assert core.tracks["ABC"].ids.skipped == 1 + 8


def test_ids_that_do_not_exist_are_given_up_when_later_ones_come(core: Core) -> None:
    core.receive(trade(20, 3000), 101.0)
    core.trades(Trades("ABC", 10, 19), [past_trade(20), past_trade(21)], 102.0)
    assert asked(core, 102.0) is None
    assert core.tracks["ABC"].ids.skipped == 10


def test_no_question_hides_another(core: Core) -> None:
    """A bar that REST denies, a hole, a closed bar in doubt: all of them are asked."""
    core.receive(kline(0, 12, at=0, closed=True), 160.0)
    core.receive(trade(13, MINUTE - 1), 161.0)  # of the closed bar
    core.receive(trade(20, MINUTE + 1), 161.0)  # with a hole before it
    core.receive(kline(3, 40, at=GRACE), 162.0)  # bars 1 and 2 are missing
    core.bars("ABC", START + MINUTE, piece([2], 3), START + 4 * MINUTE)  # bar 1 was shown
    found = core.questions(162.0)
    assert found == [
        Bars("ABC", START + MINUTE, START + 2 * MINUTE),
        Trades("ABC", 10, 12),
        Trades("ABC", 14, 19),
        Bars("ABC", START, START + MINUTE),
    ]


def test_one_symbol_s_trouble_does_not_hide_another_s() -> None:
    core = Core(["ABC", "XYZ"], "1m")
    core.opened(100.0)
    assert core.questions(100.0) == [Newest("ABC"), Newest("XYZ")]
    core.newest("XYZ", None, 100.0)
    for message in (kline(0, 5), kline(2, 9, at=GRACE)):
        core.receive(message, 100.0)
        core.receive(message.replace(b"ABC", b"XYZ"), 100.0)
    span = START, START + 2 * MINUTE
    assert core.questions(100.0) == [Newest("ABC"), Bars("ABC", *span), Bars("XYZ", *span)]


def test_a_market_that_was_quiet_from_the_start_is_treated_patiently() -> None:
    core, now, patience = Core(["ABC"], "1m"), 100.0, PATIENCE
    core.opened(now)
    core.newest("ABC", past_trade(7), now)
    assert not core.is_complete(now)  # perhaps something comes at once
    for _ in range(6):
        now += patience + 1
        assert core.silent(now).startswith("no candle of ABC")
        core.be_patient(now)
        core.opened(now)
        core.newest("ABC", past_trade(7), now)
        assert core.is_complete(now)  # nothing has happened since the first time
        patience = min(2 * patience, LONGEST_PATIENCE)
    assert patience == LONGEST_PATIENCE


def test_trades_from_before_the_connection_are_not_missed() -> None:
    core = Core(["ABC"], "1m")
    core.opened(100.0)
    core.newest("ABC", past_trade(9), 100.0)
    for second in range(0, 40, 2):
        core.receive(kline(0, 9, at=1000 * second), 100.0 + second)
        assert core.silent(100.0 + second) == ""


def test_a_quiet_symbol_is_not_cut_off_while_others_speak() -> None:
    core = Core(["ABC", "XYZ"], "1m")
    core.opened(100.0)
    for symbol in ("ABC", "XYZ"):
        core.receive(kline(0, 9).replace(b"ABC", symbol.encode()), 100.0)
        core.newest(symbol, past_trade(9), 100.0)
    core.receive(trade(10, 4000), 110.5)
    core.receive(kline(0, 10, at=4000), 110.5)
    assert core.silent(110.5) == ""
    assert core.questions(110.5) == [Newest("XYZ")]
    core.newest("XYZ", past_trade(9), 110.6)  # it is only quiet
    core.receive(trade(11, 6000), 130.0)
    core.receive(kline(0, 11, at=6000), 130.0)
    assert (core.silent(130.0), core.questions(130.0)) == ("", [])
    core.receive(trade(12, 8000), 131.0)
    core.receive(kline(0, 12, at=8000), 131.0)
    assert core.silent(131.0) == ""
    core.newest("XYZ", past_trade(12), 131.1)  # its stream is broken
    assert core.silent(131.1).startswith("no candle of XYZ for 2")


def test_what_is_of_the_future_is_refused_and_changes_nothing(core: Core) -> None:
    core.told_time(START + 5000, 100.0, 1.0)
    ahead = int(AHEAD / 60)
    core.receive(kline(ahead, 12, at=4999), 100.0)
    assert core.counts["rejected"] == 0
    for message in (kline(4_000, 13), trade(13, 4_000 * MINUTE)):
        assert core.receive(message, 106.0) == []
    assert core.counts["rejected"] == 2
    assert "is in the venue's future" in core.quarantine[0].reason
    assert core.questions(106.0)[0] == Newest("ABC")  # is that its time?
    assert core.venue_now < START + 10 * MINUTE


def test_the_venue_is_asked_for_its_time_now_and_then(core: Core) -> None:
    core.told_time(START + 5000, 100.0, 1.0)
    core.receive(kline(0, 9, at=6000), 101.0)
    later = 100.0 + CLOCK_KEPT + 1
    assert core.questions(later)[-1] == Clock()
    core.told_time(START + 5000 + int(1000 * CLOCK_KEPT), later, 1.0)
    assert Clock() not in core.questions(later)


def test_a_trade_later_than_its_closed_candle_becomes_a_visible_revision(core: Core) -> None:
    core.receive(kline(0, 12, at=0, closed=True), 160.0)
    core.receive(trade(10, 2600), 160.0)
    assert asked(core, 160.0) is None  # these are in the closed candle
    core.receive(trade(13, MINUTE - 1), 161.0)  # this one isn't
    core.receive(kline(1, 14, at=GRACE + 1000), 163.0)
    question = asked(core, 161.1)
    assert question == Bars("ABC", START, START + MINUTE)
    (revised,) = core.bars("ABC", START, piece([0], 1), START + 2 * MINUTE)
    assert revised.kind == "revised"
    assert revised.before is not None
    assert revised.candle == candle_at(START, 1)
    assert asked(core, 161.1) is None


def test_lag_is_told_by_the_venue_s_clock_and_pace(core: Core) -> None:
    assert core.lag is None
    core.told_time(START + 10_000, 200.0, 20.0)
    core.receive(trade(10, 10_000 + 20_000), 201.5)
    assert core.lag == pytest.approx(0.5)
    core.told_time(START + 40_000, 202.0, 0.0)  # a venue that stands still
    assert core.lag == pytest.approx(0.5)
    core.receive(trade(11, 40_000), 210.0)
    assert core.lag == pytest.approx(0.5)


def test_the_age_of_a_connection_is_by_whichever_clock_is_ahead(core: Core) -> None:
    core.opened(1000.0)
    core.receive(kline(0, 9, at=3000), 1000.0)
    assert core.age(1001.0) == 1000
    core.receive(kline(5, 9, at=3000), 1001.0)
    assert core.age(1001.0) == 5 * MINUTE


def test_strangers_and_nonsense_are_counted_and_change_nothing(core: Core) -> None:
    before = core.tracks["ABC"].book.forming
    strange = kline(0, 9).replace(b"ABC", b"XYZ")
    for message in (strange, b"{", b'{"e":"depthUpdate"}', b'{"result":null,"id":1}'):
        assert core.receive(message, 101.0) == []
    assert core.receive(b'{"code":2,"msg":"Invalid request","id":1}', 101.0) == []
    assert core.tracks["ABC"].book.forming == before
    assert (core.counts["rejected"], core.counts["ignored"]) == (1, 3)
    (refused,) = core.quarantine
    assert refused.text == "{"


def test_a_shutdown_is_remembered_until_the_next_connection(core: Core) -> None:
    assert not core.shutdown
    core.receive(b'{"e":"serverShutdown","E":1672531203000}', 101.0)
    assert core.shutdown
    core.opened(102.0, renewed=True)
    assert not core.shutdown


def test_the_streams_of_two_symbols() -> None:
    names = ["abc@kline_5m", "abc@aggTrade", "xyz@kline_5m", "xyz@aggTrade"]
    assert Core(["ABC", "XYZ"], "5m").streams == names
