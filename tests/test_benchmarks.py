"""The benchmarks compare like with like: every tool comes to the same answer. No time is judged."""

from __future__ import annotations

import subprocess
import sys

import pytest

from astraquant.data.sample import sample_candles
from benchmarks import __main__ as main
from benchmarks import cases, harness


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    candles = sample_candles("BTCUSDT", start="2023-03-20", end="2023-04-03")
    return cases.prepare(candles, "two weeks of the sample", tmp_path_factory.mktemp("candles"))


@pytest.mark.parametrize("group", cases.GROUPS)
def test_every_tool_comes_to_the_same_answer(group, inputs):
    found = cases.GROUPS[group](inputs)
    assert found
    for case in found:
        harness.check(case)


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


def test_the_file_is_written_anew_but_for_the_sections_of_other_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(cases, "load_inputs", lambda folder: None)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as it does itself
    for text in ("old", "new"):
        monkeypatch.setattr(main, "report", lambda inputs, text=text: iter(["# Benchmarks", text]))
        main.main()
        harness.write_section(harness.RESULTS, "feed", ["## Feed", text])
        main.main()
    section = "\n<!-- begin of feed -->\n## Feed\nnew\n<!-- end of feed -->\n"
    assert harness.RESULTS.read_text("utf-8") == "# Benchmarks\nnew\n" + section


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_added_memory_is_the_peak():
    """In a process of its own: what others have left free here would be used again unseen."""
    code = "from benchmarks import harness as h; print(h.added_memory(lambda: len(b'1' * 2**26)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.95 * 2**26 < int(done.stdout) < 1.1 * 2**26  # it was freed before the end


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_the_memory_of_a_sweep_is_measured(inputs):
    assert cases.memory_of("pandas, 3 figures", inputs) > 0
