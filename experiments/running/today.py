"""Today's signals: what the trained agents of a finished run decide on the last day of a panel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from agents.agent import (
    Agent,
    last_rows,
    learns,
    load_agent,
    refuse_untrusted,
    signals_from,
    signals_of,
)
from experiments.running.runner import failed_lookahead
from experiments.running.units import Unit, Variant, environment
from experiments.settings.config import BY_DATES
from experiments.storage.positions import Positions
from experiments.storage.records import RunRecord
from experiments.storage.store import RunFolder
from qn_env.arrays import FloatArray, read_only
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, did_you_mean
from qn_env.panel import Panel
from qn_env.tape import Tape


def todays_signals(
    folder: RunFolder,
    label: str,
    panel: Panel,
    *,
    seed: int | None = None,
    trust: Collection[str] = (),
    positions: Positions | None = None,
) -> pd.DataFrame:
    """What an agent of a finished run decides at the last close of every market of a panel.

    A weight is the signal times the volatility scale of the environment, a fraction of the capital of the
    asset's account; a portfolio is their mean over a market's listed assets, then over markets.

    Args:
        folder: the finished run; the agents of its last window are taken.
        label: the agent, as the run calls it.
        panel: its data and later ones.
        seed: of the agent; None: all of them.
        trust: import paths of agents that the folder may name; code that is imported.
        positions: what is held, in the order of the panel; None: what the agent would hold, had it traded the
            panel from the run's last test block on.

    Returns:
        market, asset, date (the market's last), trades (whether the asset does, on that date), signal (mean
        over seeds) and weight, both NaN where it does not trade; and signal_seedS of each of several seeds.
        With positions also held and trade, the weight less what is held; where nothing is decided (no trade
        on that date, or a position decided on it already) the weight is what is held.

    Raises:
        FileError: a file of the run is not what was written.
        ConfigError: a run of folds of markets; an agent that is not registered nor trusted; an agent or a
            seed the run has not, or that failed; a panel older than the run's; markets or assets that a
            trained agent does not know, or lacks.
    """
    record, given = folder.record(), panel
    _refuse_folds(record)
    units = units_of(record, label, seed)
    refuse_untrusted(units[0].variant.agent, folder.path / "run.json", trust)
    agents = {unit.seed: _load(folder, unit) for unit in units}
    if (begin := record["config"]["begin"]) is not None:
        panel = panel.since(begin)
    _refuse_older(record, panel)
    if not _takes_any_market(agents[units[0].seed]):
        panel = _as_trained(panel, _layout(folder, units[0]), label)
    start = _starts(record, units[0].window, panel)
    scale = Tape.of(panel, vol_target=units[0].vol_target).scale
    last, assets = last_rows(panel), np.arange(panel.shape[1])
    if positions is None:
        decided = {u.seed: signals_every_day(agents[u.seed], u, panel, start)[last, assets] for u in units}
    else:
        positions = positions.of(given, panel)
        held = np.divide(
            positions.weight, scale[last, assets], out=np.zeros(len(last)), where=scale[last, assets] > 0.0
        )
        decided = {u.seed: _decided_from(agents[u.seed], u, panel, start, held) for u in units}
    return _table(panel, decided, scale[last, assets], positions)


def signals_every_day(agent: Agent, unit: Unit, panel: Panel, start: Mapping[str, str]) -> FloatArray:
    """[T, N] signals of every day of a panel, its last one too.

    An agent that acts day by day begins as in the run: its warm-up before `start`, the market's first day of
    the test block.
    """
    played, env = _played(agent, unit, panel, start)
    return signals_of(agent, played, env)[: len(panel.dates)]


def _decided_from(
    agent: Agent, unit: Unit, panel: Panel, start: Mapping[str, str], held: FloatArray
) -> FloatArray:
    """[N] signals of the last day of every market, for who holds `held` [N], as signals of that day."""
    played, env = _played(agent, unit, panel, start)
    return signals_from(agent, played, held, env)


def _played(agent: Agent, unit: Unit, panel: Panel, start: Mapping[str, str]) -> tuple[Panel, TradingEnv]:
    """What an agent plays to decide on the panel's last day too, and the environment of it."""
    steps = getattr(agent, "signals", None) is None
    played = _with_a_day_off(panel) if steps else panel
    return played, environment(unit, agent, played, start, 0.0)


def _with_a_day_off(panel: Panel) -> Panel:
    """The panel and one more day, on which no market trades: an episode decides on all days but its last."""
    N = panel.shape[1]
    return replace(
        panel,
        dates=read_only(np.append(panel.dates, panel.dates[-1] + np.timedelta64(1, "D"))),
        returns=read_only(np.vstack([panel.returns, np.full((1, N), np.nan)])),
        tradable=read_only(np.vstack([panel.tradable, np.zeros((1, N), dtype=bool)])),
    )


def _table(
    panel: Panel, decided: Mapping[int, FloatArray], scale: FloatArray, positions: Positions | None
) -> pd.DataFrame:
    """The rows of `todays_signals`, from signals [N] by seed and the scale [N] of the weights."""
    last = last_rows(panel)
    trades = panel.tradable[last, np.arange(len(last))]
    each = {seed: np.where(trades, values, np.nan) for seed, values in decided.items()}
    mean = np.mean(list(each.values()), axis=0)
    table = pd.DataFrame(
        {
            "market": panel.market_of,
            "asset": panel.assets,
            "date": panel.dates[last].astype(str),
            "trades": trades,
            "signal": mean,
            "weight": mean * scale,
        }
    )
    if positions is not None:
        new = trades & ~(positions.date == panel.dates[last])
        weight = np.where(new, table["weight"], positions.weight)
        table = table.assign(weight=weight, held=positions.weight, trade=weight - positions.weight)
    several = each if len(each) > 1 else {}
    return table.assign(**{f"signal_seed{seed}": values for seed, values in several.items()})


