"""How each agent is drawn: the same colour, dash and label in every table and figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from agents.layers import base_of
from experiments.results.run import Run

# Okabe and Ito's colour-blind safe set for the agents that learn, on light and on dark pages.
LEARNT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Greyed hues of middle lightness for the rules; the dash tells apart what the hue may not.
RULES = ("#7d8590", "#a58a5c", "#5f9096", "#a0758c", "#86935a", "#8a7a70", "#7380ad")
DASHES: Mapping[str, tuple[float, ...]] = {
    "solid": (),
    "dash": (5, 2.5),
    "dot": (1.2, 1.8),
    "dashdot": (5, 2, 1.2, 2),
    "longdash": (9, 3),
}


@dataclass(frozen=True, kw_only=True)
class LineStyle:
    """One agent's appearance."""

    name: str
    label: str  # short form for figures
    learns: bool
    colour: str
    dash: str  # a key of DASHES, in Plotly's words

    @property
    def width(self) -> float:
        """Line width in pixels or points: learnt agents stand out."""
        return 2.4 if self.learns else 1.3

    @property
    def dashes(self) -> tuple[float, ...]:
        """On and off lengths in line widths; empty for a solid line."""
        return DASHES[self.dash]


def line_styles(run: Run) -> dict[str, LineStyle]:
    """Every agent's style, in the order of the run."""
    labels = short_labels(run.agents)
    learnt = [name for name in run.agents if run.learns(name)]
    rules = [name for name in run.agents if not run.learns(name)]
    dashes = tuple(DASHES)
    styles = {name: (LEARNT[i % 6], dashes[i // 6 % 5]) for i, name in enumerate(learnt)}
    styles |= {name: (RULES[i % 7], dashes[i % 5]) for i, name in enumerate(rules)}
    return {
        name: LineStyle(name=name, label=labels[name], learns=run.learns(name), colour=colour, dash=dash)
        for name in run.agents
        for colour, dash in [styles[name]]
    }


def short_labels(names: list[str]) -> dict[str, str]:
    """Import paths cut to their class, where no two agents share it.

    Examples:
        >>> short_labels(["macd", "mine.agents:Lucky"])
        {'macd': 'macd', 'mine.agents:Lucky': 'Lucky'}
        >>> short_labels(["a:Lucky", "b:Lucky"])
        {'a:Lucky': 'a:Lucky', 'b:Lucky': 'b:Lucky'}
        >>> short_labels(["macd+band:0.1", "mine.agents:Lucky+band:0.1"])
        {'macd+band:0.1': 'macd+band:0.1', 'mine.agents:Lucky+band:0.1': 'Lucky+band:0.1'}
    """
    bases = {name: base_of(name) for name in names}  # the colons behind are those of layers
    tails = {name: base.rpartition(":")[2] + name.removeprefix(base) or name for name, base in bases.items()}
    counts = Counter(tails.values())
    return {name: tail if counts[tail] == 1 else name for name, tail in tails.items()}
