"""Where candles come from: files and archives, the synthetic sample."""

from .files import read_candles
from .loading import load_candles

__all__ = ["load_candles", "read_candles"]
