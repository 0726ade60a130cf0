"""The scorecard: every score against its formula worked by hand, and its figure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.artefacts.drawing import STYLE
from experiments.open_benchmark.radar import radar_of
from experiments.open_benchmark.scorecard import (
    QUESTIONS,
    Ratios,
    clipped,
    kept,
    nothing_found,
    quickness,
    scorecard,
)
from experiments.open_benchmark.suites import SUITES, Axis, Planted
from experiments.probes import PROBES, ar1_optimum
from experiments.probes.table import Found

RULE = Ratios(on_time=2.0, late=1.0, learns=False)
NAMES = [question.name for question in QUESTIONS]
REAL = st.floats(-20, 20, allow_nan=False)


def planted(axis: Axis, probe: str, days: int = 100) -> Planted:
    return Planted(axis=axis, probe=probe, days=days, test_days=50, seeds=2)


def scores(own: Ratios, found: dict[Planted, list[dict[str, float]]]) -> dict[str, float]:
    """The scores of one agent that showed these figures, a seed each; another one is beside it."""
    units = {
        one: [Found(one.probe, "mine", seed, figures) for seed, figures in enumerate(seeds)]
        + [Found(one.probe, "other", 0, dict.fromkeys(seeds[0], 0.9))]
        for one, seeds in found.items()
        if seeds
    }
    row = scorecard(["mine"], {"mine": own}, {one: units.get(one, []) for one in found}).iloc[0]
    return {name: float(row[name]) for name in row.index if name != "agent"}


def test_what_is_found_is_the_mean_of_shares_each_cut_where_a_share_of_sides_counts_as_one():
    found = {
        planted("finds", "trend"): [{"share": 0.5}, {"share": 0.7}],  # 0.6
        planted("finds", "reversal"): [{"share of sides": 0.9}, {"share": 1.5}],  # 1.2, cut to 1
        planted("finds", "latent-trend"): [{"share": -0.4}, {"share": 0.2}],  # -0.1, cut to 0
        planted("few", "trend", 50): [{"share": 0.25}, {"share": 0.35}],
    }
    mine = scores(Ratios(), found)
    assert mine["finds"] == pytest.approx((0.6 + 1.0 + 0.0) / 3)
    assert mine["few"] == pytest.approx(0.3)


def test_who_was_not_asked_everything_has_no_score():
    found = {planted("finds", "trend"): [{"share": 0.5}], planted("finds", "reversal"): []}
    mine = scores(Ratios(), found)
    assert all(math.isnan(value) for value in mine.values())
    assert list(mine) == [name for name in NAMES if name != "seconds"], "those depend on the machine"


def test_what_pays_is_the_mean_over_probes_and_costs():
    figures = {"share at 5 bps": 0.8, "beyond blind at 5 bps": 9.0, "share at 20 bps": -1.0}
    found = {
        planted("pays", "costly-trend"): [figures],
        planted("pays", "costly-reversal"): [{"share at 5 bps": 0.6, "share at 20 bps": 0.2}],
    }
    assert scores(Ratios(), found)["pays"] == pytest.approx((0.8 + 0.0 + 0.6 + 0.2) / 4)


def test_noise_is_judged_by_the_error_of_the_mean_over_seeds():
    # Mean 0.4, error 0.1 / sqrt(2): z = 5.66, and 2 - z / 3.
    found = {planted("nothing", "noise"): [{"sharpe": 0.5, "error": 0.1}, {"sharpe": 0.3, "error": 0.1}]}
    assert scores(Ratios(), found)["nothing"] == pytest.approx(2.0 - 4.0 * 2.0**0.5 / 3.0)
    assert nothing_found([-0.45], [0.1]) == nothing_found([0.45], [0.1]) == pytest.approx(0.5)
    assert math.isnan(nothing_found([], []))


def test_of_noise_itself_few_are_accused():
    """Three standard errors are met by one agent in 370."""
    z = np.random.default_rng(0).standard_normal(20_000)
    scored = np.array([nothing_found([value], [1.0]) for value in z])
    assert (scored < 1.0).mean() == pytest.approx(0.0027, abs=0.0015)


def test_a_day_is_survived_by_what_is_left_of_the_ratio_on_time():
    assert scores(Ratios(on_time=2.0, late=0.5), {})["day"] == pytest.approx(0.25)
    assert scores(Ratios(on_time=0.3, late=0.1), {})["day"] == pytest.approx(0.8), "of small ratios no share"
    assert scores(Ratios(on_time=-1.0, late=-1.5), {})["day"] == pytest.approx(0.5)


def test_an_unseen_market_is_the_mean_of_the_panel_and_of_the_probe():
    best = ar1_optimum(0.15)
    found = {planted("unseen", "transfer"): [{"known": 0.9, "new": 0.6}, {"known": 0.7, "new": 0.6}]}
    own = Ratios(trained=1.5, zero_shot=0.9)
    expected = ((1.0 - 0.6 / 1.5) + (1.0 - best * 0.2 / (best * 0.8))) / 2
    assert scores(own, found)["unseen"] == pytest.approx(expected)
    assert scores(own, {})["unseen"] == pytest.approx(1.0 - 0.6 / 1.5)
    cannot = {planted("unseen", "transfer"): [{"known": 0.9}]}
    assert math.isnan(scores(Ratios(), cannot)["unseen"])
    assert scores(RULE, cannot)["unseen"] == 1.0


def test_seconds_are_read_by_their_logarithm():
    assert [quickness(s) for s in (0.0, 1.0, 10.0, 1000.0, 1e4, 1e6)] == pytest.approx(
        [1, 1, 0.75, 0.25, 0, 0]
    )
    assert math.isnan(quickness(math.nan))


@given(REAL, REAL)
def test_what_is_left_is_a_share_and_never_more_by_losing_more(before, after):
    assert 0.0 <= kept(before, after) <= 1.0
    assert kept(before, after - 1.0) <= kept(before, after)
    assert kept(before, before) == 1.0 == kept(before, before + abs(after))


@given(st.floats())
def test_a_score_is_a_number_from_0_to_1_or_none(value):
    assert math.isnan(clipped(value)) if math.isnan(value) else 0.0 <= clipped(value) <= 1.0


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_a_suite_asks_every_question_on_probes_that_there_are(suite):
    assert {one.axis for one in suite.probes} == {"finds", "nothing", "pays", "unseen", "few"}
    assert {one.probe for one in suite.probes} <= set(PROBES)
    assert suite.courses[0].protocol == "holdout"
    assert len({(one.probe, one.days) for one in suite.probes}) == len(suite.probes)


def test_on_one_market_nothing_is_unseen_and_there_are_no_more_folds_than_markets():
    small = SUITES["small"]
    assert [course.protocol for course in small.at_most(1).courses] == ["holdout"]
    assert small.at_most(8) == small
    (unseen,) = [one for one in SUITES["full"].at_most(3).courses if one.protocol == "unseen"]
    assert unseen == replace(SUITES["full"].courses[-1], folds=3)


# The figure.


@pytest.mark.parametrize("agent", ["macd", "my_module.agents:AVeryLongName+every:5+band:0.05"])
def test_no_two_names_of_a_radar_overlap_and_all_lie_inside(agent):
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    values = dict(zip(NAMES, (0.95, 1.0, 0.0, 0.31, math.nan, 1.0, 0.47), strict=True))
    with matplotlib.rc_context(STYLE):
        figure = radar_of(agent, values).draw()
        renderer = FigureCanvasAgg(figure).get_renderer()
        (axes,) = figure.axes
        boxes = [text.get_window_extent(renderer) for text in (*axes.texts, *figure.texts)]
        circle = axes.patch.get_window_extent(renderer)
    assert len(boxes) == len(QUESTIONS) + 1
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        middle = np.array([(circle.x0 + circle.x1) / 2, (circle.y0 + circle.y1) / 2])
        near = np.clip(middle, [box.x0, box.y0], [box.x1, box.y1])
        assert np.linalg.norm(near - middle) > circle.width / 2, "no name lies on the drawing"


def test_a_radar_tells_every_score_and_a_dash_where_there_is_none():
    values = dict.fromkeys(NAMES, 0.5) | {"few": math.nan}
    drawing = radar_of("mine:Agent", values)
    assert drawing.name == "radar-mine--Agent"
    assert drawing.caption.count("0.50") == len(NAMES) - 1
    assert "from few days \N{EN DASH}" in drawing.caption
    texts = [text.get_text() for text in drawing.draw().axes[0].texts]
    assert [text for text in texts if text.endswith("\N{EN DASH}")] == ["from\nfew days\n\N{EN DASH}"]
