"""Look-ahead audit of a trained agent: what it decides by a day must not change with what comes afterwards.

The agent plays its days twice, and then panels whose days after a random one were changed. Up to that day its
signals have to agree bit for bit wherever they are taken: on a day on which an asset is closed, or its
account not open yet, an action is ignored and nothing is compared.

What the audit takes as known in advance: the dates, and each market's own calendar. What it cannot see: data
that an agent does not take from its environment, such as a file it reads by itself; they stay as they are
when the panel changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from agents.agent import Agent, play, signals_of
from qn_env.arrays import FloatArray
from qn_env.checks import MOST_AUDITED, MOST_FIRST_SEED, check_is, check_known, check_whole, in_words
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, LookAheadError
from qn_env.panel import Panel
from qn_env.scramble import KINDS, scramble

# In turn where a day is given one only: a crash and a boom come first, they show a peek at a mere sign.
CHANGES = dict(
    zip(("a crash", "a boom", "a calm", "other returns"), (*KINDS[1:], KINDS[0]), strict=True),
)
Depth: TypeAlias = Literal["brief", "full"]  # one change after each day, or every one

_DRAWS = 8  # days drawn for every one that is taken
_ROUNDING = 1e-6  # differences that are below it all are no decision


class Comparison(NamedTuple):
    """Two passes that agreed: what the second one was, and the decisions that were compared."""

    what: str
    decisions: int

    def __str__(self) -> str:
        return f"the same {self.what} ({self.decisions} decisions)"


@dataclass(frozen=True, eq=False)
class AgentAudit:
    """What an agent decided and how it was audited; who gets one has an agent that passed.

    Attributes:
        signals: [T, N] of the first pass, as `agents.agent.signals_of` gives them.
        comparisons: in the order they were made.
        around: assets that traded on one of the days and the next; a peek at one day ahead shows in them.
        assets: assets that decided at all.
        active: decisions that were not 0.
    """

    signals: FloatArray
    comparisons: tuple[Comparison, ...]
    around: int
    assets: int
    active: int

    def __str__(self) -> str:
        lines = [f"No look-ahead found, in {len(self.comparisons)} comparisons:"]
        lines += [f"  {comparison}" for comparison in self.comparisons]
        lines += [f"{self.around} of {self.assets} assets traded on a day before a change and on the next."]
        if not self.active:
            lines += ["Every signal was 0, and an agent that never trades shows nothing."]
        return "\n".join(lines)


def audit_agent(
    agent: Agent, env: TradingEnv, *, days: int = 3, seed: int = 0, depth: Depth = "brief"
) -> AgentAudit:
    """Play a trained agent, and play it again to see whether its decisions depend on later days.

    Two passes in a row over `env`'s panel have to be equal. Then the panel is scrambled after each of `days`
    random days (`qn_env.scramble`: other returns, observations and whole assets taken away), and a copy of
    the agent has to decide the same up to that day. The agent plays as the harness lets it: in one pass where
    it has `signals`, else step by step, and then only up to the day.

    Args:
        agent: trained; played twice.
        env: what it is judged on, from the first day to the last; reset and played.
        days: random days to scramble after, spread over the decisions.
        seed: of the days and the scrambling.
        depth: "brief" makes one change after each day, "full" every kind of change.

    Returns:
        The audit of an agent that passed, with the signals of its first pass.

    Raises:
        LookAheadError: it did not pass; with the first day and asset on which it decided otherwise.
        ConfigError: signals that cannot be used, an environment that plays a part of its panel only.
    """
    check_numbers(days, seed)
    check_known("depth", depth, get_args(Depth))
    if not isinstance(agent, Agent):
        raise ConfigError(f"agent is {in_words(agent)}, expected a trained agent (fit, reset, act).")
    check_is("env", env, TradingEnv, "a TradingEnv")
    if env.config.random_start or env.config.episode_days is not None:
        raise ConfigError(
            "the audit of an agent needs an environment that plays to the end of its panel; leave "
            "random_start and episode_days out."
        )
    # As it was before its first pass: what that one leaves behind must not answer for the others.
    untouched = _copy(agent)
    signals = signals_of(agent, env.panel, env).copy()
    second = signals_of(agent, env.panel, env)
    made = [compare_decisions(env, signals, second, "in a second pass over the same days", REPEAT)]
    rows = _rows(env, days, seed)
    for number, (row, change) in enumerate(_plan(rows, depth)):
        chance = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        day = env.panel.dates[row]
        other = scramble(env.panel, day, CHANGES[change], chance)
        signals_then = _played_until(row, _copy(untouched), env, other)
        what = f"after the days later than {day} were changed ({change})"
        made.append(compare_decisions(env, signals, signals_then, what, FUTURE))
    taken = env.tape.decides
    met = (taken[rows] & env.panel.tradable[[row + 1 for row in rows]]).any(axis=0)
    decided = taken.any(axis=0)
    active = int(np.count_nonzero(signals[taken]))
    return AgentAudit(signals, tuple(made), int(met.sum()), int(decided.sum()), active)


def check_numbers(days: int, seed: int) -> None:
    """Refuse numbers that no audit can use.

    Raises:
        ConfigError: no day or more than any episode has, a negative seed, or no whole number.
    """
    check_whole("days", days, 1, MOST_AUDITED)
    check_whole("seed", seed, 0, MOST_FIRST_SEED)


REPEAT = "Not reproducible, so not audited: the same agent decides otherwise on the same data."
FUTURE = "Look-ahead: what the agent decides on a day depends on later days."


def compare_decisions(
    env: TradingEnv, signals: FloatArray, other: FloatArray, what: str, verdict: str
) -> Comparison:
    """Hold the signals of another pass [t, N], which may end early, against the first [T, N].

    Args:
        env: what was played; it says which signals are taken.
        signals: of the first pass.
        other: of the other one.
        what: the other one, in words that follow "the signal was 1, and 0".
        verdict: what a difference means.

    Raises:
        LookAheadError: a difference, on its first day.
    """
    until = len(other)
    taken, first = env.tape.decides[:until], signals[:until]
    # Written so that NaN is a difference.
    differs = taken & ~(first == other)
    if not differs.any():
        return Comparison(what, int(taken.sum()))
    t, j = np.argwhere(differs)[0]
    panel = env.panel
    text = (
        f"{verdict} On {panel.dates[t]} the signal for {panel.market_of[j]}/{panel.assets[j]} was "
        f"{first[t, j]}, and {other[t, j]} {what} ({differs.sum()} of {taken.sum()} decisions differ)."
    )
    if (np.abs(first - other)[differs] < _ROUNDING).all():
        text += (
            " No difference is larger than rounding: a matrix product rounds by its shape, so work through "
            "the days in pieces of one length, whatever comes later."
        )
    raise LookAheadError(text)


def _copy(agent: Agent) -> Agent:
    """A copy; the agent itself where it holds something that cannot be copied, such as an open file."""
    try:
        return copy.deepcopy(agent)
    except (TypeError, RuntimeError, copy.Error):
        return agent


def _rows(env: TradingEnv, days: int, seed: int) -> list[int]:
    """Rows to scramble after, one from each stretch of the decisions, in time order.

    Of the days drawn from a stretch the one is taken around which most assets trade that no earlier one met.
    """
    rng = np.random.default_rng(seed)
    decides = env.tape.decides[:-1]
    around = decides & env.panel.tradable[1:]
    candidates = np.flatnonzero(decides.any(axis=1))
    met = np.zeros(decides.shape[1], dtype=bool)
    rows = []
    for stretch in np.array_split(candidates, min(days, len(candidates))):
        drawn = rng.choice(stretch, size=min(_DRAWS, len(stretch)), replace=False)
        news = (around[drawn] & ~met).sum(axis=1)
        rows.append(int(drawn[np.argmax(news)]))
        met |= around[rows[-1]]
    return rows


def _plan(rows: list[int], depth: Depth) -> Iterator[tuple[int, str]]:
    """(row, name of a change) of every pass."""
    names = list(CHANGES)
    for i, row in enumerate(rows):
        for change in names if depth == "full" else [names[i % len(names)]]:
            yield row, change


def _played_until(row: int, agent: Agent, env: TradingEnv, panel: Panel) -> FloatArray:
    """Signals [row + 1, N] on another panel; what comes later need not even be signals."""
    one_pass = getattr(agent, "signals", None)
    try:
        if one_pass is not None:
            signals = np.asarray(one_pass(panel), dtype=np.float64)
        else:
            signals = play(agent, env.like(panel=panel, episode_days=row - env.setup.first + 1))
    except Exception as error:
        error.add_note(
            f"The audit was playing the agent with the days later than {panel.dates[row]} changed; an agent "
            "that fails on such data but not on its own cannot be audited."
        )
        raise
    if signals.shape != panel.shape:
        raise ConfigError(
            f"with the days later than {panel.dates[row]} changed, the agent's signals have shape "
            f"{signals.shape}, expected {panel.shape}."
        )
    return signals[: row + 1]
