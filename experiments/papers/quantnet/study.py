"""The paper's study: draws on the selection block, the chosen ones on several seeds, then the artefacts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from agents.agent import load_agent
from experiments.papers.config import StudyData, as_the_paper_trades, is_late_trained
from experiments.papers.data import priced_panel
from experiments.papers.quantnet.artefacts import write_ablation, write_artefacts
from experiments.papers.quantnet.config import (
    LEARNT,
    RULES,
    QuantNetAblation,
    QuantNetSearch,
    QuantNetStudy,
)
from experiments.papers.quantnet.places import read_places
from experiments.papers.quantnet.tables import StudyRecord
from experiments.running.protocols import Fold, holdout
from experiments.running.runner import run
from experiments.running.search import Search, best, search
from experiments.running.units import Unit, Variant, evaluate
from experiments.storage.records import TrialResult
from experiments.storage.store import RunFolder
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.storage import write_atomically

if TYPE_CHECKING:
    from agents.quantnet.agent import QuantNet

ZERO = "quantnet-shared-zero"  # shared weights that treat every market as one never seen
# The agents whose encoder scores are clustered, the first that was run.
SCORED = ("quantnet", "quantnet-shared")


def study(config: QuantNetStudy) -> Path:
    """Search, train, judge, and write every table and figure; the page.

    Every part is stored as it is finished: a study that was killed goes on where it was.

    Raises:
        ConfigError: a folder that was begun with another configuration.
        DataError: a panel or factors that cannot be used.
    """
    if config.quick:
        config = replace(config, draws=2, seeds=2, steps=40, windows=8)
    learnt = (*LEARNT, *config.trained_late(LEARNT))
    whole, panel = priced_panel(config, config.run_config((*learnt, *RULES), config.seeds, out="run"))
    fold = holdout(panel, calendar=config.calendar)
    searches = [
        _search(config, agent, config.draws, config.budget.options(as_the_paper_trades(agent)))
        for agent in learnt
    ]
    trials = search(searches, [fold], config.out / "trials", jobs=config.jobs)
    chosen = {agent: best(trials, agent) for agent in learnt}
    counts = {"draws": config.draws, "seeds": config.seeds}
    fixed = {one.label: list(one.fixed) for one in searches}
    about = _about(config, counts, trials, chosen, fixed=fixed)
    variants = {one.label: replace(one.variant, options=chosen[one.label]["options"]) for one in searches}
    whole = replace(whole, quick=config.quick)
    folder = RunFolder(run(whole, panel, variants=variants, resume=True, extra=zero_embeddings))
    page = write_artefacts(
        folder,
        config.out,
        study=about,
        scores=encoder_scores(folder, fold),
        places=read_places(config.panel) if config.panel is not None else None,
        factors=config.factors,
        named=config.named or None,
    )
    if config.quick:
        ablation(ablation_of(config))
    return page


def ablation_of(config: QuantNetStudy) -> QuantNetAblation:
    """The quick Table 7 of a study: the same data, blocks, costs and execution."""
    same = {field.name: getattr(config, field.name) for field in fields(StudyData)}
    return QuantNetAblation(**same, quick=True)


def ablation(config: QuantNetAblation) -> Path:
    """Train every variant at every transfer dimension, and write Table 7; the page.

    What the table does not vary is at its default, the same for all.
    """
    if config.quick:
        config = replace(config, seeds=1, dimensions=(10, 25), steps=20, windows=8)
    variants = ablation_variants(config)
    whole, panel = priced_panel(config, config.run_config(tuple(variants), config.seeds, out="ablation"))
    folder = RunFolder(run(replace(whole, quick=config.quick), panel, variants=variants, resume=True))
    return write_ablation(folder, config.out, _about(config, {"seeds": config.seeds}, [], {}))


def ablation_variants(config: QuantNetAblation) -> dict[str, Variant]:
    """Label to agent and options: variants x dimensions, and both No Transfer models."""
    variants: dict[str, Variant] = {}
    for transfer, body in (("linear", "linear"), ("lstm", "linear"), ("linear", "lstm"), ("lstm", "lstm")):
        for dimension in config.dimensions:
            options = {"encoder": body, "decoder": body, "transfer": transfer, "dimension": dimension}
            label = f"quantnet[encoder={body},transfer={transfer},dimension={dimension}]"
            variants[label] = Variant("quantnet", {**options, **config.budget.options("quantnet")})
    for name, body in (("no-transfer-lstm", "lstm"), ("no-transfer-linear", "linear")):
        variants[name] = Variant(name, {"encoder": body, "transfer": None, **config.budget.options(name)})
    return variants


def random_search(config: QuantNetSearch) -> list[TrialResult]:
    """The paper's random search over its configurations; every trial, scored on the selection block.

    Batch size and sequence length are drawn, too; `steps` bounds each training.

    Raises:
        ConfigError: fewer draws than configurations.
    """
    if config.draws < len(config.agents):
        raise ConfigError(f"draws is {config.draws}, expected one at least for each of {len(config.agents)}.")
    _, panel = priced_panel(config, config.run_config(config.agents, 1, out="search"))
    fold = holdout(panel, calendar=config.calendar)
    budget = config.budget
    fixed = {"steps": budget.steps, "epoch": budget.epoch, "patience": budget.patience}
    searches = [
        _search(config, agent, count, fixed)
        for agent, count in zip(config.agents, even_split(config.draws, len(config.agents)), strict=True)
    ]
    trials = search(searches, [fold], config.out / "search", jobs=config.jobs)
    winners = {agent: best(trials, agent) for agent in config.agents}
    given = {one.label: list(one.fixed) for one in searches}
    _about(config, {"draws": config.draws}, trials, winners, fixed=given, name="search.json")
    return trials


def _search(
    config: QuantNetStudy | QuantNetSearch, agent: str, draws: int, fixed: Mapping[str, object]
) -> Search:
    return Search(
        label=agent,
        variant=Variant(
            as_the_paper_trades(agent), train_execution="late" if is_late_trained(agent) else "on-time"
        ),
        trials=range(draws),
        seed=config.seed,
        fixed=fixed,
        execution_lag=config.execution_lag,
        device=config.device,
        population=config.population,
        economics=None,  # the paper chooses by the objective itself
    )


def even_split(total: int, parts: int) -> list[int]:
    """`total` in `parts` that differ by one at most, the larger ones first.

    Examples:
        >>> even_split(200, 6)
        [34, 34, 33, 33, 33, 33]
    """
    return [total // parts + (i < total % parts) for i in range(parts)]


def zero_embeddings(units: Sequence[Unit], folds: Mapping[str, Fold], folder: RunFolder) -> list[Unit]:
    """Judge the trained shared weights once more without their embeddings: known markets as if never seen."""
    added = []
    for unit in units:
        if unit.label != "quantnet-shared" or not folder.has_unit(unit.name):
            continue
        other = replace(unit, label=ZERO)
        if not folder.has_unit(other.name):
            plain = _load_trained(folder, unit.variant.agent, unit.name).without_embeddings()
            days, audit = evaluate(plain, other, folds[other.window])
            folder.write_audit(other.name, audit)
            folder.write_unit(other.name, days, plain)
        added.append(other)
    return added


def encoder_scores(folder: RunFolder, fold: Fold) -> dict[str, FloatArray] | None:
    """Market to [N] mean encoder scores over its test days (Figures 2 and 13), of the first seed."""
    record = folder.record()["agents"]
    name = next((name for name in SCORED if name in record), None)
    if name is None:
        return None
    unit = f"{name}-seed{record[name]['seeds'][0]}"
    if not folder.has_unit(unit):
        return None
    means = {}
    for market, values in _load_trained(folder, name, unit).encoder_scores(fold.test).items():
        days = fold.test.dates[fold.test.markets[market].rows] >= fold.test_start[market]
        means[market] = np.asarray(values[days].mean(axis=0))
    return means


def _load_trained(folder: RunFolder, name: str, unit: str) -> QuantNet:
    """A unit's agent, by the name this study gave it: the folder does not say which class is loaded."""
    return cast("QuantNet", load_agent(name, folder.check_unit(unit) / "checkpoint"))


def _about(
    config: QuantNetStudy | QuantNetAblation | QuantNetSearch,
    counts: Mapping[str, int],
    trials: Sequence[TrialResult],
    chosen: Mapping[str, TrialResult],
    *,
    fixed: Mapping[str, Sequence[str]] | None = None,
    name: str = "study.json",
) -> StudyRecord:
    """What the study spent and chose, as it is written into its folder."""
    budget = {
        **counts,
        "steps at most": config.steps,
        "windows per market and step": config.windows,
        "days of a window": config.length,
        "validation every": f"{config.budget.epoch} steps, patience {config.budget.patience}",
    }
    about: StudyRecord = {"budget": budget, "trials": list(trials), "chosen": dict(chosen)}
    if fixed:
        about["fixed"] = {agent: list(names) for agent, names in fixed.items()}
    if chosen:
        write_atomically(config.out / name, (json.dumps(about, indent=2, default=str) + "\n").encode())
    return about
