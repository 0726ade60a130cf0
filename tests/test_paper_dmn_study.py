"""The study of Deep Momentum Networks as a whole: recalibrated, searched, judged, written, gone on with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents.agent import make_agent
from experiments.cli import main
from experiments.papers.config import as_the_paper_trades, late_trained
from experiments.papers.data import priced_panel
from experiments.papers.dmn.config import LSTM, REFERENCES, REGULARISED, DmnStudy
from experiments.papers.dmn.importance import WHOLE, rank_inputs
from experiments.papers.dmn.study import read_classes, search_of, study
from experiments.running.protocols import Protocol
from experiments.running.runner import load_panel, run
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError, DataError
from qn_env.sources.synthetic import ar1_trend

WINDOWS = ["2003-2003", "2004-2004"]
LATE = late_trained("dmn-linear-mse")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two markets of two assets, 2000 to 2004, as files; the second market keeps holidays of its own."""
    folder = tmp_path_factory.mktemp("panel")
    panel = ar1_trend(markets=2, assets=2, days=1300, seed=5)
    names = [f"{market}{asset}" for market, asset in zip(panel.market_of, panel.assets, strict=True)]
    prices = 100.0 * (1.0 + pd.DataFrame(panel.returns, columns=names)).cumprod()
    prices.loc[np.arange(10, 1300, 30), names[2:]] = np.nan
    prices.insert(0, "date", panel.dates)
    prices.to_csv(folder / "prices.csv", index=False)
    meta = {"instrument": names, "market": list(panel.market_of), "class": ["FX", "FX", "Equity", "Equity"]}
    meta["half_spread_bps"] = [1.0, 2.0, 5.0, 40.0]
    pd.DataFrame(meta).to_csv(folder / "meta.csv", index=False)
    return folder


def configured(data: Path, out: Path, **options) -> DmnStudy:
    settings = {"models": (LSTM, "dmn-linear-mse"), "test_from": "2003-01-01", "test_years": 1, "quick": True}
    return DmnStudy(out=out, panel=data, jobs=1, **settings | options)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> DmnStudy:
    """With one model that is trained one day late as well, of a panel that says what each asset costs."""
    config = configured(data, tmp_path_factory.mktemp("study") / "out", late_models=("dmn-linear-mse",))
    study(config)
    return config


def test_every_exhibit_is_written(finished):
    tables = {path.stem for path in (finished.out / "tables").glob("*.csv")}
    figures = {path.stem for path in (finished.out / "figures").glob("*.png")}
    assert {"exhibit2", "exhibit3", "exhibit8", "exhibit9"} <= tables
    assert {f"exhibit{n}" for n in (1, 4, 5, 6, 7, 8)} <= figures
    assert (finished.out / "paper.html").stat().st_size > 10_000


def test_each_window_is_searched_and_judged_with_its_own_choice(finished):
    about = json.loads((finished.out / "study.json").read_text())
    record = RunFolder(finished.out / "run").record()
    models = {LSTM, "dmn-linear-mse", REGULARISED, LATE}
    assert record["panel"]["windows"] == WINDOWS
    assert set(record["agents"]) == models | set(REFERENCES)
    assert {(c["agent"], c["window"]) for c in about["chosen"]} == {(m, w) for m in models for w in WINDOWS}
    for chosen in about["chosen"]:
        judged = record["agents"][chosen["agent"]]["windows"][chosen["window"]]
        assert judged == chosen["options"]


def test_a_quick_study_draws_nothing_and_trains_as_a_quick_run_does(finished, data, tmp_path):
    about = json.loads((finished.out / "study.json").read_text())
    for trial in about["trials"]:
        agent = LSTM if trial["agent"] == REGULARISED else as_the_paper_trades(trial["agent"])
        made = make_agent(agent, quick=True).config
        options = {name: value for name, value in trial["options"].items() if name != "train_cost_bps"}
        assert options == {name: getattr(made, name) for name in options}
        assert {"learning_rate", "batch", "epochs", "patience"} <= set(options)
    assert about["budget"]["search"].startswith("none")
    searched = [
        search_of(configured(data, tmp_path, quick=False, draws=3), LSTM).options(k) for k in range(3)
    ]
    assert len({str(options) for options in searched}) > 1


