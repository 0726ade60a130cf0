"""The figure of what a decision of X-Trend attended to."""

from __future__ import annotations

import numpy as np
import pytest

from agents.xtrend.agent import Attended
from agents.xtrend.pool import Told
from experiments.artefacts.attention import COLOUR, attention_of
from experiments.artefacts.drawing import write_drawing
from qn_env.panel import Panel
from qn_env.sources.synthetic import weekdays

DAYS = weekdays(300)


def panel() -> Panel:
    returns = np.full((300, 3), 0.01)
    returns[280, 0] = np.nan
    return Panel.build(DAYS, ["a", "b", "c"], ["X", "X", "Y"], returns)


class Attending:
    """Says what it attended to."""

    def attended(self, panel, market, asset, day):
        assert (market, asset, day) == ("X", "a", DAYS[290])
        first, last = (DAYS[[10, 260, 230]] + np.timedelta64(0, "s") for _ in range(2))
        found = [
            Attended(Told("Y", "c", first[0], last[0] + np.timedelta64(14, "D")), 0.4),
            Attended(Told("X", "$b", first[1], last[1] + np.timedelta64(7, "D")), 0.3),
            Attended(None, 0.15),
            Attended(Told("Y", "c", first[2], last[2] + np.timedelta64(7, "D")), 0.1),
            Attended(Told("X", "a", first[1], last[1] + np.timedelta64(3, "D")), 0.05),
        ]
        return sorted(found, key=lambda one: -one.weight)


def drawn(**options):
    pytest.importorskip("matplotlib")
    return attention_of(Attending(), panel(), "X", "a", DAYS[290], **options)


def test_its_caption_says_what_it_shows():
    drawing = drawn()
    day = str(DAYS[290])
    assert drawing.name == f"attention-X-a-{day}"
    assert drawing.caption.startswith(f"What the decision for X/a at the close of {day} attended to")
    assert drawing.caption.endswith("the context that is always there has 15%.")
    assert drawn(most=2).caption.endswith("has 15%, assets that are not shown 5%.")


def test_the_heaviest_assets_stand_on_top_with_the_sums_of_their_weights():
    _, below = drawn().draw().axes
    names = [label.get_text() for label in below.get_yticklabels()]
    assert names == ["Y/c", r"X/\$b", "X/a", "always there"]
    assert [text.get_text() for text in below.texts] == ["50%", "30%", "5%", "15%", "weight"]
    assert below.get_ylim() == (3.5, -0.5), "from the top"
    assert [label.get_text() for label in drawn(most=1).draw().axes[1].get_yticklabels()] == [
        "Y/c",
        "always there",
    ]


def test_contexts_are_spans_of_their_days_and_the_darker_the_heavier():
    from matplotlib.dates import num2date

    _, below = drawn().draw().axes
    spans = {}
    for bars in below.collections:
        box, (*_, opacity) = bars.get_paths()[0].get_extents(), bars.get_facecolor()[0]
        begin, end = (str(num2date(x).date()) for x in (box.x0, box.x1))
        spans[begin, end, round((box.y0 + box.y1) / 2)] = opacity
    week = np.timedelta64(7, "D")
    assert spans == {
        (str(DAYS[10]), str(DAYS[10] + 2 * week), 0): pytest.approx(1.0),
        (str(DAYS[230]), str(DAYS[230] + week), 0): pytest.approx(0.1 + 0.9 * 0.25),
        (str(DAYS[260]), str(DAYS[260] + week), 1): pytest.approx(0.1 + 0.9 * 0.75),
        (str(DAYS[260]), str(DAYS[260] + np.timedelta64(3, "D")), 2): pytest.approx(0.1 + 0.9 * 0.125),
    }


def test_the_assets_own_days_end_with_the_decision_and_begin_before_the_first_context():
    above, below = drawn().draw().axes
    (line,) = [one for one in above.lines if one.get_color() == COLOUR]
    days = line.get_xdata()
    assert days[0] == DAYS[10]
    assert days[-1] == DAYS[290]
    assert DAYS[280] not in days
    assert line.get_ydata()[0] == 0.0
    assert line.get_ydata()[-1] == pytest.approx(100.0 * (1.01**279 - 1.0))
    assert [one.get_xdata()[0] for axes in (above, below) for one in axes.lines if one is not line] == [
        DAYS[290],
        DAYS[290],
    ]


def test_it_is_written_in_the_same_bytes_every_time(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_drawing(drawn(), tmp_path / folder)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == [f"attention-X-a-{DAYS[290]}.{kind}" for kind in ("png", "svg")]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
