"""The compiled engine of a sweep: thousands of trials in one pass over the bars.

`running` makes trials ready and runs them on all cores; `programs` and `recipes` turn what was
traced into what the `kernel` evaluates: rows of numbers (`rows`), decisions 64 bars at a time
(`decisions`), fills (`fills`, `sided`). `figures` makes the contract's figures of it.
"""
