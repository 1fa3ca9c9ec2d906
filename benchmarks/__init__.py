"""How fast the package is, beside the tools a researcher would take instead, in the same run.

In the project's environment, from its folder (about ten minutes)::

    .venv/bin/python -m pip install -e ".[bench]"   # once: the tools that nobody else needs
    .venv/bin/python -m benchmarks

This writes ``benchmarks/RESULTS.md``. Real minutes are used where they are found (see
`cases.load_inputs`), else the synthetic sample; the table says which. Every tool is first held to
the same answer as the others, then all take turns, so that what disturbs one disturbs all.

More commands have sections of their own in that file, which the one above leaves as they are::

    .venv/bin/python -m benchmarks.strategies  # the built-in strategies, and stops: five minutes
    .venv/bin/python -m benchmarks.feed     # what it can take, and how late it is: four minutes
    .venv/bin/python -m benchmarks.soak     # an hour among faults: is a candle lost, does it grow?
"""
