"""Speed of the audit of a panel at the size of QuantNet's data, against a limit.

    python -m experiments.benchmarks.panel_audit [--out FILE]

CPU time of one process; medians.
"""
