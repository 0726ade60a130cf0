"""Speed of training: QuantNet's step, Deep Momentum Networks' step, features and test pass.

python -m experiments.benchmarks.training [--quick] [--only quantnet|dmn] [--device cpu|cuda] [--keras PYTHON]
                                          [--out FILE.json]

QuantNet: a step is Algorithm 1 of Koshiyama et al. (2020): sample windows of all markets, run encoder,
transfer layer, decoder and head, settle, Sharpe ratios (Eqs. 7-8), backward, clip, AMSGrad. Sizes: ten
markets of 5 to 50 assets, and the paper's 58 markets with 3,103 assets; windows of 63 days, 32 a market.
Beside it: public style, and its own bare parts.

Deep Momentum Networks: a step is the agent's (Lim, Zohren, Roberts 2019, Eq. 17): take 128 trajectories of 63
days, run the LSTM, settle, Sharpe ratio, backward, clip, Adam. Beside it: the same on plain tensors, and a
Keras LSTM of the same dropout in an interpreter of its own (`--keras`). These rows are of the CPU, whatever
the device.

Machines are noisy, so every figure is CPU time of this process on one thread (on a GPU: elapsed time up to
its last kernel) and every claim a ratio of two sides that are measured in turn, or to a limit; medians over
rounds.
"""