def test_the_regularised_model_pays_for_turnover_while_it_learns(finished):
    about = json.loads((finished.out / "study.json").read_text())
    costs = {t["agent"]: t["options"].get("train_cost_bps", 0.0) for t in about["trials"]}
    assert costs == {LSTM: 0.0, "dmn-linear-mse": 0.0, REGULARISED: 10.0, LATE: 0.0}


def test_a_model_is_trained_once_more_with_the_delay_where_it_is_asked_for(finished, tmp_path):
    record = RunFolder(finished.out / "run").record()
    executions = {name: made["train_execution"] for name, made in record["agents"].items()}
    assert {name for name, execution in executions.items() if execution == "late"} == {LATE}
    trials = {path.name: json.loads(path.read_text()) for path in (finished.out / "trials").glob("*.json")}
    late = {name for name, trial in trials.items() if trial.get("train_execution") == "late"}
    assert late == {name for name in trials if name.startswith(LATE)}
    own, other = (trials[f"{name}-seed0-2003-2003-trial0.json"] for name in (LATE, "dmn-linear-mse"))
    assert own["options"] == other["options"], "in a quick study nothing is drawn"
    assert own["curve"] != other["curve"], "it is selected late, too"
    table = pd.read_csv(finished.out / "tables" / "trained-late.csv").set_index("agent")
    assert table.index.tolist() == ["dmn-linear-mse"]
    row = table.iloc[0]
    assert row["free_gained"] == pytest.approx(row["free_trained"] - row["free"])
    exhibits = pd.read_csv(finished.out / "tables" / "exhibit3.csv")
    assert LATE not in set(exhibits["agent"]), "the paper's exhibits are of what trades as the paper does"
    whole = replace(finished, quick=False, late_models=None)
    assert whole.trained_late([LSTM]) == [late_trained(LSTM)]
    assert replace(finished, late_models=None).trained_late([LSTM]) == []
    with pytest.raises(ConfigError, match="late_models: the study has no 'macd'"):
        replace(finished, late_models=("macd",)).trained_late([LSTM])


def test_what_each_asset_costs_is_a_level_of_the_exhibits(finished, data):
    assert RunFolder(finished.out / "run").record()["config"]["costs"][-1] == "market"
    eight = pd.read_csv(finished.out / "tables" / "exhibit8.csv")
    assert set(eight["level"]) == {"0", "0.5", "1", "2", "3", "4", "5", "market"}
    nine = pd.read_csv(finished.out / "tables" / "exhibit9-own-costs.csv").set_index("agent")
    own = eight[eight["level"] == "market"].set_index("agent")["sharpe"]
    np.testing.assert_allclose(own[nine.index], nine["sharpe"])
    thirds = "By how dear assets are to trade"
    assert thirds not in (finished.out / "paper.html").read_text(), "of four assets there are none"
    without = configured(data, finished.out, costs=(0.0, 2.0))
    levels, panel = priced_panel(without, without.run_config(("macd",), 1, out="run"))
    assert levels.costs == (0.0, 2.0)
    assert panel.own_costs is None


def test_sharpe_trained_models_get_their_own_number_of_draws(data, tmp_path):
    config = configured(data, tmp_path, quick=False, draws=7, other_draws=3)
    assert [len(search_of(config, name).trials) for name in (LSTM, REGULARISED, "dmn-linear-mse")] == [
        7,
        7,
        3,
    ]
    with pytest.raises(ConfigError, match="other_draws is 0"):
        configured(data, tmp_path, other_draws=0)


