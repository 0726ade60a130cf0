"""Statistics that say how far a figure, or the difference of two, can be trusted."""

from experiments.statistics.aggregates import (
    Estimate,
    interquartile_mean,
    interquartile_mean_interval,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from experiments.statistics.deflation import (
    Trials,
    deflated_sharpe,
    effective_trials,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    recorded_trials,
)
from experiments.statistics.evidence_process import (
    anytime_p_values,
    largest_losses,
    wealth_of_bets,
)
from experiments.statistics.intervals import (
    LEVEL,
    REPLICATIONS,
    block_length,
    mean_sharpe,
    resampled_sharpe,
    sharpe_interval,
)
from experiments.statistics.many import (
    MIN_DAYS,
    ConfidenceSet,
    Superiority,
    confidence_set,
    stepwise_superior,
    superior_predictive_ability,
)
from experiments.statistics.overfitting import Overfitting, backtest_overfitting
from experiments.statistics.pairs import paired_tests
from experiments.statistics.ranks import Ranking, critical_difference, rank_agents
from experiments.statistics.sharpe_errors import (
    Difference,
    Moments,
    independent_error,
    mean_error,
    moments,
    robust_error,
    sharpe_difference,
)
from qn_env.multiple_tests import holm

__all__ = [
    "LEVEL",
    "MIN_DAYS",
    "REPLICATIONS",
    "ConfidenceSet",
    "Difference",
    "Estimate",
    "Moments",
    "Overfitting",
    "Ranking",
    "Superiority",
    "Trials",
    "anytime_p_values",
    "backtest_overfitting",
    "block_length",
    "confidence_set",
    "critical_difference",
    "deflated_sharpe",
    "effective_trials",
    "expected_maximum_sharpe",
    "holm",
    "independent_error",
    "interquartile_mean",
    "interquartile_mean_interval",
    "largest_losses",
    "mean_error",
    "mean_sharpe",
    "minimum_track_record",
    "moments",
    "paired_tests",
    "probabilistic_sharpe",
    "probability_of_improvement",
    "probability_of_improvement_interval",
    "rank_agents",
    "recorded_trials",
    "resampled_sharpe",
    "robust_error",
    "sharpe_difference",
    "sharpe_interval",
    "stepwise_superior",
    "superior_predictive_ability",
    "wealth_of_bets",
]
