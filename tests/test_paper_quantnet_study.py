"""The study of the paper as a whole: searched, trained, judged, written; and gone on with after a kill."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.cli import main
from experiments.papers.config import StudyData, late_trained
from experiments.papers.quantnet.config import QuantNetAblation, QuantNetSearch, QuantNetStudy
from experiments.papers.quantnet.study import (
    ZERO,
    ablation_of,
    ablation_variants,
    even_split,
    random_search,
    study,
    zero_embeddings,
)
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError
from qn_env.sources.synthetic import ar1_trend

LATE = late_trained("no-transfer-linear")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three markets of two assets, 700 days, as files."""
    folder = tmp_path_factory.mktemp("panel")
    panel = ar1_trend(markets=3, assets=2, days=700, seed=5)
    for name, market in panel.markets.items():
        prices = 100.0 * (1.0 + pd.DataFrame(panel.returns[:, market.columns])).cumprod()
        prices.columns = pd.Index(market.assets)
        prices.insert(0, "date", panel.dates)
        prices.to_csv(folder / f"{name}.csv", index=False)
    costs = {"instrument": list(panel.assets), "market": list(panel.market_of)}
    pd.DataFrame({**costs, "half_spread_bps": np.arange(1.0, 7.0)}).to_csv(folder / "meta.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> QuantNetStudy:
    """With one model that is trained one day late as well, of a panel that says what each asset costs."""
    out = tmp_path_factory.mktemp("study") / "out"
    config = QuantNetStudy(out=out, panel=data, quick=True, jobs=1, late_models=("no-transfer-linear",))
    study(config)
    return config


def test_every_artefact_of_the_paper_is_written(finished):
    tables = {path.stem for path in (finished.out / "tables").glob("*.csv")}
    figures = {path.stem for path in (finished.out / "figures").glob("*.png")}
    assert {"table1", "table2", "table3", "table5", "table7", "fig2", "fig8", "fig9"} <= tables
    assert {"fig3", "fig4", "fig5a", "fig5b", "fig5c", "fig7", "fig8", "fig9", "fig10"} <= figures
    assert {"fig11", "fig12", "fig13"} <= figures
    assert (finished.out / "paper.html").stat().st_size > 10_000
    assert (finished.out / "ablation.html").stat().st_size > 1_000


def test_the_strategies_stand_side_by_side(finished):
    table = pd.read_csv(finished.out / "tables" / "table1.csv")
    found = {str(value) for column in table.columns for value in table[column]}
    assert {"quantnet", "quantnet-shared", ZERO, "no-transfer-lstm", "no-transfer-linear"} <= found
    assert {"buy-and-hold", "risk-parity", "ts-momentum", "cs-momentum"} <= found


def test_beyond_the_paper_stand_a_days_delay_and_how_dear_assets_are(finished):
    tables = finished.out / "tables"
    table = pd.read_csv(tables / "table1-late.csv").set_index("agent")
    known = table["trained_late"].notna()
    assert known[known].index.tolist() == ["no-transfer-linear"]
    record = RunFolder(finished.out / "run").record()
    assert record["agents"][LATE]["train_execution"] == "late"
    assert record["agents"][LATE]["agent"] == "no-transfer-linear"
    assert record["config"]["costs"] == [0.0, 2.0, 10.0, "market"]
    thirds = pd.read_csv(tables / "thirds.csv")
    assert LATE not in set(thirds["agent"])
    assert set(thirds["third"]) == {"cheap", "middling", "dear"}
    assert LATE not in set(pd.read_csv(tables / "table1.csv")["agent"])


def test_the_chosen_configuration_is_the_best_draw_and_the_one_that_was_judged(finished):
    about = json.loads((finished.out / "study.json").read_text())
    record = RunFolder(finished.out / "run").record()
    for agent, chosen in about["chosen"].items():
        scores = [t["score"] for t in about["trials"] if t["agent"] == agent]
        assert len(scores) == 2
        assert chosen["score"] == max(scores)
        assert record["agents"][agent]["options"] == chosen["options"]
        assert record["agents"][agent]["seeds"] == [0, 1]


@pytest.mark.slow
def test_a_study_that_was_cut_short_goes_on_to_the_same_figures(finished, data, tmp_path):
    """Without a unit, a trial and everything written at the end: as after a kill."""
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    for name in (
        "run/run.json",
        "run/results.parquet",
        "tables/table1.csv",
        "trials/quantnet-seed0-trial1.json",
    ):
        (out / name).unlink()
    shutil.rmtree(out / "run" / "units" / "quantnet-seed1")
    study(replace(finished, out=out))
    for name in ("tables/table1.csv", "tables/section4-2-tests.csv"):
        assert (out / name).read_bytes() == (finished.out / name).read_bytes()


def test_a_folder_of_another_study_is_refused(finished, data):
    with pytest.raises(ConfigError, match="was tried with other options"):
        study(QuantNetStudy(out=finished.out, panel=data, quick=True, jobs=1, length=21))


def test_the_zero_embedding_is_judged_without_training_again(finished):
    folder = RunFolder(finished.out / "run")
    days, plain = folder.unit_days("quantnet-shared-seed0"), folder.unit_days(f"{ZERO}-seed0")
    assert len(days) == len(plain)
    assert not days["gross"].equals(plain["gross"])
    assert zero_embeddings([], {}, folder) == []


def test_the_ablation_has_every_variant_at_every_dimension(tmp_path):
    variants = ablation_variants(QuantNetAblation(out=tmp_path))
    assert len(variants) == 4 * 4 + 2
    kinds = {(v.options["encoder"], v.options["transfer"]) for v in variants.values()}
    assert kinds == {
        *((body, transfer) for body in ("linear", "lstm") for transfer in ("linear", "lstm")),
        ("lstm", None),
        ("linear", None),
    }
    assert all(
        v.options["encoder"] == v.options.get("decoder", v.options["encoder"]) for v in variants.values()
    )


def test_the_search_spreads_its_draws_over_the_configurations(data, tmp_path):
    assert even_split(200, 6) == [34, 34, 33, 33, 33, 33]
    agents = ("no-transfer-linear", "quantnet-linear-linear")
    config = QuantNetSearch(out=tmp_path, panel=data, draws=3, agents=agents, steps=4, jobs=1)
    assert [(t["agent"], t["trial"]) for t in random_search(config)] == [
        ("no-transfer-linear", 0),
        ("no-transfer-linear", 1),
        ("quantnet-linear-linear", 0),
    ]
    assert len(list((tmp_path / "search").glob("*.json"))) == 3
    with pytest.raises(ConfigError, match="expected one at least for each of 2"):
        random_search(QuantNetSearch(out=tmp_path, panel=data, draws=1, agents=agents))


@pytest.mark.slow
def test_the_command_prints_the_first_table(finished, data, capsys):
    argv = ["paper", "quantnet", "--quick", "--jobs", "1", "--panel", str(data), "--out", str(finished.out)]
    argv += ["--late-models", "no-transfer-linear"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "Table 1" in printed
    assert str(finished.out / "paper.html") in printed


def test_the_quick_ablation_is_traded_as_the_study_is(tmp_path):
    study = QuantNetStudy(
        out=tmp_path / "study", execution_lag=2, calendar="union", costs=(0.0, 3.0), seed=4, jobs=1
    )
    table_7 = ablation_of(study)
    for field in fields(StudyData):
        assert getattr(table_7, field.name) == getattr(study, field.name), field.name
    assert table_7.quick
