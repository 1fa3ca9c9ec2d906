"""The benchmarks compare like with like: every tool comes to the same answer. No time is judged."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest

from astraquant.data.sample import sample_candles
from astraquant.grids import make_grid
from astraquant.strategies import ma_cross
from benchmarks import __main__ as main
from benchmarks import beside, cases, crossing, growth, harness, limits, peers, planes, targets

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    candles = sample_candles("BTCUSDT", start="2023-03-20", end="2023-04-03")
    return cases.prepare(candles, "two weeks of the sample", tmp_path_factory.mktemp("candles"))


def without_peers(case):
    """The case with those of its tools that are here: the peers are an extra."""
    absent = tuple(peers.missing())
    there = {name: tool for name, tool in case.tools.items() if not name.startswith(absent)}
    return replace(case, tools=there)


@pytest.mark.parametrize("group", cases.GROUPS)
def test_every_tool_comes_to_the_same_answer(group, inputs):
    found = cases.GROUPS[group](inputs)
    assert found
    for case in found:
        harness.check(without_peers(case))


def test_tools_that_differ_are_not_timed():
    def same(ours, theirs):
        assert ours == theirs

    case = harness.Case("add", {"right": lambda: 4, "wrong": lambda: 5}, same)
    with pytest.raises(AssertionError, match="add: right and wrong differ"):
        harness.measure(case, runs=1)


def test_tools_take_turns_and_stand_in_the_table():
    called = []
    case = harness.Case(
        "call", {name: lambda name=name: called.append(name) for name in "ab"}, repeats=10
    )
    seconds = harness.measure(case, runs=3)
    assert called == [*"ab", *"ab", *"ba", *"ab"]
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert list(harness.rows("call", {"a": [0.002, 0.003, 0.001], "b": [2.0, 0.5, 1.0]})) == [
        "| call | a | 1 ms | 2 ms | 1 |",
        "|  | b | 500 ms | 1 s | 500 |",
    ]


def test_a_tool_that_does_more_in_one_call_is_timed_by_what_it_does(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(now)))
    tools = {name: lambda: None for name in "ab"}
    seconds = harness.measure(harness.Case("call", tools, repeats={"a": 10, "b": 2}), runs=2)
    assert seconds == {"a": [0.1, 0.1], "b": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2.5, "2.5 s"),
        (0.0123, "12.3 ms"),
        (4e-6, "4 µs"),
        (4e-8, "40 ns"),
        (2.2e-10, "0.22 ns"),
        (-2, "-2 s"),
    ],
)
def test_times_are_said_in_a_unit_of_their_size(seconds, said):
    assert harness.shown(seconds) == said


def test_a_missing_peer_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", ("pytest", "no_such_tool"))
    assert peers.missing() == ["no_such_tool"]
    peers.need("pytest")
    with pytest.raises(peers.MissingPeerError, match=r"no_such_tool.*\n.*install -e \"\.\[bench\]"):
        peers.need("pytest", "no_such_tool")
    with pytest.raises(SystemExit, match="no_such_tool"):
        main.main()  # before anything is measured


def test_the_peers_are_an_extra_that_nobody_gets_unasked():
    project = tomllib.loads((harness.PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extra = project["optional-dependencies"]["bench"]
    assert sorted(line.partition(">")[0] for line in extra) == sorted(peers.PEERS)
    lock = (harness.PROJECT / "requirements.lock").read_text("utf-8")
    assert not [name for name in peers.PEERS if f"\n{name}==" in f"\n{lock}"]


@pytest.mark.parametrize(
    ("least", "at_least", "reached"),
    [
        *[(0.9, False, "aim"), (2.0, False, "must"), (2.6, False, "**missed**")],
        *[(0.9, True, "**missed**"), (2.55, True, "must"), (2.7, True, "aim")],
    ],
)
def test_a_target_says_what_was_reached(least, at_least, reached):
    aim = 2.6 if at_least else 1.0
    target = targets.Target("a sweep", least, 3.0, 2.5, aim, at_least=at_least)
    assert target.reached == reached
    assert replace(target, aim=None).reached == ("must" if reached == "aim" else reached)
    assert replace(target, must=None).reached == ""


def test_targets_stand_beside_what_was_measured(inputs):
    """Also: every figure that was asked for is measured by some case."""
    measured = {}
    for group in cases.GROUPS.values():
        for case in group(inputs):
            measured[case.title] = {name: [2.0, 1.0, 3.0] for name in case.tools}
    bar = measured[beside.TITLE]
    bar[beside.us(inputs.candles)] = [1e-3, 1e-3, 1e-3]
    bar[beside.VECTORBT[1].title(inputs.candles)] = [0.5, 1.5, 0.7]  # its faster engine
    first = [growth.First(1.0, 3.0, 0.5), growth.First(1.0, 2.0, 0.5)]
    found = list(targets.targets(inputs, measured, first, 150_000_000))
    lines = list(targets.lines(found))
    assert lines[1] == (
        "| 19,900 pairs of windows 5..204, 20,080 minutes | 1 s | 2 s | ≤ 2.5 s | ≤ 1 s | aim |"
    )
    assert lines[2].endswith("takes | 500 × | 700 × | ≥ 1,500 × | ≥ 4,000 × | **missed** |")
    assert lines[3].endswith("takes | 1,000 × | 2,000 × | ≥ 150 × |  | must |")
    assert "| … against that, ma_cross, ema | 1 × | 1 × | ≤ 3 × | ≤ 2 × | aim |" in lines
    assert "| … memory added | 150 MB | 150 MB | ≤ 500 MB | ≤ 200 MB | aim |" in lines
    assert any(line.endswith("| 1.5 s | 2 s | ≤ 2 s | ≤ 1 s | must |") for line in lines)
    assert lines[-1].endswith("5m | 1 s | 2 s | ≤ 6 ms | ≤ 4 ms | **missed** |")
    assert f"| … against that, {planes.BUSY} | 1 × | 1 × |  |  |  |" in lines  # told, not asked for
    assert len(lines) == len(found) + 1 == 15


def test_only_the_engine_is_measured_as_the_engine(inputs):
    bars = inputs.candles.iloc[:2000]
    grid = {"short": [5, 10], "long": [20, 40]}
    fast = planes.sweep(bars, planes.Plane(ma_cross, {**grid, "kind": ["ema"]}))
    planes.same_rows(fast, fast)
    with pytest.raises(AssertionError, match="not run by the engine: vectorbt"):
        planes.by_engine(
            planes.sweep(bars, planes.Plane(ma_cross, {**grid, "kind": ["ema"]}, SLOW))
        )
    fast.table.iloc[-1, 3] += 1e-6
    with pytest.raises(AssertionError, match="Not equal"):
        planes.same_rows(fast)


SLOW = {"engine": "vectorbt"}


def test_planes_are_of_about_equal_size():
    sizes = {}
    for name, plane in {**planes.PLANES, **planes.MORE}.items():
        grid = make_grid(plane.strategy, plane.grid)
        sizes[name] = len(grid.rows)
    assert sizes[planes.LONG] == len(planes.PAIRS) == 19_900
    assert all(0.99 < size / 19_900 <= 1 for size in sizes.values()), sizes


def test_pairs_of_the_peers_are_spread_over_the_plane():
    for peer in beside.ALL:
        assert len(set(peer.pairs)) == len(peer.pairs)
        assert set(peer.pairs) <= set(planes.PAIRS)
    assert len(beside.RAPTORBT.pairs) == 16
    middle = sum(long for _, long in beside.RAPTORBT.pairs) / 16
    assert abs(middle - sum(long for _, long in planes.PAIRS) / 19_900) < 15


def test_the_file_is_written_anew_but_for_the_sections_of_other_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(cases, "load_inputs", lambda folder: None)
    monkeypatch.setattr(peers, "PEERS", ())  # which are needed to measure, not to write
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as it does itself
    for text in ("old", "new"):
        monkeypatch.setattr(main, "report", lambda inputs, text=text: iter(["# Benchmarks", text]))
        main.main()
        harness.write_section(harness.RESULTS, "feed", ["## Feed", text])
        main.main()
    section = "\n<!-- begin of feed -->\n## Feed\nnew\n<!-- end of feed -->\n"
    assert harness.RESULTS.read_text("utf-8") == "# Benchmarks\nnew\n" + section


@LINUX
def test_added_memory_is_the_peak():
    """In a process of its own: what others have left free here would be used again unseen."""
    code = "from benchmarks import harness as h; print(h.added_memory(lambda: len(b'1' * 2**26)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.95 * 2**26 < int(done.stdout) < 1.1 * 2**26  # it was freed before the end


@LINUX
def test_the_memory_of_a_sweep_is_measured(inputs):
    assert crossing.memory_of("astraquant, engine vectorbt, 1 GiB", inputs) > 2**20


def test_growth_is_told_by_bars_and_by_pairs(inputs, monkeypatch):
    monkeypatch.setattr(growth, "WINDOWS", (5, 10))
    monkeypatch.setattr(planes, "WINDOWS", range(5, 15))
    rows = [line.split(" | ") for line in growth.growing(inputs)][1:]
    sizes = [(int(bars.strip("| ").replace(",", "")), int(pairs)) for bars, pairs, *_ in rows]
    bars = len(inputs.candles)
    assert sizes == [(bars // 8, 45), (bars // 4, 45), (bars // 2, 45), (bars, 10), (bars, 45)]


def test_the_first_sweep_of_a_process_is_told_from_the_next(inputs, monkeypatch):
    monkeypatch.setattr(planes, "WINDOWS", range(5, 15))
    (found,) = growth.first_sweeps(inputs, runs=1)
    assert found.whole > 0
    assert found.first > found.warm > 0  # it imports what it needs


@LINUX
def test_a_sweep_can_be_bound_to_a_core_and_its_memory_is_measured(inputs, monkeypatch):
    monkeypatch.setattr(planes, "WINDOWS", range(5, 15))
    assert len(growth.on_cores(inputs, 1, runs=2)) == 2
    assert growth.added_memory(inputs) > 0


def test_stages_are_differences_that_make_up_the_whole():
    seconds = dict(zip(TOOLS, (0.1, 0.25, 0.6, 1.5), strict=True))
    spent = limits.stages(seconds)
    assert spent == pytest.approx(dict(zip(TOOLS, (0.1, 0.25, 0.25, 0.9), strict=True)))
    assert sum(spent.values()) == pytest.approx(seconds[limits.FILLS])


TOOLS = (limits.BESIDES, limits.ROWS, limits.DECISIONS, limits.FILLS)


def test_the_distance_to_the_machine_is_of_plausible_size(monkeypatch):
    """A comparison that takes a whole second of a core is far from any limit."""
    monkeypatch.setattr(limits, "_ROUNDS", 1)
    hertz = limits.clock()
    assert 1e7 < hertz < 1e11
    text = "\n".join(limits.distance(1.0, 1000, hertz))
    assert float(re.search(r"else, ([\d.]+) times", text)[1]) > 1e6
    assert "to copy the candles, 0 MB" in text


def test_each_sweep_of_the_profile_does_one_thing_more(inputs, monkeypatch):
    monkeypatch.setattr(planes, "WINDOWS", range(5, 15))
    done = {name: sweep() for name, sweep in limits.sweeps(inputs.candles).items()}
    assert tuple(done) == TOOLS
    bars, late = len(inputs.candles), limits.TAIL
    evaluated = [sweep.passport["bars"]["1m"]["evaluated"] for sweep in done.values()]
    for said, count in zip(evaluated, (late, late, late, bars), strict=True):
        assert said.endswith(f"({count:,} bars)")
    assert [len(sweep.table) for sweep in done.values()] == [45, 9, 45, 45]
    windows = {window for row in done[limits.ROWS].grid.rows for window in row}
    assert windows == set(planes.WINDOWS)  # every row is computed


def test_the_profile_counts_what_was_done(inputs, monkeypatch):
    monkeypatch.setattr(planes, "WINDOWS", range(5, 15))
    monkeypatch.setattr(planes, "PAIRS", planes.PAIRS[:45])
    monkeypatch.setattr(limits, "_ROUNDS", 1)
    text = "\n".join(limits.profile(inputs))
    trades = planes.sweep(inputs.candles, planes.Plane(ma_cross, planes.windows(10))).table.trades
    for count in ("45 trials", "200,800 averages", "903,600 comparisons"):
        assert f"| {count} |" in text
    assert f"| {2 * int(trades.sum()):,} fills |" in text
