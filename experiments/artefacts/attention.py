"""The figure of a decision: which stretches of which assets it attended to, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.artefacts.drawing import INK, QUIET, date_axis, grid_of, plain
from qn_env.arrays import DateArray, FloatArray
from qn_env.extras import require
from qn_env.panel import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, MOST = 4, 7  # panels beside each other, and stretches that have one
BEFORE = 63  # days that are shown of the asset whose decision it is
COLOUR, DEEPEST = "#0969da", 0.45  # of the heaviest stretch, and how opaque
DAY = np.timedelta64(1, "D")


class Stretch(NamedTuple):
    """Some of an asset's trading days and their simple returns; none where a panel has no such asset."""

    name: str
    first: np.datetime64
    last: np.datetime64
    dates: DateArray
    returns: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What was decided for an asset, and what was attended to.

    Attributes:
        target: the asset's days, the last one that of the decision.
        signal: what was decided.
        attended: stretches with their shares of the attention, the heaviest first.
        none: the share that went to none of them.
    """

    target: Stretch
    signal: float
    attended: tuple[tuple[Stretch, float], ...]
    none: float

    @property
    def day(self) -> np.datetime64:
        """The day of the decision."""
        day: np.datetime64 = self.target.last.astype("datetime64[D]")
        return day


def decision_of(agent: Any, panel: Panel, market: str, asset: str, day: str | None) -> Decision:
    """What an agent that has `attended` decided for an asset of the panel, and attended to.

    Args:
        agent: trained.
        panel: what it plays.
        market: of the asset.
        asset: its name.
        day: of the decision; None: the asset's last.

    Raises:
        ConfigError: a day on which it does not decide.
    """
    column = list(zip(panel.market_of, panel.assets, strict=True)).index((market, asset))
    own = panel.dates[panel.tradable[:, column]]
    found = agent.attended(panel, market, asset, own[-1] if day is None else day)
    last = own[-1] if day is None else own[own <= np.datetime64(day)][-1]
    row = int(np.searchsorted(panel.dates, last))
    return Decision(
        target=_stretch(panel, market, asset, panel.dates[0], last),
        signal=float(agent.signals(panel)[row, column]),
        attended=tuple(
            (_stretch(panel, told.market, told.asset, told.first, told.last), weight)
            for told, weight in found
            if told is not None
        ),
        none=sum(weight for told, weight in found if told is None),
    )


def attention_figure(decision: Decision) -> Figure:
    """The asset's gains up to its decision, and in the heaviest stretches, the deeper the more attended.

    Stretches that lie within the days shown of the asset are shaded there, too.
    """
    shown = decision.attended[:MOST]
    figure, (first, *others) = grid_of(1 + len(shown), columns=COLUMNS, width=3.1, height=2.3)
    target, heaviest = decision.target, max((weight for _, weight in shown), default=1.0)
    dates = target.dates[-BEFORE:]
    _gains(first, dates, target.returns[-BEFORE:])
    number = require("matplotlib.dates", what="A figure").date2num
    for stretch, weight in decision.attended:
        if stretch.first >= dates[0]:
            opacity = DEEPEST * weight / heaviest / 2.0
            first.axvspan(
                number(stretch.first), number(stretch.last + DAY), color=COLOUR, alpha=opacity, linewidth=0
            )
    first.set_title(f"{plain(target.name)}: signal {decision.signal:+.2f}", fontsize=9)
    for axes, (stretch, weight) in zip(others, shown, strict=False):
        _gains(axes, stretch.dates, stretch.returns)
        axes.patch.set_facecolor(COLOUR)
        axes.patch.set_alpha(DEEPEST * weight / heaviest)
        axes.set_title(f"{weight:.0%}  {plain(stretch.name)}", fontsize=9)
    rest = sum(weight for _, weight in decision.attended[MOST:])
    figure.supxlabel(
        f"gains in %; close of {decision.day}; {rest:.0%} of the attention went to "
        f"{len(decision.attended[MOST:])} other stretches, {decision.none:.0%} to none",
        fontsize=9,
        color=QUIET,
    )
    return figure


def _gains(axes: Axes, dates: DateArray, returns: FloatArray) -> None:
    axes.plot(dates, 100.0 * (np.cumprod(1.0 + returns) - 1.0), color=INK, linewidth=1.2)
    axes.tick_params(labelsize=8)
    date_axis(axes)
    axes.xaxis.get_offset_text().set_fontsize(8)


def _stretch(panel: Panel, market: str, asset: str, first: np.datetime64, last: np.datetime64) -> Stretch:
    names = list(zip(panel.market_of, panel.assets, strict=True))
    if (market, asset) not in names:
        return Stretch(f"{market}/{asset}", first, last, panel.dates[:0], np.zeros(0))
    column = names.index((market, asset))
    here = panel.tradable[:, column] & (panel.dates >= first) & (panel.dates <= last)
    return Stretch(f"{market}/{asset}", first, last, panel.dates[here], panel.returns[here, column])
