"""What Koshiyama et al. (2020) printed, to stand beside our own figures: references, never targets.

"QuantNet: Transferring Learning Across Systematic Trading Strategies", over 3,103 stocks of 58 markets whose
data cannot be redistributed. The paper tunes on and reports the same last 752 days; this harness does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from experiments.results.headings import as_printed

# Rows of Tables 1 and 5, under the paper's names.
METRICS = as_printed(
    {
        "cagr": "Ann Ret",
        "ann_volatility": "Ann Vol",
        "calmar": "CR",
        "downside_risk": "DownRisk",
        "kurtosis": "Kurt",
        "max_drawdown": "MDD",
        "sharpe": "SR",
        "skew": "Skew",
        "sortino": "SortR",
    }
)
METRIC_LABELS: Mapping[str, str] = {metric.name: metric.title for metric in METRICS}

LABELS: Mapping[str, str] = {
    "buy-and-hold": "Buy and hold",
    "risk-parity": "Risk parity",
    "ts-momentum": "TS Mom",
    "cs-momentum": "CS Mom",
    "no-transfer-lstm": "No Transfer LSTM",
    "no-transfer-linear": "No Transfer Linear",
    "quantnet": "QuantNet",
    "quantnet-shared": "QuantNet Shared",
    "quantnet-shared-zero": "QuantNet Shared, unseen",
    "quantnet-linear-linear": "QuantNet Linear-Linear",
    "quantnet-linear-lstm": "QuantNet Linear-LSTM",
    "quantnet-lstm-lstm": "QuantNet LSTM-LSTM",
}

BUY_AND_HOLD_NOTE = (
    "The printed Sharpe ratio of buy and hold, 0.000051, does not agree with the Sortino ratio and the "
    "volatility of the same column, which imply about 0.15."
)

# Table 1: median and mean absolute deviation over the 3,103 stocks.
TABLE_1: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "buy-and-hold": {
        "cagr": (0.000020, 0.13433),
        "ann_volatility": (0.287515, 0.10145),
        "calmar": (0.000040, 0.33583),
        "downside_risk": (0.202361, 0.07042),
        "kurtosis": (5.918386, 10.2515),
        "max_drawdown": (-0.419984, 0.14876),
        "sharpe": (0.000051, 0.42324),
        "skew": (-0.087282, 0.82186),
        "sortino": (0.217621, 0.59710),
    },
    "risk-parity": {
        "cagr": (0.000193, 0.00270),
        "ann_volatility": (0.001536, 0.00537),
        "calmar": (0.095516, 0.29444),
        "downside_risk": (0.001076, 0.00361),
        "kurtosis": (6.165916, 13.9426),
        "max_drawdown": (-0.002935, 0.00987),
        "sharpe": (0.155560, 0.42028),
        "skew": (-0.092218, 0.96504),
        "sortino": (0.220335, 0.61883),
    },
    "ts-momentum": {
        "cagr": (0.000050, 0.00019),
        "ann_volatility": (0.000290, 0.00036),
        "calmar": (0.139599, 1.05288),
        "downside_risk": (0.000195, 0.00024),
        "kurtosis": (13.333863, 19.2278),
        "max_drawdown": (-0.000488, 0.00082),
        "sharpe": (0.226471, 0.40627),
        "skew": (0.427237, 1.28365),
        "sortino": (0.333685, 1.02616),
    },
    "cs-momentum": {
        "cagr": (0.000042, 0.00019),
        "ann_volatility": (0.000270, 0.00036),
        "calmar": (0.143195, 1.18751),
        "downside_risk": (0.000178, 0.00025),
        "kurtosis": (18.112853, 24.4672),
        "max_drawdown": (-0.000444, 0.00081),
        "sharpe": (0.234583, 0.41547),
        "skew": (0.568364, 1.60612),
        "sortino": (0.349124, 0.633953),
    },
    "no-transfer-lstm": {
        "cagr": (0.002508, 0.07645),
        "ann_volatility": (0.008552, 0.13455),
        "calmar": (0.158987, 0.55762),
        "downside_risk": (0.005656, 0.09223),
        "kurtosis": (16.87256, 30.2204),
        "max_drawdown": (-0.014564, 0.16724),
        "sharpe": (0.304244, 0.51552),
        "skew": (0.256736, 1.77245),
        "sortino": (0.443422, 0.78525),
    },
    "no-transfer-linear": {
        "cagr": (0.001537, 0.08634),
        "ann_volatility": (0.007768, 0.14108),
        "calmar": (0.169345, 0.57170),
        "downside_risk": (0.005124, 0.09553),
        "kurtosis": (15.73864, 31.0395),
        "max_drawdown": (-0.01286, 0.17820),
        "sharpe": (0.306572, 0.51182),
        "skew": (0.171629, 1.74804),
        "sortino": (0.454035, 0.86715),
    },
    "quantnet": {
        "cagr": (0.005377, 0.02898),
        "ann_volatility": (0.023665, 0.04540),
        "calmar": (0.241255, 0.59968),
        "downside_risk": (0.015734, 0.03291),
        "kurtosis": (16.19961, 24.7336),
        "max_drawdown": (-0.03847, 0.07881),
        "sharpe": (0.354776, 0.57218),
        "skew": (0.297182, 1.66854),
        "sortino": (0.52196, 1.02465),
    },
}

# Table 3: hyperparameters by configuration; "-" where a configuration has none. The paper's text leaves open
# which of them have layers and dropout: they are placed by the structure of each.
CONFIGURATIONS: Mapping[str, str] = {
    "no-transfer-linear": "No Transfer Linear",
    "no-transfer-lstm": "No Transfer LSTM",
    "quantnet-linear-linear": "QuantNet Linear-Linear",
    "quantnet-linear-lstm": "QuantNet Linear-LSTM",
    "quantnet": "QuantNet LSTM-Linear",
    "quantnet-lstm-lstm": "QuantNet LSTM-LSTM",
}


class Hyperparameter(NamedTuple):
    """One row of Table 3."""

    label: str
    options: tuple[str, ...]  # names an agent's options may give it
    ranges: tuple[str, str, str, str, str, str]  # in the order of CONFIGURATIONS


TABLE_3 = (
    Hyperparameter(
        "Batch size (L)", ("batch", "batch_size"), ("16-128", "16-128", "16-128", "16-96", "16-96", "16-96")
    ),
    Hyperparameter(
        "Sequence length (p)",
        ("length", "sequence_length"),
        ("21-504", "21-504", "21-504", "21-252", "21-252", "21-252"),
    ),
    Hyperparameter(
        "Learning rate",
        ("learning_rate", "lr"),
        ("0.0001-0.1", "0.0001-0.1", "0.0001-0.1", "0.0001-0.5", "0.0001-0.5", "0.0001-0.5"),
    ),
    Hyperparameter("E/D layers", ("layers", "encoder_layers"), ("-", "1-2", "-", "-", "1-2", "1-2")),
    Hyperparameter(
        "E/D dropout", ("dropout", "encoder_dropout"), ("-", "0.1-0.9", "-", "-", "0.1-0.9", "0.1-0.9")
    ),
    Hyperparameter("TL layers", ("transfer_layers",), ("-", "-", "-", "1-2", "-", "1-2")),
    Hyperparameter("TL dropout", ("transfer_dropout",), ("-", "-", "-", "0.1-0.9", "-", "0.1-0.9")),
    Hyperparameter("TL dimension (N)", ("dimension",), ("-", "-", *(("10, 25, 50, 100",) * 4))),
    Hyperparameter("Training steps", ("steps",), ("2000", "2000", "2000", "2000", "2000", "2000")),
)

# Section 4.2: QuantNet beside No Transfer Linear.
ABOVE_ONE: Mapping[str, int] = {"no-transfer-linear": 432, "quantnet": 583}  # assets with SR > 1.0
WILCOXON: Mapping[str, float] = {"sharpe": 2215630.0, "calmar": 2141782.0}  # W; both p < 0.01
KOLMOGOROV_SMIRNOV = 0.053  # of the Sharpe ratios; p < 0.01

# Figure 9: QuantNet's average over a market's assets, on No Transfer's: intercept, its p, slope (p < 0.0001).
FIGURE_9: Mapping[str, tuple[float, float, float]] = {
    "sharpe": (0.1506, 0.036, 0.7381),
    "calmar": (0.1851, 0.015, 0.7379),
}

# Table 5, for QuantNet and No Transfer Linear: mean, standard deviation, median, mean absolute deviation.
TABLE_5: Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float, float]]]] = {
    "SPX": {
        "no-transfer-linear": {
            "cagr": (0.000133, 0.001259, 0.000197, 0.000982),
            "ann_volatility": (0.002436, 0.00064, 0.002399, 0.000497),
            "calmar": (0.133073, 0.377186, 0.045842, 0.271252),
            "downside_risk": (0.001717, 0.000522, 0.001648, 0.000395),
            "kurtosis": (33.29913, 45.57039, 20.43113, 23.64829),
            "max_drawdown": (-0.00467, 0.002296, -0.00419, 0.001741),
            "sharpe": (0.061702, 0.512651, 0.085695, 0.406313),
            "skew": (-0.21186, 2.851112, 0.044563, 1.742953),
            "sortino": (0.144905, 0.760463, 0.112332, 0.595473),
        },
        "quantnet": {
            "cagr": (0.041031, 0.029839, 0.038476, 0.023214),
            "ann_volatility": (0.053368, 0.012918, 0.053732, 0.010269),
            "calmar": (0.756976, 0.616175, 0.626018, 0.479759),
            "downside_risk": (0.035575, 0.009612, 0.035679, 0.007424),
            "kurtosis": (19.51515, 18.51033, 14.44403, 10.23454),
            "max_drawdown": (-0.06681, 0.028684, -0.06071, 0.020741),
            "sharpe": (0.783197, 0.49204, 0.79579, 0.400688),
            "skew": (0.28355, 1.685894, 0.407357, 1.110312),
            "sortino": (1.245084, 0.847215, 1.205009, 0.690404),
        },
    },
    "KOSPI": {
        "no-transfer-linear": {
            "cagr": (0.073337, 0.25494, 0.059234, 0.188703),
            "ann_volatility": (0.403113, 0.144194, 0.380229, 0.111283),
            "calmar": (0.289853, 0.620299, 0.133249, 0.470007),
            "downside_risk": (0.271677, 0.098263, 0.254761, 0.076679),
            "kurtosis": (13.87472, 19.28247, 8.225536, 10.6417),
            "max_drawdown": (-0.50323, 0.190464, -0.49819, 0.157264),
            "sharpe": (0.347892, 0.540274, 0.366404, 0.437163),
            "skew": (0.374017, 1.36364, 0.271776, 0.811512),
            "sortino": (0.564466, 0.839065, 0.55375, 0.675314),
        },
        "quantnet": {
            "cagr": (0.054152, 0.046237, 0.052772, 0.036438),
            "ann_volatility": (0.07075, 0.025008, 0.066449, 0.01968),
            "calmar": (0.822309, 0.785171, 0.657845, 0.605487),
            "downside_risk": (0.047184, 0.017854, 0.044209, 0.013787),
            "kurtosis": (22.58056, 34.13021, 13.04102, 17.31602),
            "max_drawdown": (-0.09328, 0.051306, -0.08132, 0.039347),
            "sharpe": (0.783428, 0.578968, 0.818361, 0.465154),
            "skew": (0.277958, 2.239952, 0.148158, 1.318841),
            "sortino": (1.256064, 0.979779, 1.235756, 0.779847),
        },
    },
    "UKX": {
        "no-transfer-linear": {
            "cagr": (0.000406, 0.001395, 0.000326, 0.00108),
            "ann_volatility": (0.002717, 0.00111, 0.002495, 0.000695),
            "calmar": (0.210127, 0.445449, 0.092861, 0.328843),
            "downside_risk": (0.001661, 0.000433, 0.00157, 0.000333),
            "kurtosis": (95.31436, 135.1503, 35.86203, 96.22141),
            "max_drawdown": (-0.00432, 0.001905, -0.00393, 0.001549),
            "sharpe": (0.108635, 0.529708, 0.154884, 0.407551),
            "skew": (2.943023, 6.586847, 0.360259, 4.960393),
            "sortino": (0.301707, 0.898402, 0.203793, 0.701329),
        },
        "quantnet": {
            "cagr": (0.006555, 0.00609, 0.005321, 0.004778),
            "ann_volatility": (0.009576, 0.004583, 0.008573, 0.003598),
            "calmar": (0.813796, 0.708568, 0.654498, 0.584447),
            "downside_risk": (0.005364, 0.002129, 0.004724, 0.00173),
            "kurtosis": (88.42658, 116.5215, 30.40254, 86.32176),
            "max_drawdown": (-0.00988, 0.005301, -0.00841, 0.003937),
            "sharpe": (0.627227, 0.486396, 0.628875, 0.379645),
            "skew": (3.573138, 5.566353, 1.385536, 4.198536),
            "sortino": (1.207481, 0.979499, 1.128096, 0.793781),
        },
    },
    "SASEIDX": {
        "no-transfer-linear": {
            "cagr": (0.000642, 0.002784, 0.000508, 0.001666),
            "ann_volatility": (0.003598, 0.003219, 0.003128, 0.001038),
            "calmar": (0.267246, 0.745929, 0.091411, 0.410032),
            "downside_risk": (0.002236, 0.000513, 0.002257, 0.000405),
            "kurtosis": (41.8963, 87.54653, 25.0625, 30.82765),
            "max_drawdown": (-0.00614, 0.003198, -0.00578, 0.002449),
            "sharpe": (0.12883, 0.579286, 0.184811, 0.451943),
            "skew": (0.495534, 4.07845, -0.06615, 2.102935),
            "sortino": (0.359786, 1.206481, 0.26026, 0.764835),
        },
        "quantnet": {
            "cagr": (0.026092, 0.012866, 0.023614, 0.009858),
            "ann_volatility": (0.01895, 0.004739, 0.01865, 0.002928),
            "calmar": (1.783155, 1.133185, 1.676411, 0.912643),
            "downside_risk": (0.010502, 0.002464, 0.009973, 0.001975),
            "kurtosis": (33.41796, 48.08607, 28.02965, 15.90609),
            "max_drawdown": (-0.01755, 0.007012, -0.01573, 0.005458),
            "sharpe": (1.362307, 0.586632, 1.382302, 0.4808),
            "skew": (2.469297, 2.360219, 2.559821, 1.412129),
            "sortino": (2.587949, 1.344404, 2.315208, 1.124332),
        },
    },
}

# Table 6, for QuantNet: coefficient and t-statistic of the daily market return on each factor.
TABLE_6: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "SPX": {
        "alpha": (0.0003, 2.554),
        "mkt_rf": (-0.0004, -2.367),
        "smb": (0.0003, 1.158),
        "hml": (-0.0005, -1.778),
        "mom": (-0.0002, -1.042),
    },
    "UKX": {
        "alpha": (0.0002, 2.258),
        "mkt_rf": (-0.0002, -1.558),
        "smb": (0.0002, 1.075),
        "hml": (-0.0006, -2.813),
        "mom": (0.0001, 0.08),
    },
    "SASEIDX": {
        "alpha": (0.0006, 3.856),
        "mkt_rf": (-0.0006, -2.804),
        "smb": (0.0006, 1.856),
        "hml": (-0.0002, -0.781),
        "mom": (-0.0002, -0.918),
    },
    "KOSPI": {
        "alpha": (0.0003, 4.034),
        "mkt_rf": (-0.0001, -0.213),
        "smb": (0.0001, 0.182),
        "hml": (-0.0001, -0.148),
        "mom": (-0.0001, -0.538),
    },
}

# Table 7: Sharpe ratio by transfer dimension: mean, standard deviation, median, mean absolute deviation.
DIMENSIONS = (10, 25, 50, 100)
TABLE_7: Mapping[str, Mapping[int, tuple[float, float, float, float]]] = {
    "No Transfer Linear": {
        10: (0.324257, 0.6541, 0.306572, 0.51182),
        25: (0.324257, 0.6541, 0.306572, 0.51182),
        50: (0.324257, 0.6541, 0.306572, 0.51182),
        100: (0.324257, 0.6541, 0.306572, 0.51182),
    },
    "No Transfer LSTM": {
        10: (0.311424, 0.665251, 0.304244, 0.515521),
        25: (0.311424, 0.665251, 0.304244, 0.515521),
        50: (0.311424, 0.665251, 0.304244, 0.515521),
        100: (0.311424, 0.665251, 0.304244, 0.515521),
    },
    "Linear-Linear": {
        10: (0.355600, 0.704641, 0.338981, 0.559216),
        25: (0.333565, 0.702325, 0.314084, 0.552154),
        50: (0.319009, 0.698568, 0.302167, 0.546099),
        100: (0.326090, 0.695066, 0.307922, 0.540111),
    },
    "Linear-LSTM": {
        10: (0.361986, 0.711988, 0.345072, 0.533789),
        25: (0.324842, 0.755392, 0.301769, 0.570677),
        50: (0.320583, 0.725952, 0.303684, 0.537824),
        100: (0.353448, 0.730362, 0.330039, 0.549627),
    },
    "LSTM-Linear": {
        10: (0.370918, 0.715636, 0.354776, 0.572184),
        25: (0.325667, 0.707544, 0.273791, 0.555298),
        50: (0.234741, 0.752143, 0.205637, 0.583648),
        100: (0.228464, 0.722084, 0.188830, 0.573707),
    },
    "LSTM-LSTM": {
        10: (0.279758, 0.70962, 0.275548, 0.562),
        25: (0.275786, 0.699151, 0.227461, 0.552615),
        50: (0.258272, 0.706733, 0.219550, 0.554146),
        100: (0.298445, 0.702126, 0.243308, 0.557717),
    },
}
