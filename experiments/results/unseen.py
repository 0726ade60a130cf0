"""Markets that nobody was trained on: an agent in three ways, and who and what was left out, in words."""

from __future__ import annotations

import pandas as pd

from experiments.settings.config import WAYS, Way
from experiments.storage.records import RunRecord, UnseenFoldRecord, UnseenRecord

ORDER: tuple[Way, ...] = tuple(WAYS)
TITLES: dict[Way, str] = {way: way.capitalize() for way in ORDER}


def families(about: RunRecord) -> dict[str, dict[Way, str]]:
    """Of every agent that learns on other markets than it is judged on, its labels in the tables, by way."""
    known: dict[str, dict[Way, str]] = {}
    for label, made in about["agents"].items():
        for way in ORDER:
            if made.get("way") == way:
                known.setdefault(label.removesuffix(WAYS[way]), {})[way] = label
    return known


def pairs(about: RunRecord) -> list[tuple[str, str]]:
    """What is learnt of the markets an agent is judged on against nothing: (label, label of zero shots)."""
    return [
        (label, labels["zero-shot"])
        for labels in families(about).values()
        for way, label in labels.items()
        if way != "zero-shot" and "zero-shot" in labels
    ]


def ways_table(about: RunRecord, board: pd.DataFrame, differences: pd.DataFrame | None) -> pd.DataFrame:
    """One row for every agent that was judged in several ways: net Sharpe ratios, and what they differ by.

    Args:
        about: the record of the run.
        board: the leaderboard at one cost for one execution.
        differences: of Sharpe ratios, as evidence has them; None: they are left out.

    Returns:
        agent; for every way NAME, NAME, NAME_low and NAME_high (95%); for all but the first, NAME_difference
        from zero-shot, its error and Holm's p. NaN where there is none.
    """
    shown = board.set_index("agent")
    gaps = {} if differences is None else {(d.left, d.right): d for d in differences.itertuples()}
    rows = []
    for base, labels in families(about).items():
        row: dict[str, object] = {"agent": base}
        for way in ORDER:
            label = labels.get(way)
            for name, column in (("", "sharpe"), ("_low", "sharpe_low"), ("_high", "sharpe_high")):
                row[f"{way}{name}"] = shown[column].get(label, float("nan"))
            gap = gaps.get((label, labels.get("zero-shot")))
            if gap is None or way == "zero-shot":
                continue
            row |= {
                f"{way}_difference": gap.difference,
                f"{way}_error": gap.error,
                f"{way}_p": gap.p_holm,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def unseen_in_words(about: RunRecord) -> list[str]:
    """What a reader of a run under `unseen` has to know; nothing of another run."""
    unseen = about.get("unseen")
    if unseen is None:
        return []
    return [_ways(unseen), *_folds(unseen), *_left_out(unseen)]


def _ways(unseen: UnseenRecord) -> str:
    few = f"few-shot has gone on to learn from the {unseen['shots']} days of theirs before, "
    return (
        "Every fold of markets is judged by agents that have learnt on the others, on days after all that "
        "was learnt from. By its own name an agent has learnt nothing of the markets it is judged on "
        f"(zero-shot); {few if unseen['shots'] else ''}trained was trained on them too. Who has no chance in "
        "it and no way to be adapted, a rule, has one row, fitted to what it plays before that. All of them "
        f"read the past of what they play. How folds are made: {unseen['rule']}."
    )


def _folds(unseen: UnseenRecord) -> list[str]:
    return [
        f"{fold['window']}: {', '.join(fold['markets'])}, after what was learnt on {len(fold['learnt'])} "
        f"others before {fold['cut']}{_without(fold)}."
        for fold in unseen["folds"]
    ]


def _without(fold: UnseenFoldRecord) -> str:
    """The markets with too few days before the cut, by name; of the fold itself they are not trained on."""
    if not fold["without"]:
        return ""
    names = ", ".join(fold["without"])
    return f"; with fewer than 252 days to train on before that, or none to select on: {names}"


def _left_out(unseen: UnseenRecord) -> list[str]:
    notes = []
    if unseen["left_out"]:
        notes.append(
            f"Left out: {', '.join(unseen['left_out'])}. Such an agent plays only markets that it is trained "
            "on (the contract's adapt is what it lacks)."
        )
    return notes + [f"Not judged: {name}, for {why}." for name, why in unseen["not_judged"].items()]