def test_a_study_that_was_cut_short_goes_on_to_the_same_figures(finished, data, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    for name in ("run/run.json", f"trials/{LSTM}-seed0-2004-2004-trial0.json", "tables/exhibit3.csv"):
        (out / name).unlink()
    shutil.rmtree(out / "run" / "units" / f"{LSTM}-seed0-2003-2003")
    shutil.rmtree(out / "importance")
    study(configured(data, out, late_models=("dmn-linear-mse",)))
    for name in ("exhibit3", "exhibit6"):
        assert (out / "tables" / f"{name}.csv").read_bytes() == (
            finished.out / "tables" / f"{name}.csv"
        ).read_bytes()


def test_importance_is_of_the_portfolio_of_exhibit_2(finished):
    lost = pd.read_csv(finished.out / "tables" / "exhibit6.csv")
    raw = pd.read_csv(finished.out / "tables" / "exhibit2.csv").set_index("agent")
    np.testing.assert_allclose(lost["sharpe"] + lost["drop"], raw.loc[LSTM, "sharpe"])


def test_importance_is_the_sharpe_ratio_that_is_lost():
    days = pd.date_range("2000-01-03", periods=4)
    net = {WHOLE: [0.02, 0.0, 0.02, 0.0], "a": [0.01, 0.0, 0.01, -0.004], "b": [0.02, 0.0, 0.02, 0.0]}
    table = pd.concat(
        [
            pd.DataFrame({"date": days, "feature": name, "seed": 0, "net": values})
            for name, values in net.items()
        ]
    )
    found = rank_inputs(table).set_index("feature")
    ratio = {name: 252**0.5 * np.mean(v) / np.std(v, ddof=1) for name, v in net.items()}
    assert found.index.tolist() == ["a", "b"]
    assert found.loc["a", "sharpe"] == pytest.approx(ratio["a"])
    assert found.loc["a", "drop"] == pytest.approx(ratio[WHOLE] - ratio["a"])
    assert found.loc["b", "drop"] == pytest.approx(0.0)


def test_asset_classes_come_from_the_panels_meta_table(data, tmp_path):
    assert read_classes(data).to_dict("list") == {
        "instrument": ["M0A0", "M0A1", "M1A0", "M1A1"],
        "class": ["FX", "FX", "Equity", "Equity"],
    }
    assert read_classes(tmp_path) is None


def test_an_instrument_or_a_class_named_na_keeps_its_name(tmp_path):
    (tmp_path / "meta.csv").write_text("instrument,market,class\nNA,M,null\nB,M,FX\n")
    assert read_classes(tmp_path).to_dict("list") == {"instrument": ["NA", "B"], "class": ["null", "FX"]}
    (tmp_path / "meta.csv").write_text("instrument,market,class\nNA,M,\n")
    with pytest.raises(DataError, match=r"meta\.csv: column 'class', row 1: empty, expected a name"):
        read_classes(tmp_path)


def test_the_command_prints_exhibit_3(finished, data, capsys):
    argv = ["paper", "dmn", "--quick", "--jobs", "1", "--panel", str(data), "--out", str(finished.out)]
    argv += ["--models", f"{LSTM},dmn-linear-mse", "--test-from", "2003-01-01", "--test-years", "1"]
    argv += ["--late-models", "dmn-linear-mse"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "Exhibit 3, rescaled to 15% volatility" in out
    assert "Beyond the paper, one day late, trained for it" in out


def test_winners_of_the_search_are_not_trained_again_and_are_what_a_training_gives(
    data, tmp_path, monkeypatch
):
    def untrained(*_args, **_options):
        raise AssertionError("trained again")

    def judged_only(*args, **options):
        with monkeypatch.context() as patch:
            patch.setattr("agents.training._epoch", untrained)
            return run(*args, **options)

    monkeypatch.setattr("experiments.papers.dmn.study.write_artefacts", lambda *_parts, **_more: tmp_path)
    begun, anew = (configured(data, tmp_path / name, models=("dmn-linear-mse",)) for name in ("a", "b"))
    with monkeypatch.context() as patch:
        patch.setattr("experiments.papers.dmn.study.run", judged_only)
        study(begun)
    with monkeypatch.context() as patch:
        patch.setattr("experiments.papers.dmn.study.training_of", lambda *_: tmp_path / "nowhere")
        study(anew)
    for window in WINDOWS:
        name = f"units/dmn-linear-mse-seed0-{window}/daily.parquet"
        assert (begun.out / "run" / name).read_bytes() == (anew.out / "run" / name).read_bytes()


def test_no_market_learns_from_days_on_which_another_is_selected_on(finished):
    """By default; the second market has holidays of its own."""
    whole = finished.run_config(
        ("macd",), 1, out="run", protocol="expanding", test_from="2003-01-01", test_years=1
    )
    assert whole.calendar == "union"
    for fold in Protocol.of(whole).folds(load_panel(whole)):
        starts = set(fold.select_start.values())
        assert len(starts) == 1, "selection begins at one date in all markets"
        assert fold.train.dates[-1] < min(starts)
    own = replace(finished, calendar="market").run_config(("macd",), 1, out="run")
    assert own.calendar == "market"
