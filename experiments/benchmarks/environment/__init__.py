"""Speed of the trading environment, side by side with the physical limit and with its peers.

python -m experiments.benchmarks.environment [--quick] [--out FILE.json] [--paper-csv FILE.csv]
    [--peers-python PATH] [--scale]

Machines are noisy, so every figure is CPU time of this process (or of the peers' own) and every claim a
ratio: the two sides of a row are measured in turn (ours, baseline, ours, baseline, ...) and the ratio is
the median over rounds.
"""
