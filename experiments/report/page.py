"""The page: everything a reader of a run needs, in one file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import gzip
import html
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import join_words
from experiments.artefacts.page import templates_in
from experiments.report.data import warnings_of
from experiments.report.line_styles import LineStyle, line_styles
from experiments.report.tables import (
    BAR_HEIGHT,
    BAR_WIDTH,
    COLUMNS,
    HISTOGRAM_HEIGHT,
    HISTOGRAM_WIDTH,
    common_edges,
    heat_map,
    histograms,
    leaderboard,
    number,
    rank_figure,
    undefined_days,
)
from experiments.report.trust import facts, study_texts
from experiments.results.evidence import Evidence, cost_curve, cost_scale
from experiments.results.leaderboard import duplicates_in_words
from experiments.results.run import Run
from experiments.results.series import (
    MAX_POINTS,
    View,
    asset_sharpes,
    block_ends,
    curves,
    is_long,
    market_sharpes,
    run_dates,
    thin,
)
from experiments.results.unseen import families, unseen_in_words
from experiments.settings.config import IN_WORDS, MARKET, SEEDS, Execution, Level, in_bp, level_name
from experiments.storage.records import markets_of
from qn_env.extras import require

if TYPE_CHECKING:
    from markupsafe import Markup

PLACE = ("out", "jobs")  # settings that change no figure; a run never overwrites another's folder
VIEWS: Mapping[str, View] = {"raw": "net", "scaled": "net_10"}


def render(
    runs: Mapping[Execution, Run],
    evidence: Mapping[Execution, Evidence],
    shown: Mapping[Execution, Sequence[Table]],
) -> str:
    """The whole page as HTML; the same run gives the same text.

    Args:
        runs: the run as either execution shows it, the one that it is ranked by first.
        evidence: its statistics.
        shown: their tables.
    """
    environment = templates_in(Path(__file__).parent)
    plotly = require("plotly.offline")
    environment.filters |= {"typeset": typeset, "leading": leading}
    page = environment.get_template("page.html.jinja").render(
        **context(runs, evidence, shown), packed_plotly=pack(plotly.get_plotlyjs())
    )
    return str(page)


def pack(text: str) -> str:
    """Text for the page's script to unpack, gzip in base64; the same text gives the same."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def context(
    runs: Mapping[Execution, Run],
    evidence: Mapping[Execution, Evidence],
    shown: Mapping[Execution, Sequence[Table]],
) -> dict[str, object]:
    """Everything the template shows."""
    run = next(iter(runs.values()))
    appearance = line_styles(run)
    return {
        "statistics_of": [
            {
                "execution": execution,
                "facts": facts(own),
                "tables": {table.name: table for table in shown[execution]},
                "ranks": None if own.ranking is None else rank_figure(own.ranking, appearance),
                "rank_p": math.nan if own.ranking is None else own.ranking.iman_davenport_p,
            }
            for execution, own in evidence.items()
        ],
        "warnings": warnings_of(run.stored),
        "study": study_texts(run.folder),
        "about": run.about,
        "styles": appearance,
        "headline": run.headline,
        "headline_words": in_bp(run.headline),
        "rank_by": run.execution,
        "executions": [(name, IN_WORDS[name], name == run.execution) for name in runs],
        "columns": COLUMNS,
        "bar": (BAR_WIDTH, BAR_HEIGHT),
        "box": (HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT),
        "views": _views(runs, appearance),
        "charts": chart_data(runs, appearance),
        "step": _step(run),
        "basis": run.basis,
        "days": _days(run),
        "year": f"{run.bars_per_year:,g}",
        "bar_name": run.bars[:-1],
        "statement": whole_dates(statement(run)),
        "few_seeds": few_seeds(run),
        "duplicates": duplicates_in_words(run.about.get("duplicates", [])),
        "unseen": unseen_in_words(run.about),
        "settings": agent_settings(run),
        "command": command(run.about["config"]),
        "duration": duration(float(run.about["seconds"])),
        "enough_seeds": SEEDS,
    }


