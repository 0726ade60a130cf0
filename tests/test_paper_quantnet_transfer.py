"""The transfer study: its table of paired differences, and that a killed one goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

import experiments.papers.quantnet.transfer as module
from experiments.papers.quantnet.config import QuantNetTransfer
from experiments.papers.quantnet.transfer import pairs, study, text
from qn_env.storage import write_sealed


def scores(seeds: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"agent": agent, "days": days, "seed": seed, "known": base + rng.normal(0, 0.05)}
            for agent, base in (("quantnet-shared", 0.9), ("no-transfer-lstm", 0.3), ("quantnet", 0.1))
            for days in (250, 500)
            for seed in range(seeds)
        ]
    )


def test_differences_are_paired_by_seed_with_a_t_interval():
    table = scores()
    found = pairs(table).set_index(["agent", "days"]).loc[("quantnet-shared", 250)]
    wide = table[table["days"] == 250].pivot(index="seed", columns="agent", values="known")
    gap = wide["quantnet-shared"] - wide["no-transfer-lstm"]
    reach = t.ppf(0.975, 4) * gap.std(ddof=1) / 5**0.5
    assert found["difference"] == pytest.approx(gap.mean())
    assert (found["low"], found["high"]) == pytest.approx((gap.mean() - reach, gap.mean() + reach))
    assert found["p"] < 1e-3
    assert found["twin"] == "no-transfer-lstm"


def test_only_pairs_that_were_run_are_compared():
    found = pairs(scores())
    assert set(found["agent"]) == {"quantnet-shared", "quantnet"}
    assert pairs(scores(seeds=1)).empty, "one seed has no interval"


def test_the_text_shows_every_model_at_every_size():
    table = scores().assign(zero=np.nan, new=np.nan)
    shown = text(table, pairs(table))
    for word in ("250 days", "500 days", "QuantNet Shared", "No Transfer LSTM", "5 seeds"):
        assert word in shown


def test_a_study_that_was_cut_short_runs_only_what_is_missing(tmp_path, monkeypatch):
    def fake(agent: str, days: int, *, seed: int, progress, device) -> dict[str, float]:
        return {"known": days / 1000 + seed}

    monkeypatch.setattr(module, "transfer", fake)
    config = QuantNetTransfer(
        out=tmp_path, days=(250, 500), agents=("quantnet", "no-transfer-lstm"), seeds=2, jobs=1
    )
    whole = study(config)
    assert len(whole) == 8
    kept: Path = tmp_path / "transfer" / "quantnet-250days-seed0.json"
    write_sealed(kept, {"agent": "quantnet", "days": 250, "seed": 0, "known": 0.5})
    (tmp_path / "transfer" / "quantnet-250days-seed1.json").unlink()
    again = study(config).set_index(["agent", "days", "seed"])["known"]
    assert again["quantnet", 250, 0] == 0.5, "a finished unit is not run again"
    assert again["quantnet", 250, 1] == 1.25
    assert (tmp_path / "transfer.txt").read_text().startswith("Share of the best possible")
