"""Look-ahead audit of an environment: whatever happens after a day must not reach what is seen by then.

The environment is built on its own panel and on panels whose days after a random one were changed. The same
episode is played on both, side by side, and everything up to that day has to agree bit for bit.

What the audit takes as known in advance: each market's own calendar, and the last observation of an asset
that does not trade on the day (the accounting books a delisting by it). What it cannot see: data that an
environment does not take from its panel, such as a file, or an array that a wrapper was given.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from qn_env.arrays import FloatArray, Numbers
from qn_env.checks import MOST_AUDITED, MOST_FIRST_SEED, check_whole, in_words, is_function
from qn_env.errors import ConfigError, LookAheadError
from qn_env.panel import Panel
from qn_env.rebuild import AnyEnv, rebuilt
from qn_env.scramble import KINDS, scramble
from qn_env.setup import Info

AnySpace: TypeAlias = spaces.Space[object]
Rebuild: TypeAlias = Callable[[Panel], AnyEnv]
Policy: TypeAlias = Callable[[object], object]  # observation -> action
PolicyMaker: TypeAlias = Callable[[AnySpace, int], Policy]
Check: TypeAlias = Literal["repeat", "episodes", "future"]

_ABSENT = "absent"
_WALL_CLOCK = "info['episode']['t']"  # Gymnasium's RecordEpisodeStatistics: seconds since its creation
_SHOWN = 8  # findings a report prints
_RANK = 8  # of the random linear policy's weights, so that a large observation stays cheap


@dataclass(frozen=True)
class Finding:
    """One thing that was not the same twice.

    Attributes:
        check: "future": it changed when later days were changed; "repeat": when the same episode was played
            by a second environment; "episodes": when other episodes came before.
        what: the part of the observation, the reward, terminated or truncated, or the field of info.
        date: the day of the step, the first one on which anything differs.
        asset: market/asset, or None where the value belongs to none.
        value: the value on the environment's own panel.
        other: the value it was compared with.
        scrambled_after: the day after which everything was changed; None for the other checks.
    """

    check: Check
    what: str
    date: str
    asset: str | None
    value: object
    other: object
    scrambled_after: str | None = None

    def __str__(self) -> str:
        where = f"{self.what} of {self.asset}" if self.asset else self.what
        why = {
            "future": f"after the days later than {self.scrambled_after} were changed",
            "repeat": "when the same episode was played again",
            "episodes": "when other episodes had been played before",
        }[self.check]
        return f"{self.date}: {where} was {self.value!s}, and {self.other!s} {why}"


@dataclass(frozen=True)
class AuditReport:
    """What an audit compared and found.

    Attributes:
        days: the days after which the panel was scrambled, the episode's first day among them.
        steps: steps compared, over all pairs of episodes.
        findings: in the order they were found; empty when the environment passes.
    """

    days: tuple[str, ...]
    steps: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Nothing differed."""
        return not self.findings

    def raise_if_failed(self) -> None:
        """Raise with the findings as text.

        Raises:
            LookAheadError: there are findings.
        """
        if not self.passed:
            raise LookAheadError(str(self))

    def __str__(self) -> str:
        if self.passed:
            return (
                f"No look-ahead found: {self.steps} steps compared, with the days after each of "
                f"{', '.join(self.days)} changed."
            )
        peeks = self.findings[0].check == "future"
        verdict = (
            "Look-ahead: what is seen or paid on a day depends on later days."
            if peeks
            else "Not reproducible, so not audited: the same actions from the same seed give another episode."
        )
        lines = [f"  {finding}" for finding in self.findings[:_SHOWN]]
        rest = len(self.findings) - _SHOWN
        return "\n".join([verdict, *lines, *([f"  and {rest} more findings"] if rest > 0 else [])])


def check_no_lookahead(
    env: AnyEnv, *, days: int = 3, seed: int = 0, rebuild: Rebuild | None = None
) -> AuditReport:
    """Whether everything an environment shows and pays by a day is the same whatever happens afterwards.

    First the environment has to play the same episode twice, also with another episode in between. Then its
    panel is scrambled after each of `days` random days of the episode, and after its first day, in four
    ways each (`qn_env.scramble`: other returns, a crash, a boom, a calm; observations and whole assets taken
    away), and an episode with actions drawn in advance, and one with actions from a random linear policy of
    the observation, must be the same up to that day. `env` itself is reset and played once.

    Args:
        env: any Gymnasium environment around a panel: `env.unwrapped.panel` and `info["date"]` are read.
        days: random days to scramble after, spread over the episode.
        seed: of the days, the scrambling and the actions; also given to `reset`.
        rebuild: builds the same environment on another panel. Default: what Gymnasium recorded when it was
            made, or the constructor's arguments of a bare `TradingEnv`, and of every wrapper that records
            its own (`gymnasium.utils.RecordConstructorArgs`).

    Raises:
        ConfigError: an environment that cannot be rebuilt or is another one when rebuilt, or without panel
            or date.
    """
    days, seed = check_whole("days", days, 1, MOST_AUDITED), check_whole("seed", seed, 0, MOST_FIRST_SEED)
    if rebuild is not None and not is_function(rebuild):
        raise ConfigError(f"rebuild is {in_words(rebuild)}, expected a function that takes a panel.")
    panel = _panel_of(env)
    build = _check_panels(rebuild if rebuild is not None else lambda other: rebuilt(env, other))
    audit = _Audit(env, panel, build, seed)
    audit.repeat()
    if not audit.findings:
        for day in (audit.dates[0], *_random_days(audit.dates, days, seed)):
            audit.future(day)
    return AuditReport(tuple(audit.scrambled), audit.steps, tuple(audit.findings))


