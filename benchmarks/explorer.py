"""How long it takes from a slider of the explorer until the pixels have changed.

JupyterLab shows `Sweep.explore` of a small sweep over a year of minutes; a page of Chromium moves a
slider by keyboard, one step at a time. A script in the page takes the time when price lines,
equity, drawdown and figures have all changed and are painted. Run it with
``python -m benchmarks.explorer``. Needs Playwright and a Chromium or Chrome on the PATH.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import harness
from .inputs import YEAR
from .screen import PATIENCE, PROJECT, READY, RUN, browser, lab, page

if TYPE_CHECKING:
    from playwright.sync_api import Page

LIMIT, AIM = 300, 120  # milliseconds for 95 % of the steps
STEPS, WARM_UP = 60, 5
CODE = """
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
candles = {candles}
swept = aq.sweep(candles, ma_cross, short=[20, 50], long=[300, 400], timeframe={timeframe!r})
swept.explore()
"""
# The panels of price, equity and drawdown, and the table of figures.
PARTS = """() => [...document.querySelectorAll('.bqplot')].slice(-3).concat(
    document.querySelector('.astraquant-figures')?.closest('.widget-html') ?? [])"""
# From a key until a line in each panel and the table have changed, and the frame after that has
# begun: the changes are painted by then. A line that is only written anew counts for nothing.
WATCH = f"""() => {{
    const parts = ({PARTS})();
    let begin, missing, texts;
    window.step = null;
    const changed = part => {{
        if (!missing.delete(part) || missing.size) return;
        requestAnimationFrame(() => requestAnimationFrame(() => {{
            window.step = performance.now() - begin;
        }}));
    }};
    parts.forEach((part, k) => new MutationObserver(records => {{
        const table = k === parts.length - 1;
        if (table ? part.textContent !== texts : records.some(record =>
            record.target.matches?.('path.line, path.area')
            && record.oldValue !== record.target.getAttribute('d'))) changed(part);
    }}).observe(part, {{subtree: true, childList: true, characterData: true,
        attributes: true, attributeFilter: ['d'], attributeOldValue: true}}));
    document.addEventListener('keydown', () => {{
        begin = performance.now();
        missing = new Set(parts);
        texts = parts.at(-1).textContent;
        window.step = null;
    }}, true);
}}"""
DRAWN = f"() => ({PARTS})().length === 4 && document.querySelectorAll('path.line[d]').length > 4"


class Seen(NamedTuple):
    """Milliseconds of each step of a slider, over so many bars."""

    timeframe: str
    bars: str
    steps: list[float]


def measure(timeframe: str, steps: int) -> Seen:
    """Move the slider of the short average, a step at a time, each when the last one is drawn."""
    year = Path(os.environ.get("ASTRAQUANT_DATA", PROJECT.parent / "shared" / "data")) / YEAR
    candles = f"aq.read_candles({str(year.resolve())!r})"
    code = CODE.format(
        candles=candles if year.is_file() else "sample_candles('BTCUSDT')", timeframe=timeframe
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(Path(folder), code) as address,
        page() as opened,
    ):
        prepare(opened, address)
        times = [press(opened) for _ in range(WARM_UP + steps)][WARM_UP:]
        heading = opened.get_by_text(f"of {timeframe}", exact=False).first.inner_text()
    return Seen(timeframe, heading.partition(" · ")[2], times)


def prepare(opened: Page, address: str) -> None:
    """Let the notebook draw its explorer, and take the slider into the hand."""
    patience = 1000 * PATIENCE
    opened.goto(address)
    opened.wait_for_function(READY, timeout=patience)
    opened.evaluate(RUN)
    opened.wait_for_function(DRAWN, timeout=patience)
    opened.wait_for_function(READY, timeout=patience)
    opened.evaluate(WATCH)
    opened.locator(".noUi-handle:visible").first.focus()


def press(opened: Page) -> float:
    """One step of the slider; milliseconds until its picture is painted."""
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("() => window.step !== null", timeout=1000 * PATIENCE)
    return float(opened.evaluate("window.step"))


def report(found: Sequence[Seen]) -> Iterator[str]:
    yield "## The explorer, from slider to pixels\n"
    yield (
        "Written by `python -m benchmarks.explorer`: JupyterLab and Chromium without a window; "
        "from the key that moves a slider by one step until price lines, equity, drawdown and "
        "figures have all changed and that frame is painted.\n"
    )
    yield from harness.circumstances()
    yield ""
    yield "| bars | steps | p50 | p95 | max | target (p95) |"
    yield "|---|--:|--:|--:|--:|--:|"
    for seen in found:
        parts = (harness.percentile(seen.steps, share) for share in (0.5, 0.95, 1.0))
        told = " | ".join(f"{part:.0f} ms" for part in parts)
        target = f"≤ {LIMIT} ms, aim {AIM}" if seen.timeframe == "1m" else ""
        yield f"| {seen.bars} | {len(seen.steps)} | {told} | {target} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explorer", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--no-results", action="store_true", help="write no file")
    known = parser.parse_args(arguments)
    if browser() is None:
        parser.error("no browser: install Playwright, and a Chromium or Chrome on the PATH")
    found = [measure(timeframe, known.steps) for timeframe in ("1m", "1h")]
    lines = list(report(found))
    print("\n".join(lines), flush=True)
    if not known.no_results:
        harness.write_section(harness.RESULTS, "explorer", lines)
    return 0 if harness.percentile(found[0].steps, 0.95) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
