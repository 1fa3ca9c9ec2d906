"""A simulated exchange: Binance's wire protocol over any candles, with faults on command."""

from .simulated import SimulatedExchange, running

__all__ = ["SimulatedExchange", "running"]