class _Audit:
    """One audit under way: what was compared and found so far."""

    def __init__(self, env: AnyEnv, panel: Panel, build: Rebuild, seed: int) -> None:
        self.env, self.panel, self.build, self.seed = env, panel, build, seed
        self.own = build(panel)
        self.steps = 0
        self.dates: list[str] = []  # of the episode that `seed` starts
        self.scrambled: list[str] = []
        self.findings: list[Finding] = []

    def repeat(self) -> None:
        """The same episode from a second environment, then after other episodes, then from `env` itself."""
        checks: tuple[Check, ...] = ("repeat", "episodes")
        for check in checks:
            self.dates = self._compare(self.build(self.panel), _drawn, self.seed, check)
            if self.findings:
                return
            self._play_another()
        self._compare(self.env, _drawn, self.seed, "episodes")
        if self.findings:
            raise ConfigError(
                "rebuilt on its own panel, the environment plays otherwise than the one given "
                f"({self.findings[0]}). Pass rebuild=, a function that builds the same one on another panel."
            )

    def future(self, day: str) -> None:
        """Both kinds of actions on panels scrambled after `day`."""
        self.scrambled.append(day)
        for number, kind in enumerate(KINDS):
            chance = int(
                np.random.SeedSequence([self.seed, len(self.scrambled), number]).generate_state(1)[0]
            )
            try:
                other = self.build(scramble(self.panel, np.datetime64(day), kind, chance))
                for policy in (_drawn, _linear):
                    self._compare(other, policy, chance, "future", until=day)
            except Exception as error:
                error.add_note(
                    f"The audit was playing the environment with the days later than {day} changed; an "
                    "environment that fails on such data but not on its own panel cannot be audited."
                )
                raise

    def _compare(
        self, other: AnyEnv, policy: PolicyMaker, chance: int, check: Check, *, until: str | None = None
    ) -> list[str]:
        """Play both environments side by side up to a day or the first difference; the dates played."""
        act = policy(other.action_space, chance)
        ours, theirs = _reset(self.own, self.seed), _reset(other, self.seed)
        dates: list[str] = []
        while until is None or min(ours.date, theirs.date) <= until:
            dates.append(ours.date)
            self.steps += 1
            if differing := list(_differences(self.panel, ours, theirs, check, until)):
                self.findings += [f for f in differing if not _is_known(f, self.findings)]
                break
            if ours.over:
                break
            # What was observed is the same, so the action is.
            action = act(ours.observation)
            ours, theirs = _step(self.own, action), _step(other, copy.copy(action))
        return dates

    def _play_another(self) -> None:
        """An episode of other actions, for the next comparison to come after."""
        act = _linear(self.own.action_space, self.seed + 1)
        moment = _reset(self.own, self.seed + 1)
        while not moment.over:
            moment = _step(self.own, act(moment.observation))


def _is_known(finding: Finding, findings: list[Finding]) -> bool:
    """The other kind of actions has found it already."""
    return any(
        (f.what, f.date, f.asset, f.scrambled_after)
        == (finding.what, finding.date, finding.asset, finding.scrambled_after)
        for f in findings
    )


class _Moment(NamedTuple):
    """What an environment gave at one reset or step."""

    date: str
    observation: object
    reward: object
    terminated: object
    truncated: object
    info: Info

    @property
    def over(self) -> bool:
        return bool(self.terminated or self.truncated)

    def parts(self) -> dict[str, object]:
        """Every leaf of what was given, by name."""
        named = dict(_parts("observation", self.observation))
        named.update(reward=self.reward, terminated=self.terminated, truncated=self.truncated)
        named.update(_parts("info", self.info))
        named.pop(_WALL_CLOCK, None)
        return named


def _reset(env: AnyEnv, seed: int) -> _Moment:
    observation, info = env.reset(seed=seed)
    return _Moment(_date(info), observation, 0.0, terminated=False, truncated=False, info=info)


def _step(env: AnyEnv, action: object) -> _Moment:
    observation, reward, terminated, truncated, info = env.step(action)
    return _Moment(_date(info), observation, reward, terminated, truncated, info)


def _date(info: Info) -> str:
    if "date" not in info:
        raise ConfigError("info has no 'date'; the audit needs the day of every step (YYYY-MM-DD).")
    return str(info["date"])


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings and sequences, by a name such as info['cost']."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _parts(f"{name}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _parts(f"{name}[{i}]", inner)
    else:
        yield name, value