def _views(runs: Mapping[Execution, Run], appearance: Mapping[str, LineStyle]) -> list[dict[str, object]]:
    """The parts of the page that exist once per execution and cost level."""
    samples = {(name, cost): asset_sharpes(run, cost) for name, run in runs.items() for cost in run.levels}
    edges = common_edges(list(samples.values()))
    ends = [number(edge, 1) for edge in (edges[0], edges[-1])]
    return [
        {
            "execution": name,
            "cost": cost,
            "label": level_name(cost),
            "words": in_bp(cost),
            "leaderboard": leaderboard(runs, name, cost, appearance),
            "histograms": histograms(sample, edges, appearance),
            "ends": ends,
            "heat": heat_map(market_sharpes(runs[name], cost), appearance),
            "undefined_days": {
                view: undefined_days(curves(runs[name], cost, column), appearance)
                for view, column in VIEWS.items()
            },
        }
        for (name, cost), sample in samples.items()
    ]


def chart_data(runs: Mapping[Execution, Run], appearance: Mapping[str, LineStyle]) -> dict[str, object]:
    """What the script draws: dates, agents' styles, and their paths per execution, cost and view."""
    run = next(iter(runs.values()))
    dates, step = run_dates(run), _step(run)
    kept = dates[block_ends(len(dates), step)]
    return {
        "cost": level_name(run.headline),
        "execution": run.execution,
        "dates": [f"{date:%Y-%m-%d}" for date in kept],
        "log": is_long(dates),
        "agents": [
            # Plotly reads names as markup of its own.
            {
                "name": html.escape(style.label),
                "colour": style.colour,
                "dash": style.dash,
                "width": style.width,
            }
            | {"learns": style.learns}
            for style in appearance.values()
        ],
        "paths": {
            name: {
                level_name(cost): {view: _paths(seen, cost, column, step) for view, column in VIEWS.items()}
                for cost in seen.levels
            }
            for name, seen in runs.items()
        },
        "costs": {name: cost_data(seen) for name, seen in runs.items()},
    }


def cost_data(run: Run) -> dict[str, object]:
    """The net Sharpe ratio of every agent by cost, as JSON can hold it."""
    curve = cost_curve(run)
    return {
        "bps": jsonable(curve.index.to_numpy()),
        "sharpe": [jsonable(curve[agent].to_numpy()) for agent in run.agents],
        "scale": list(cost_scale(curve)),
    }


def typeset(text: str) -> str:
    """Text whose numbers have a true minus sign.

    Examples:
        >>> typeset("[-0.5, 1.0] holdout-1") == "[\N{MINUS SIGN}0.5, 1.0] holdout-1"
        True
    """
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", str(text))


def leading(text: str) -> str:
    """The number a cell is sorted by: its first; nothing where there is none.

    Examples:
        >>> leading("0.49 [0.41, 0.57]"), leading("> 100"), leading("\N{EN DASH}")
        ('0.49', '100', '')
    """
    number_in = re.search(r"[-+]?\d[\d.]*", text)
    return number_in[0] if number_in else ""


def _paths(run: Run, level: Level, column: View, step: int) -> dict[str, list[list[float | None]]]:
    """Growth and drawdown of every agent at one cost, as JSON can hold them."""
    paths = [thin(path, step) for path in curves(run, level, column).values()]
    return {
        "growth": [jsonable(path.growth) for path in paths],
        "drawdown": [jsonable(path.drawdown) for path in paths],
    }


def jsonable(values: np.ndarray) -> list[float | None]:
    """Rounded to four decimals; None where undefined.

    Examples:
        >>> jsonable(np.array([1.00004, np.nan]))
        [1.0, None]
    """
    return [round(value, 4) if math.isfinite(value) else None for value in values.tolist()]


def _step(run: Run) -> int:
    """Days per point of the page's charts."""
    return max(1, math.ceil(len(run_dates(run)) / MAX_POINTS))


class Days(TypedDict):
    """The portfolio's test days, and how many markets a day has."""

    count: int
    first: str
    last: str
    fewest: int
    most: int


def _days(run: Run) -> Days:
    """The portfolio's test days and how many markets each has."""
    dates, markets = run_dates(run), run.portfolio["markets"]
    return {
        "count": len(dates),
        "first": f"{dates[0]:%Y-%m-%d}" if len(dates) else "",
        "last": f"{dates[-1]:%Y-%m-%d}" if len(dates) else "",
        "fewest": int(markets.min()) if len(dates) else 0,
        "most": int(markets.max()) if len(dates) else 0,
    }


