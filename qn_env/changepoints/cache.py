"""Fits of changepoints kept on disk, under the fingerprint of the returns they were made of.

A fit takes an asset's own returns and a look-back, so that its file is named after those: the version of the
method, the look-back, and the SHA-256 of the returns. Panels that share an asset's history share its fits,
whatever their dates, names and costs; a return that differs anywhere is another file. A file is written whole
or not at all, by any number of processes. One that is torn or foreign, as its checksum tells, counts as none:
the fit is made again and takes its place.

Nothing is kept unless a folder is named: to `cached`, or by the environment variable QN_ENV_CACHE for whoever
reads the feature.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.changepoints.evidence import FEWEST_DAYS, MOST_DAYS, fit
from qn_env.checks import check_is, check_path, check_whole
from qn_env.errors import FileError
from qn_env.panel import Panel
from qn_env.storage import SEAL, digest, make_folder, write_atomically
from qn_env.year import bars_in

VERSION = 1  # of the method: another one where a figure of `fit` changes
VARIABLE = "QN_ENV_CACHE"
NAMES = ("severity", "location")  # of the arrays [T] in a file


def cached(panel: Panel, days: int, folder: str | Path | None = None) -> tuple[FloatArray, FloatArray]:
    """Severity and location [T, N] of a panel's changepoints, NaN where undefined; fitted once for both.

    The same numbers as those of the feature `Changepoint`, which reads the same files.

    Args:
        panel: the panel; each asset is fitted on its own trading days.
        days: look-back in trading days, brought to the panel's bars as a feature's span is.
        folder: where fits are kept; None: where QN_ENV_CACHE says, or nowhere.

    Raises:
        ConfigError: an argument of another type or out of bounds.
        FileError: the folder cannot be made or written to.
    """
    check_is("panel", panel, Panel, "a Panel")
    days = check_whole("days", days, FEWEST_DAYS, MOST_DAYS)
    days = min(bars_in(days, panel.bars_per_year, FEWEST_DAYS), MOST_DAYS)
    place = folder_of_environment() if folder is None else check_path("folder", folder)
    severity, location = np.full(panel.shape, np.nan), np.full(panel.shape, np.nan)
    for j in range(panel.shape[1]):
        own = panel.tradable[:, j]
        severity[own, j], location[own, j] = kept(panel.returns[own, j], days, place)
    return severity, location


def folder_of_environment() -> Path | None:
    """The folder that QN_ENV_CACHE names, if it does."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def kept(returns: FloatArray, days: int, folder: Path | None) -> tuple[FloatArray, FloatArray]:
    """`evidence.fit` of one asset's returns [T], from its file in a folder, or made and put there.

    Raises:
        FileError: the folder cannot be made or written to.
    """
    if folder is None:
        return fit(returns, days)
    known = np.flatnonzero(np.isfinite(returns))
    length = int(known[-1]) + 1 if len(known) else 0  # below, a panel's rows are empty
    own = np.ascontiguousarray(returns[:length], dtype=np.float64)
    path = file_of(own, days, folder)
    found = _read(path, length)
    if found is None:
        found = fit(own, days)
        make_folder(path.parent)
        try:
            _write(path, found)
        except FileError:  # a thread of this process has just put the same there
            if not path.is_file():
                raise
    severity, location = np.full(len(returns), np.nan), np.full(len(returns), np.nan)
    severity[:length], location[:length] = found
    return severity, location


def file_of(returns: FloatArray, days: int, folder: Path) -> Path:
    """Where the fit of these returns [T] and look-back is kept."""
    fingerprint = digest(np.where(np.isfinite(returns), returns, np.nan).tobytes())
    return folder / f"changepoints-{VERSION}" / str(days) / f"{fingerprint}.safetensors"


def _write(path: Path, arrays: tuple[FloatArray, FloatArray]) -> None:
    """A fit as safetensors with its checksum, whole or not at all."""
    from safetensors.numpy import save

    write_atomically(path, save(dict(zip(NAMES, arrays, strict=True)), metadata={SEAL: _seal(arrays)}))


def _read(path: Path, length: int) -> tuple[FloatArray, FloatArray] | None:
    """What `_write` wrote of so many rows; None where there is no file, or it is another or a torn one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            seal = (file.metadata() or {}).get(SEAL)
            severity, location = (file.get_tensor(name) for name in NAMES)
    except (SafetensorError, OSError, ValueError):
        return None
    arrays = (severity, location)
    if any(one.shape != (length,) or one.dtype != np.float64 for one in arrays) or seal != _seal(arrays):
        return None
    return arrays


def _seal(arrays: tuple[FloatArray, FloatArray]) -> str:
    return digest(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays))
