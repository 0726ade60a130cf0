"""What the JSON files of a run and of a search hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NotRequired, TypedDict

from qn_env.storage import check_content, read_sealed


class MarketRecord(TypedDict):
    """The blocks of one market in one window."""

    market: str
    assets: int
    train: int
    select: int
    test: int
    test_first: str
    test_last: str
    shortened: bool
    window: NotRequired[str]


class PanelRecord(TypedDict):
    """The data of a run and how they were divided."""

    fingerprint: str
    bars_per_year: NotRequired[float]  # what figures are annualised by
    first: str
    last: str
    assets: int
    notes: list[str]
    windows: list[str]
    markets: list[MarketRecord]


class FindingRecord(TypedDict):
    """One thing about the data that a reader of figures has to know (`qn_env.panel_audit.Finding`)."""

    kind: str
    market: str | None
    assets: list[str]
    first: str
    last: str
    count: int
    detail: str
    severity: str
    effect: str


class CrossRecord(TypedDict):
    """What others' closes say of tomorrow, of one market (`qn_env.panel_audit.CrossAutocorrelation`)."""

    market: str
    others: str
    days: int
    coefficient: float | None
    error: float | None
    p_value: float | None
    p_holm: float | None
    r2: float | None
    r2_late: float | None
    sharpe: float | None
    sharpe_late: float | None
    asynchronous: bool


class PanelAuditRecord(TypedDict):
    """`panel_audit.json`."""

    panel: str
    fingerprint: str
    findings: list[FindingRecord]
    cross_autocorrelations: list[CrossRecord]


class AgentRecord(TypedDict):
    """An agent of a run."""

    agent: str
    options: dict[str, object]
    windows: dict[str, dict[str, object]]
    vol_target: float | None
    train_cost_bps: float
    train_execution: NotRequired[str]
    warmup: int
    learns: bool
    warm_start: NotRequired[bool]
    built_with: NotRequired[dict[str, object]]  # every option, registered ones included
    source: NotRequired[str]  # SHA-256 of the file its class is in
    seeds: list[int]
    way: NotRequired[str]  # what it knows of the markets it is judged on, under `unseen`


class UnseenFoldRecord(TypedDict):
    """One fold of markets: which they are, and what was learnt from for them."""

    window: str
    markets: list[str]
    cut: str  # all that is learnt from lies before it
    learnt: list[str]  # the markets of who learns from others
    without: dict[str, int]  # markets with too few days before the cut to be learnt from, and how many


class UnseenRecord(TypedDict):
    """Folds of markets, and who and what was left out."""

    rule: str
    shots: int
    folds: list[UnseenFoldRecord]
    not_judged: dict[str, str]  # markets that are in no fold, and why
    left_out: list[str]  # agents that play only markets they are trained on


class DeviceRecord(TypedDict):
    """Where the networks of a run were trained: what was asked for, which device it was, its card's name."""

    asked: str
    used: str
    card: str | None


class FailureRecord(TypedDict):
    """Why a unit has no figures."""

    agent: str
    seed: int
    window: NotRequired[str]
    kind: NotRequired[str]
    error: str


class DuplicateRecord(TypedDict):
    """A seed that decides the same as an earlier one, to the byte, and is not counted again."""

    agent: str
    seed: int
    same_as: int


class ConfigRecord(TypedDict):
    """The settings of a run that others than the run itself look at."""

    agents: list[str]
    costs: list[float | str]
    seed: int
    quick: bool
    begin: str | None
    execution_lag: int
    panel: NotRequired[str | None]
    protocol: NotRequired[str]
    calendar: NotRequired[str]
    vol_target: NotRequired[float | None]
    rank_by: NotRequired[str]
    capital: NotRequired[list[float]]
    train_execution: NotRequired[str]
    train_costs: NotRequired[float | str | None]
    warm_start: NotRequired[bool]


class RunRecord(TypedDict):
    """`run.json`."""

    config: ConfigRecord
    panel: PanelRecord
    agents: dict[str, AgentRecord]
    versions: dict[str, str]
    device: NotRequired[DeviceRecord]
    git: dict[str, str | bool] | None
    failed: list[FailureRecord]
    unseen: NotRequired[UnseenRecord]
    duplicates: NotRequired[list[DuplicateRecord]]
    started: str
    seconds: float
    further_trials: NotRequired[int]  # series that were looked at beside those of this run
    manifest: NotRequired[str]


def markets_of(record: RunRecord) -> list[str]:
    """The markets of a run, in the panel's order; its record names each once for every window."""
    return list(dict.fromkeys(row["market"] for row in record["panel"]["markets"]))


class ComparisonRecord(TypedDict):
    """One comparison of an audit."""

    decisions: int


class AuditRecord(TypedDict):
    """`audit.json` of a unit."""

    comparisons: list[ComparisonRecord]
    active: int


class _Trial(TypedDict):
    agent: str
    window: str
    trial: int
    options: dict[str, object]
    vol_target: float | None
    lag: int
    data: list[str]
    cost_bps: NotRequired[float]
    late: NotRequired[bool]
    error: NotRequired[str]
    curve: NotRequired[list[float]]
    bars: NotRequired[list[float]]


class TrialRecord(_Trial):
    """One stored trial of a search; the score of one that failed is null."""

    score: float | None


class TrialResult(_Trial):
    """One trial as it is read; the score of one that failed is minus infinity."""

    score: float


def read_trial(path: Path) -> TrialResult:
    """One stored trial of a search.

    Raises:
        FileError: not readable, or not what was written.
    """
    stored = check_content(path, read_sealed(path), TrialRecord)
    score = stored["score"] if stored["score"] is not None else -math.inf
    return {**stored, "score": score}