def statement(run: Run) -> str:
    """One paragraph: who was compared, on what, when, how and at what cost."""
    panel, config, days = run.about["panel"], run.about["config"], _days(run)
    known = families(run.about)
    base = {label: name for name, labels in known.items() for label in labels.values()}
    named = {base.get(agent, agent): run.learns(agent) for agent in run.agents}
    learnt = sum(named.values())
    rules = len(named) - learnt
    ways = f", each in {max(map(len, known.values()))} ways" if known else ""
    costs = _charged(run.levels)
    counts = sorted({int(seeds) for seeds in run.leaderboard["seeds"][_learnt_rows(run)]})
    seeds = f", with {join_words([str(n) for n in counts])} seeds each" if counts else ""
    target = config.get("vol_target")
    source = f" ({config['panel']})" if config.get("panel") else ""
    test = f", {days['first']} to {days['last']} ({days['count']} days)" if days["count"] else ""
    union = ", blocks cut at the same dates in all markets" * (config.get("calendar") == "union")
    warm = ", warm starts" * bool(config.get("warm_start"))
    volatility = "each agent's own setting" if target is None else f"{100 * target:g}% a year for all"
    return (
        f"{len(named)} agents ({learnt} learnt{seeds}{ways}; {rules} rule{'s' * (rules != 1)}) on "
        f"{panel['assets']} assets in {len(markets_of(run.about))} markets{source}, {panel['first']} to "
        f"{panel['last']}. Protocol {config.get('protocol', 'not recorded')}{union}{warm}: the figures are "
        f"of test days that no agent saw in training{test}, after costs of {costs}. "
        f"Volatility target: {volatility}."
    )


def _charged(levels: Sequence[Level]) -> str:
    """The costs that figures are after, in words."""
    numbers = [f"{level:g}" for level in levels if level != MARKET]
    flat = f"{join_words(numbers)} bp per unit of turnover" if numbers else ""
    own = "what the data say that each asset costs" if MARKET in levels else ""
    return ", and of ".join(filter(None, (flat, own)))


def whole_dates(text: str) -> Markup:
    """The text escaped, with dates that no line break may cut."""
    markup = require("markupsafe")
    date = r'<span class="date">\g<0></span>'
    marked: Markup = markup.Markup(re.sub(r"\b\d{4}-\d\d-\d\d\b", date, str(markup.escape(text))))
    return marked


def _learnt_rows(run: Run) -> pd.Series:
    return run.leaderboard["agent"].map(run.learns)


def few_seeds(run: Run) -> list[str]:
    """Learnt agents with too few seeds to compare."""
    board = run.leaderboard
    few = set(board.loc[~board["comparable"] & (board["seeds"] < SEEDS), "agent"])
    return [agent for agent in run.agents if agent in few]


def agent_settings(run: Run) -> list[dict[str, str | bool]]:
    """How each agent of the run was set, those without results included."""
    return [
        {
            "name": name,
            "kind": made.get("way") or ("learnt" if made.get("learns") else "rule"),
            "vol_target": "none" if (target := made["vol_target"]) is None else f"{100 * target:g}%",
            "train_cost": f"{made['train_cost_bps']:g} bp" if made.get("learns") else "",
            "seeds": ", ".join(str(seed) for seed in made.get("seeds", [])),
            "results": name in run.agents,
        }
        for name, made in run.about["agents"].items()
    ]


def command(config: Mapping[str, object]) -> str:
    """The command of a run with this configuration.

    Examples:
        >>> config = {"agents": ["macd", "ppo"], "costs": [0.0, 2.0], "panel": None, "quick": True}
        >>> command(config)
        'qn run --agents macd,ppo --costs 0,2 --quick'
    """
    words = ["qn", "run"]
    for key, value in config.items():
        if key not in PLACE and value is not None and value is not False and value != []:
            words.append(f"--{key.replace('_', '-')}")
            words += [] if value is True else [_word(value)]
    return shlex.join(words)


def _word(value: object) -> str:
    """A setting as the command line takes it: lists with commas, numbers in short."""
    if isinstance(value, list):
        return ",".join(_word(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A time span in words.

    Examples:
        >>> duration(240.0), duration(7320.0), duration(8.2)
        ('4 min 0 s', '2 h 2 min', '8 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
