"""What all tests share: where the real market data lies, and a cache of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A kernel compiles at its first call, on a busy machine for seconds: no example has a deadline, and
# slow drawing is no failure. At a desk each run draws other examples; CI draws the same ones each
# time, so that what it says of a change is about the change.
settings.register_profile(
    "kernels",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kernels")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real candles; without it a test skips with the reason (in CI it fails)."""
    folder = Path(os.environ.get("ASTRAQUANT_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no real market data at {folder}: set ASTRAQUANT_DATA to a folder that has it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test, nor a process that it starts, reads or writes the user's cache of candles."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTRAQUANT_CACHE", str(folder))
        yield folder
