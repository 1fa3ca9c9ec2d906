"""What the notebooks need when pytest runs them, and how their stored outputs are made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# To run the notebooks anew and store what they show, but neither the time of day nor the version
# of Python, in the project's folder:
#
#   export TQDM_DISABLE=1 KEEP="{'kernelspec', 'widgets', ('language_info', 'name')}"
#   for notebook in notebooks/*.ipynb notebooks/solutions/*.ipynb; do
#       ASTRAQUANT_CACHE=$(mktemp -d) jupyter nbconvert --to notebook --execute --inplace \
#           --ExecutePreprocessor.record_timing=False --ClearMetadataPreprocessor.enabled=True \
#           --ClearMetadataPreprocessor.preserve_nb_metadata_mask="$KEEP" "$notebook"
#   done

# The kernels inherit it: a progress bar's text is another one in each run, and stored outputs are
# compared. A reader's own kernel still shows the bars.
os.environ["TQDM_DISABLE"] = "1"

_caches = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the caches."""
    config.stash[_caches] = tempfile.TemporaryDirectory(prefix="astraquant-notebooks-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove them; by now no kernel is left."""
    config.stash[_caches].cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Give each notebook an empty cache of candles: no other's and not the user's.

    The kernel starts when its first cell is set up, and inherits the variable.
    """
    notebook = item.path.relative_to(Path(__file__).parent).with_suffix("")
    folder = Path(item.config.stash[_caches].name) / notebook
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTRAQUANT_CACHE", str(folder))
        return (yield)