def _differences(
    panel: Panel, ours: _Moment, theirs: _Moment, check: Check, until: str | None
) -> Iterator[Finding]:
    """One finding for every part of a moment that is not the same."""
    left, right = ours.parts(), theirs.parts()
    for name in dict.fromkeys([*left, *right]):
        a, b = left.get(name, _ABSENT), right.get(name, _ABSENT)
        if _same(a, b):
            continue
        asset, value, other = None, a, b
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            asset, value, other = _first_difference(panel, a, b)
        yield Finding(check, name, min(ours.date, theirs.date), asset, value, other, until)


def _same(a: object, b: object) -> bool:
    """Equal bit for bit; objects that compare by identity only say nothing and count as equal."""
    if type(a) is not type(b):
        return False
    if hasattr(a, "__array__") and np.asarray(a).dtype != object:
        x, y = np.asarray(a), np.asarray(b)
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    by_identity = vars(object)["__eq__"]
    return type(a).__eq__ is by_identity or bool(np.all(a == b)) or (a != a and b != b)


def _first_difference(panel: Panel, a: Numbers, b: Numbers) -> tuple[str | None, object, object]:
    """The asset of the first entry that differs, if an axis is that of the assets, and both entries."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return None, f"{a.dtype}{list(a.shape)}", f"{b.dtype}{list(b.shape)}"
    if a.dtype == object:
        return None, a, b
    bits = [np.frombuffer(x.tobytes(), np.uint8).reshape(-1, x.itemsize) for x in (a, b)]
    index = np.unravel_index(int(np.argmax((bits[0] != bits[1]).any(axis=1))), a.shape)
    # Assets are the last axis, or the one before the features.
    N = panel.shape[1]
    axes = [i for i in ((1, 2, 0) if a.ndim == 3 else range(a.ndim - 1, -1, -1)) if a.shape[i] == N]
    asset = None
    if axes:
        j = int(index[axes[0]])
        asset = f"{panel.market_of[j]}/{panel.assets[j]}"
    return asset, a[index], b[index]


def _drawn(space: AnySpace, chance: int) -> Policy:
    """Actions drawn in advance, whatever is observed."""
    own = copy.deepcopy(space)
    own.seed(chance)
    return lambda observation: own.sample()


def _linear(space: AnySpace, chance: int) -> Policy:
    """Actions computed from the observation: linear with random weights; in a space without, by its hash."""
    if not isinstance(space, spaces.Box):
        own = copy.deepcopy(space)

        def hashed(observation: object) -> object:
            own.seed(zlib.crc32(_flat(observation).tobytes()))
            return own.sample()

        return hashed
    rng = np.random.default_rng(chance)
    low, high = (np.where(np.isfinite(b), b, s) for b, s in ((space.low, -1.0), (space.high, 1.0)))
    outer = rng.standard_normal((low.size, _RANK))
    inner = np.empty((0, 0))

    def linear(observation: object) -> object:
        nonlocal inner
        x = _flat(observation)
        if not inner.size:
            inner = rng.standard_normal((_RANK, x.size)) / np.sqrt(x.size)
        signals = np.tanh(outer @ (inner @ x)).reshape(low.shape)
        return np.clip(low + (signals + 1.0) / 2.0 * (high - low), low, high).astype(space.dtype)

    return linear


def _flat(observation: object) -> FloatArray:
    """[n] every number of an observation, squashed into (-1, 1) so that small returns have a say."""
    values = [np.asarray(value, dtype=np.float64).ravel() for _, value in _parts("", observation)]
    x = np.nan_to_num(np.concatenate(values))
    squashed: FloatArray = x / (np.abs(x) + 0.01)
    return squashed


def _random_days(dates: list[str], days: int, seed: int) -> list[str]:
    """So many days of an episode but its last, one from each stretch of equal length."""
    if len(dates) < 2:
        raise ConfigError("the episode ends where it begins; the audit needs at least one step.")
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, len(dates) - 1, days + 1).astype(int)
    rows = [int(rng.integers(a, max(a + 1, b))) for a, b in pairwise(edges)]
    return [dates[row] for row in sorted(set(rows))]


def _panel_of(env: AnyEnv) -> Panel:
    panel = getattr(getattr(env, "unwrapped", None), "panel", None)
    if not isinstance(env, gymnasium.Env) or not isinstance(panel, Panel):
        raise ConfigError(
            f"{type(env).__name__} cannot be audited: expected a Gymnasium environment (a single one, not a "
            "vector of them) whose env.unwrapped.panel is its Panel."
        )
    return panel


def _check_panels(build: Rebuild) -> Rebuild:
    """The same function, refusing an environment that does not play the panel it was given."""

    def checked(panel: Panel) -> AnyEnv:
        env = build(panel)
        if _panel_of(env).fingerprint != panel.fingerprint:
            raise ConfigError("rebuild returned an environment on another panel than the one it was given.")
        return env

    return checked
