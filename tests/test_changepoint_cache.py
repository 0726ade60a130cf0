"""Fits of changepoints on disk: the same figures, of the same returns only, and what is torn made again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qn_env.changepoints import Changepoint, cached, evidence
from qn_env.errors import ConfigError, FileError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

PARTS = (Changepoint(10, "severity"), Changepoint(10, "location"))


@pytest.fixture
def small() -> Panel:
    return ragged(sizes=(2, 2), days=60, seed=7)


@pytest.fixture
def fits(monkeypatch) -> list[int]:
    """The look-back of every fit that is made."""
    made: list[int] = []

    def fit(returns, days):
        made.append(days)
        return evidence.fit(returns, days)

    monkeypatch.setattr("qn_env.changepoints.cache.fit", fit)
    return made


def assert_right(found, panel):
    """As without any folder."""
    for part, values in zip(PARTS, found, strict=True):
        np.testing.assert_array_equal(values, replace(panel).feature(part))


def test_a_fit_is_made_once_for_all_that_name_the_folder(small, fits, tmp_path, monkeypatch):
    assert_right(cached(small, 10), small)
    fits.clear()
    assert_right(cached(small, 10, tmp_path), small)
    assert fits.count(10) == 4 + 2 * 4  # the folder's, and those that it is compared with
    fits.clear()
    monkeypatch.setenv("QN_ENV_CACHE", str(tmp_path))
    cached(small, 10, tmp_path)
    cached(small, 10)
    for part in PARTS:
        replace(small).feature(part)
    small.select([small.market_of[0]]).feature(PARTS[0])  # a part of the panel has the same histories
    assert fits == []
    cached(small, 12)
    cached(small.until(small.dates[40]), 10)
    longer = int(small.tradable[41:].any(axis=0).sum())  # the others' histories are not cut by it
    assert fits == [12] * 4 + [10] * longer


def test_a_return_that_differs_is_another_fit(small, fits, tmp_path):
    cached(small, 10, tmp_path)
    returns = small.returns.copy()
    row = int(np.flatnonzero(np.isfinite(returns[:, 2]))[-1])
    returns[row, 2] += 1e-16 + returns[row, 2] * 1e-15
    other = small.with_observations(returns, small.tradable)
    fits.clear()
    cached(other, 10, tmp_path)
    assert fits == [10]
    assert_right(cached(other, 10, tmp_path), other)


@pytest.mark.parametrize("damage", ["torn", "empty", "one bit", "another fit", "foreign"])
def test_a_file_that_is_not_what_was_written_is_made_again(small, fits, tmp_path, damage):
    cached(small, 10, tmp_path)
    first, second = sorted(tmp_path.rglob("*.safetensors"))[:2]
    whole = first.read_bytes()
    content = {
        "torn": whole[:-9],
        "empty": b"",
        "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "another fit": whole.replace(b'"severity"', b'"elsewise"'),
        "foreign": b"\x80\x04N.",  # a pickle
    }[damage]
    first.write_bytes(content)
    fits.clear()
    assert_right(cached(small, 10, tmp_path), small)
    assert fits[0] == 10
    assert first.read_bytes() == whole
    assert second.exists()
    assert len(list(tmp_path.rglob("*"))) == 4 + 2  # no half of a file stays behind


def test_a_folder_that_cannot_be_used_and_a_panel_that_is_none_are_refused(small, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(FileError, match="the folder cannot be made"):
        cached(small, 10, file)
    with pytest.raises(ConfigError, match="panel is a ndarray, expected a Panel"):
        cached(small.returns, 10, tmp_path)
    with pytest.raises(ConfigError, match="days is 1, expected at least 4"):
        cached(small, 1, tmp_path)
    with pytest.raises(ConfigError, match="folder is 3"):
        cached(small, 10, 3)
