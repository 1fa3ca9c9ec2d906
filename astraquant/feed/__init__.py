"""The live stream: a venue's messages into candles, and the proof that none is missing."""