def units_of(record: RunRecord, label: str, seed: int | None) -> list[Unit]:
    """The units of an agent in the run's last window, of the seeds that finished all windows."""
    if label not in record["agents"]:
        raise ConfigError(f"the run has no agent {label!r}. {did_you_mean(label, record['agents'])}")
    about, config = record["agents"][label], record["config"]
    failures = {f["seed"]: f["error"] for f in record["failed"] if f["agent"] == label}
    seeds = [s for s in about["seeds"] if s not in failures]
    if not seeds or label in failed_lookahead(record["failed"]):
        raise ConfigError(f"agent {label!r} failed in the run: {next(iter(failures.values()))}")
    if seed is not None and seed not in seeds:
        why = failures.get(seed, "the run did not train it")
        raise ConfigError(f"agent {label!r}, seed {seed}: {why}. Seeds: {', '.join(map(str, seeds))}.")
    variant = Variant(about["agent"], about["options"], about["windows"])
    window = record["panel"]["windows"][-1]
    return [
        Unit(label, variant, s, about["vol_target"], window, config["quick"], config["execution_lag"])
        for s in seeds
        if seed in (None, s)
    ]


def _load(folder: RunFolder, unit: Unit) -> Agent:
    """The agent of a unit, from its checkpoint; one that learns nothing may be built anew."""
    checkpoint = folder.checkpoint(unit.name)
    if checkpoint is not None:
        return load_agent(unit.variant.agent, checkpoint)
    agent = unit.agent()
    if learns(agent):
        raise ConfigError(
            f"{folder.unit(unit.name) / 'checkpoint'}: not found, and agent {unit.label!r} learns. An "
            "agent that is to be used after a run has the methods save and load."
        )
    return agent


def _takes_any_market(agent: Agent) -> bool:
    """Whether nothing that an agent has learnt belongs to a market or an asset.

    So it is with rules, and with networks that read one asset at a time.
    """
    from agents.closed.stepwise import Stepwise
    from agents.dmn import DeepMomentum
    from agents.layers import unwrapped

    return not learns(agent) or isinstance(unwrapped(agent), DeepMomentum | Stepwise)


def _layout(folder: RunFolder, unit: Unit) -> dict[str, tuple[str, ...]]:
    """The markets and their assets that a unit was judged on, in order."""
    pairs = folder.unit_days(unit.name)[["market", "asset"]].drop_duplicates()
    return {str(name): tuple(own) for name, own in pairs.groupby("market", sort=False)["asset"]}


def _as_trained(panel: Panel, layout: Mapping[str, Sequence[str]], label: str) -> Panel:
    """The panel with its markets in the order of the training.

    Raises:
        ConfigError: a market or an asset that one of them lacks, assets in another order.
    """
    for name in layout:
        if name not in panel.markets:
            raise ConfigError(f"market {name!r} is not in the panel, and {label!r} was trained with it.")
    for name, market in panel.markets.items():
        if name not in layout:
            raise ConfigError(
                f"market {name!r} was never seen by {label!r}; leave it out with --exclude {name!r}, or run "
                "the comparison again with it."
            )
        if market.assets != layout[name]:
            raise ConfigError(
                f"market {name!r} has the assets {', '.join(market.assets)}, expected the ones {label!r} was "
                f"trained with, in their order: {', '.join(layout[name])}."
            )
    return panel.select(layout)


def _refuse_folds(record: RunRecord) -> None:
    """Refuse a run of folds of markets: each of its agents was trained for one of them."""
    if "unseen" in record:
        raise ConfigError(
            "the run learns for every fold of markets on the others, and no agent of it knows all markets; "
            f"train one to be used by a run under {', '.join(BY_DATES)}."
        )


def _refuse_older(record: RunRecord, panel: Panel) -> None:
    """Refuse a panel, or a market of the run, that ends before the data of the run do."""
    last = {row["market"]: row["test_last"] for row in record["panel"]["markets"]}
    ends = {name: str(panel.dates[m.rows[-1]]) for name, m in panel.markets.items() if len(m.rows)}
    ends_of = [("the panel", str(panel.dates[-1]), record["panel"]["last"])]
    ends_of += [(f"market {name!r}", end, last[name]) for name, end in ends.items() if name in last]
    for what, end, expected in ends_of:
        if end < expected:
            raise ConfigError(
                f"{what} ends on {end}, older than the model's data, which end on {expected}; expected a "
                "panel that goes on from there."
            )


def _starts(record: RunRecord, window: str, panel: Panel) -> dict[str, str]:
    """The first test day of every market in a window; of a market the run has not, the earliest of them."""
    rows = [row for row in record["panel"]["markets"] if row.get("window", "") == window]
    tested = {str(row["market"]): str(row["test_first"]) for row in rows}
    return {name: tested.get(name, min(tested.values())) for name in panel.markets}


def continues(record: RunRecord, panel: Panel) -> bool:
    """Whether the panel holds the data of the run, up to their last day."""
    same: bool = panel.until(record["panel"]["last"]).fingerprint == record["panel"]["fingerprint"]
    return same
