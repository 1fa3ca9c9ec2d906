"""The live stream: a venue's messages into candles, and the proof that none is missing."""

import logging

# Without a handler Python prints warnings, and that of a thread into whichever cell is running.
logging.getLogger("astraquant.feed").addHandler(logging.NullHandler())
