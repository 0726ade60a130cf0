"""Markets whose best Sharpe ratio is known, so that a learner's score is a share of the possible."""

from experiments.probes.optima import Optimum, ar1_optimum, normal_optimum
from experiments.probes.play import Played, environment, out_of_sample, play_agent, train_agent
from experiments.probes.registry import PROBES, Bar, Probe, find_probe
from experiments.probes.sharing import transfer

__all__ = [
    "PROBES",
    "Bar",
    "Optimum",
    "Played",
    "Probe",
    "ar1_optimum",
    "environment",
    "find_probe",
    "normal_optimum",
    "out_of_sample",
    "play_agent",
    "train_agent",
    "transfer",
]
