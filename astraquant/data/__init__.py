"""Where candles come from: files and archives, the synthetic sample; what is kept on disk."""

from .cache import cached_candles
from .files import read_candles
from .loading import load_candles

__all__ = ["cached_candles", "load_candles", "read_candles"]
