"""`qn paper`: the studies as commands; each keeps its settings in its folder and prints its table."""

from __future__ import annotations

from pathlib import Path

from experiments.papers.config import StudyData
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import (
    QuantNetAblation,
    QuantNetSearch,
    QuantNetStudy,
    QuantNetTransfer,
)
from experiments.settings.configfile import claim_folder, write_config
from qn_env.extras import check_installed

# What the pages of the studies are made with.
_DRAWN = ("matplotlib", "jinja2")
PAGES = {"quantnet": (*_DRAWN, "statsmodels"), "quantnet-table7": _DRAWN, "dmn": _DRAWN}


def study_quantnet(config: QuantNetStudy) -> int:
    """Every table and figure of QuantNet."""
    from experiments.papers.quantnet.study import study

    _take_folder("quantnet", config)
    _print_outcome(config.out, "table1", study(config))
    return 0


def study_quantnet_ablation(config: QuantNetAblation) -> int:
    """Table 7 of QuantNet."""
    from experiments.papers.quantnet.study import ablation

    _take_folder("quantnet-table7", config)
    _print_outcome(config.out, "ablation", ablation(config))
    return 0


def study_quantnet_search(config: QuantNetSearch) -> int:
    """The random search of QuantNet."""
    from experiments.papers.quantnet.study import random_search

    _take_folder("quantnet-search", config)
    trials = random_search(config)
    winner = max(trials, key=lambda trial: trial["score"])
    print(f"{len(trials)} trials in {config.out / 'search'}.")
    print(f"Best on the selection block: {winner['agent']} trial {winner['trial']}: {winner['score']:.3f}")
    return 0


def study_quantnet_transfer(config: QuantNetTransfer) -> int:
    """Where sharing helps by construction, by sample size."""
    from experiments.papers.quantnet.transfer import study

    _take_folder("quantnet-transfer", config)
    study(config)
    print((config.out / "transfer.txt").read_text())
    return 0


def study_dmn(config: DmnStudy) -> int:
    """Every exhibit of Deep Momentum Networks."""
    from experiments.papers.dmn.study import study

    _take_folder("dmn", config)
    _print_outcome(config.out, "exhibit3", study(config))
    return 0


def _take_folder(name: str, config: StudyData | QuantNetTransfer) -> None:
    """Make the folder of a study, or take the one where it was begun, and write its settings.

    What its page needs and is not installed is named here, before the first training, and so is a device that
    there is not.
    """
    from agents.device import resolve

    resolve(config.device)
    if name in PAGES:
        check_installed(PAGES[name], what="The page of a study")
    claim_folder(config.out, ["paper", name])
    write_config(config.out / "config.json", ["paper", name], config)


def _print_outcome(out: Path, table: str, page: Path) -> None:
    print((out / "tables" / f"{table}.txt").read_text())
    print(f"Tables, figures and page: {out} (open {page})")
    print("Research, not investment advice.")
