"""Speed of the metrics: every metric of thousands of series, and those that empyrical-reloaded has too.

    python -m experiments.benchmarks.metrics [--empyrical PYTHON] [--out FILE]

CPU time of one process on one thread; sides in turn, round after round; medians. The peer runs in an
interpreter of its own, because it caps packages that this project's lock needs.
"""
