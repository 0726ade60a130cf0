"""Speed of QuantNet's training step, side by side with public style and with its own bare parts.

python -m experiments.benchmarks.training [--quick] [--device cpu|cuda] [--out FILE.json]

A step is Algorithm 1 of Koshiyama et al. (2020): sample windows of all markets, run encoder, transfer layer,
decoder and head, settle, Sharpe ratios (Eqs. 7-8), backward, clip, AMSGrad. Sizes: ten markets of 5 to 50
assets, and the paper's 58 markets with 3,103 assets; windows of 63 days, 32 a market.

Machines are noisy, so every figure is CPU time of this process on one thread (on a GPU: elapsed time up to
its last kernel) and every claim a ratio of two sides that are measured in turn; medians over rounds.
"""
