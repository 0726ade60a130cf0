"""The context sequences of X-Trend: where histories are cut, and which of them a day may look at."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from agents.training import Monitor
from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE, context_sets, draw_earlier
from agents.xtrend.course import Course
from agents.xtrend.cutting import Regimes, Tiles, _segments, features_of, library_of
from agents.xtrend.history import DEFINED, FEATURES, LARGEST, N_INPUTS, SIGMA, History
from agents.xtrend.network import UNKNOWN, XTrendNetwork
from agents.xtrend.sequences import Library
from agents.xtrend.windows import PADDING, Places, Windows
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged
from tests.gappy import gappy

SEEDS = range(4)
SMALL: dict[str, Any] = {"hidden": 4, "context_days": 5, "recent": 3, "earlier": 2, "renew": 7, "length": 20}
CHANGES = {"contexts": "changepoints", "look_back": 10, "shortest": 2, "threshold": 0.5}


@lru_cache
def market(seed: int) -> Panel:
    return gappy(seed, halts=True) if seed == 0 else ragged(days=240, seed=seed)


def config(**options: Any) -> XTrendConfig:
    return XTrendConfig(**{**SMALL, **options})


def ends_by_asset(library: Library) -> dict[int, list[int]]:
    found = library.sequences
    return {
        int(j): found.length[found.asset == j][np.argsort(found.start[found.asset == j])].tolist()
        for j in np.unique(found.asset)
    }


# The days of a panel.


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_holds_every_assets_own_days_with_their_next_returns(seed: int) -> None:
    panel = market(seed)
    features, history = panel.features(FEATURES), History.of(panel)
    place = 0
    for j in range(panel.shape[1]):
        own = np.flatnonzero(panel.tradable[:, j])
        assert history.first[j] == place
        for k, t in enumerate(own):
            if not features[t, j, DEFINED] > 0:
                continue
            np.testing.assert_array_equal(history.inputs[place], features[t, j, :N_INPUTS].astype(np.float32))
            assert (history.asset[place], history.row[place]) == (j, t)
            if k + 1 < len(own):
                earned = panel.returns[own[k + 1], j] / features[t, j, SIGMA]
                assert history.known[place] == own[k + 1]
                assert history.label[place] == pytest.approx(np.clip(earned, -LARGEST, LARGEST), rel=1e-6)
            else:
                assert (history.known[place], history.label[place]) == (len(panel.dates), 0.0)
            place += 1
    assert place == len(history.row) == history.first[-1] > 100


# Cuts.


@pytest.mark.parametrize("seed", SEEDS)
def test_fixed_stretches_tile_each_assets_own_days_and_end_when_their_last_next_return_is_known(
    seed: int,
) -> None:
    panel = market(seed)
    library = library_of(panel, config())
    history, found = library.history, library.sequences
    assert (np.diff(found.ended) >= 0).all()
    N = panel.shape[1]
    expected = []
    for j in range(N):
        days = [
            d for d in range(history.first[j], history.first[j + 1]) if history.known[d] < len(panel.dates)
        ]
        size = 5 - 5 * j // N
        while len(days) >= size:
            expected.append((j, days[0], size, history.known[days[size - 1]]))
            days, size = days[size:], 5
    given = zip(found.asset, found.start, found.length, found.ended, strict=True)
    assert sorted(expected) == sorted(tuple(map(int, one)) for one in given)


@pytest.mark.parametrize("options", [{}, CHANGES], ids=["fixed", "changepoints"])
def test_later_days_neither_move_nor_remove_a_sequence(options: dict[str, Any]) -> None:
    panel = noise(markets=1, assets=2, days=110, seed=5)
    whole = library_of(panel, config(**options))
    for day in (60, 83, 101):
        part = library_of(panel.until(panel.dates[day]), config(**options))
        before = whole.sequences.ended <= day
        for name in ("asset", "length", "ended"):
            np.testing.assert_array_equal(
                getattr(part.sequences, name), getattr(whole.sequences, name)[before], err_msg=name
            )
        ours, theirs = (lib.history.row[lib.sequences.start] for lib in (part, whole))
        np.testing.assert_array_equal(ours, theirs[before])
    assert len(whole.sequences) > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_stretches_that_are_cut_as_days_come_are_those_that_are_cut_at_once(seed: int) -> None:
    panel = market(seed)
    library = library_of(panel, config())
    history = library.history
    for j, at_once in ends_by_asset(library).items():
        tiles, waiting, lengths = Tiles(j, panel.shape[1], 5), 0, []
        for _ in range(history.first[j], history.first[j + 1]):
            waiting += 1
            for full in tiles(np.zeros((waiting, 1))):
                lengths.append(full)
                waiting -= full
        # At once only those whose last next return is known.
        assert at_once in (lengths, lengths[:-1])


@pytest.mark.parametrize("seed", range(30))
def test_regimes_that_are_cut_as_days_come_are_those_that_are_cut_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    threshold, longest = float(rng.choice([0.3, 0.8, 0.95])), int(rng.integers(2, 30))
    asked = config(**{**CHANGES, "threshold": threshold, "context_days": longest})
    days = np.zeros((120, len(FEATURES) + 2))
    days[:, -2], days[:, -1] = rng.random(120), rng.random(120)
    days[rng.random(120) < 0.1, -2:] = np.nan
    whole = _segments(days[:, -2], days[:, -1], asked)
    cut, begin, found = Regimes(asked), 0, []
    for t in range(120):
        for length in cut(days[begin : t + 1]):
            found.append((begin, begin + length, t))
            begin += length
    assert found == [tuple(one) for one in whole]
    assert len(found) > 3


# Which of them a day may look at.


@pytest.mark.parametrize("seed", range(10))
def test_a_set_holds_the_latest_that_had_ended_before_the_day_and_some_from_before_these(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ended = np.sort(rng.integers(-30, 200, 60))
    recent, earlier, renew = (int(n) for n in (rng.integers(1, 8), rng.integers(0, 6), rng.integers(1, 40)))
    rows = np.arange(200)
    sets = context_sets(ended, rows, recent=recent, earlier=earlier, renew=renew)
    assert sets.shape == (200, recent + earlier)
    for t in rows:
        usable = [p for p in range(60) if ended[p] < t]
        latest = usable[::-1][:recent]
        assert [p for p in sets[t, :recent] if p != NONE] == latest
        among = [p for p in range(60) if ended[p] < t // renew * renew][:-recent]
        drawn = [p for p in sets[t, recent:] if p != NONE]
        assert len(set(drawn)) == len(drawn) == min(earlier, len(among))
        assert set(drawn) <= set(among) <= set(usable) - set(latest)
        np.testing.assert_array_equal(sets[t, recent:], sets[t // renew * renew, recent:])
    # Which sequences end later changes nothing.
    later = np.sort(np.concatenate([ended[ended < 120], rng.integers(120, 200, 90)]))
    again = context_sets(later, rows[:121], recent=recent, earlier=earlier, renew=renew)
    np.testing.assert_array_equal(again, sets[:121])


def test_before_the_first_sequence_there_is_nothing_to_look_at() -> None:
    sets = context_sets(np.array([5, 5, 9]), np.arange(12), recent=2, earlier=1, renew=4)
    np.testing.assert_array_equal(sets[:6], NONE)
    assert sets[6].tolist() == [1, 0, NONE], "both ended on the day before"
    assert sets[10].tolist() == [2, 1, NONE], "on row 8, where the block begins, there were only these two"


def test_draws_differ_from_block_to_block_and_are_spread() -> None:
    drawn = np.concatenate([draw_earlier(block, 50, 5) for block in range(200)])
    counts = np.bincount(drawn, minlength=50)
    # 1,000 draws from 50: 20 each, with a deviation of at most sqrt(20).
    assert np.abs(counts - 20).max() < 4.5 * 20**0.5
    assert not np.array_equal(drawn[:5], drawn[5:10])


# What is learnt from.


@pytest.mark.parametrize("seed", range(5))
def test_days_of_windows_are_laid_out_by_row_and_found_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.integers(0, 9, (6, 5))
    row[rng.random(row.shape) < 0.2] = PADDING
    places = Places.of(row)
    days = np.append(row.ravel(), PADDING)
    table = days[places.table]
    for u, there in zip(places.row, table, strict=True):
        assert set(there) <= {u, PADDING}
        assert (there == u).sum() == (row == u).sum()
    found = np.append(table.ravel(), PADDING)[places.slot]
    np.testing.assert_array_equal(found, row)
    assert len(set(places.slot[row != PADDING])) == (row != PADDING).sum()


def environment(panel: Panel, asked: XTrendConfig, **options: Any) -> TradingEnv:
    return TradingEnv(panel, window=1, features=features_of(asked), vol_target=0.15, cost_bps=0.0, **options)


def course(panel: Panel, asked: XTrendConfig) -> Course:
    network = XTrendNetwork(
        N_INPUTS,
        asked.hidden,
        heads=asked.heads,
        places=asked.recent + asked.earlier,
        assets=panel.shape[1],
        embedding=asked.embedding,
        dropout=asked.dropout,
    )
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 3)
    env = environment(panel, asked)
    made = Course.of(asked, network, env, env, seed=0, monitor=Monitor())
    network.eval()
    return made


@torch.no_grad()
def test_a_batch_gives_every_day_what_its_own_row_offers() -> None:
    panel = market(2)
    made = course(panel, config(context_days=7, batch=3, length=10))
    given, network, library = made.learn, made.network, made.learn.library
    spans = [5, 0, 6]
    windows = np.concatenate([given.spans[span] for span in spans])
    span = np.repeat(np.arange(3), [len(given.spans[one]) for one in spans])
    found = made.outputs(given, windows, span)
    ended = library.sequences.ended
    for b, w in enumerate(windows):
        asset = network.given(torch.tensor([given.asset[w]]))
        inputs = given.inputs[w][None]
        asked = network.ask(inputs, asset, None)[0]
        told = []
        for day, row in enumerate(given.row[w]):
            if row == PADDING:
                told.append(torch.zeros(1, 1, asked.shape[-1]))
                continue
            numbers = given.sets[row]
            assert (ended[numbers[numbers != NONE]] < row).all()
            if (numbers == NONE).all():
                keys = values = torch.zeros(1, asked.shape[-1])
            else:
                read = library.read(np.maximum(numbers, 0))
                keys, values = network.encode(
                    read.inputs, read.labels, read.length, network.given(read.asset)
                )
            local = np.where(numbers == NONE, NONE, np.arange(len(numbers)))
            offered = network.offer(keys, values, torch.from_numpy(local)[None])
            told.append(network.cross(asked[:, day : day + 1].transpose(0, 1), offered)[0])
        outputs = network.decode(inputs, torch.cat(told, dim=1), asset, None)[0]
        real = given.row[w] != PADDING
        for ours, theirs in zip(found, outputs, strict=True):
            np.testing.assert_allclose(ours[b][real], theirs[0][real], rtol=1e-4, atol=1e-5)


def test_windows_are_grouped_by_time_and_each_belongs_to_one_group() -> None:
    given = course(market(1), config(batch=4)).learn
    assert sorted(np.concatenate(given.spans)) == list(range(len(given.row)))
    for span in given.spans:
        first = given.row[span, 0]
        assert len(span) <= 4
        assert first.max() < first.min() + 20


def test_what_is_learnt_from_counts_own_days_whose_return_is_defined() -> None:
    panel = market(3)
    given = course(panel, config()).learn
    defined, sigma = panel.features(FEATURES)[..., DEFINED] > 0, panel.features(FEATURES)[..., SIGMA]
    counted = 0
    for row, asset, count, target in zip(
        given.row, given.asset, given.pairs.counted, given.pairs.target, strict=True
    ):
        for t, counts, aim in zip(row, count, target, strict=True):
            if t == PADDING:
                assert not counts
                continue
            assert bool(counts) == (defined[t, asset] and panel.tradable[t, asset])
            if counts:
                following = t + 1 + np.flatnonzero(panel.tradable[t + 1 :, asset])[0]
                assert float(aim) == pytest.approx(
                    panel.returns[following, asset] / sigma[t, asset], rel=1e-5
                )
                counted += 1
    assert counted > 500


def test_an_embedding_is_forgotten_as_often_as_asked_and_never_when_selecting() -> None:
    made = course(market(1), config(embedding_dropout=0.3))
    asset = torch.arange(2000) % 7
    assert torch.equal(made._forget(asset), asset)
    made.network.train()
    found = made._forget(asset)
    kept = found == asset
    assert torch.equal(found[~kept], torch.full_like(found[~kept], UNKNOWN))
    # 2,000 draws with a share of 0.7: a deviation of sqrt(2000 * 0.21) = 20.5.
    assert abs(int(kept.sum()) - 1400) < 4 * 20.5


def test_an_environment_with_other_features_or_too_few_days_is_refused() -> None:
    asked = config()
    panel = market(1)
    with pytest.raises(ConfigError, match=r"features=agent\.settings\.features"):
        Windows.of(TradingEnv(panel, window=1), asked)
    with pytest.raises(ConfigError, match="about 21 trading days"):
        Windows.of(environment(noise(days=12, seed=0), asked), asked)
    assert len(Windows.of(environment(panel, asked), replace(asked, length=10)).row) > 0
