"""`qn panel`: data as people have them into a panel folder, and what a panel folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from experiments.settings.config import take_paths
from qn_env.checks import check_text
from qn_env.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from qn_env.panel import Panel
    from qn_env.sources.exports import Export, Reading

SUFFIXES = (".csv", ".txt", ".tsv", ".xlsx", ".parquet")
BLOCKS = " " + "".join(map(chr, range(0x2581, 0x2589)))  # a space, then bars from an eighth to the whole


@dataclass(frozen=True)
class PanelImport:
    """Read a file or a folder of exported prices and write a panel folder.

    Wide (a column for each asset), long (a row for each asset and day), bars (open, high, low, close) and
    yfinance's fields over tickers; CSV, Excel or Parquet. What was understood is printed; what can be read in
    two ways is asked for, and all that is wrong is told at once.
    """

    source: Positional[Path]
    """File or folder."""

    out: Path
    """Panel folder to write."""

    dates: Literal["iso", "dmy", "mdy"] = "iso"
    """iso: 2020-04-03 or 20200403; dmy: 03/04/2020 is in April; mdy: in March."""

    decimal: Literal[".", ","] | None = None
    """The sign before the decimals; the other one then parts thousands."""

    separator: str | None = None
    """Of the columns of a text file; default: the one its first line has most of."""

    field: str | None = None
    """Of bars, the column that is the price; default: the adjusted close, or the close."""

    market: str | None = None
    """The market of all assets; default: the file's name where a file has many assets, else the folder's."""

    bars_per_year: float | None = None
    """Rows of the panel in a year, to show it; default: as its dates say."""

    def __post_init__(self) -> None:
        take_paths(self, "source", "out")
        for name in ("separator", "field", "market"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))


@dataclass(frozen=True)
class PanelShow:
    """Print the markets of a panel folder, and when how many of their assets traded."""

    folder: Positional[Path]
    """Panel folder."""

    kind: Literal["prices", "returns"] | None = None
    """What its files hold, where their names do not say it."""

    bars_per_year: float | None = None
    """Rows of the panel in a year; default: as its dates say, 252 where they are not plain."""

    def __post_init__(self) -> None:
        take_paths(self, "folder")


def import_panel(config: PanelImport) -> int:
    """Read exports, write the folder, and show what it holds."""
    import pandas as pd

    from qn_env.sources import read_panel
    from qn_env.sources.exports import Reading
    from qn_env.storage import make_folder, write_atomically

    reading = Reading(
        dates=config.dates, decimal=config.decimal, separator=config.separator, field=config.field
    )
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"{config.out}: is not empty; choose another --out.")
    exports = _read_all(config.source, reading)
    for export in exports.values():
        for note in export.notes:
            print(note)
    market_of = _markets(config, exports)
    prices = pd.concat([export.prices for export in exports.values()], axis=1).sort_index()
    volumes = [export.volume for export in exports.values() if export.volume is not None]
    twice = sorted(prices.columns[prices.columns.duplicated()])
    if twice:
        raise DataError(f"{config.source}: {twice[0]!r} is in more than one file ({len(twice)} such assets).")
    folder = make_folder(config.out)
    _write(prices, folder / "prices.parquet")
    if volumes:
        _write(pd.concat(volumes, axis=1).sort_index(), folder / "volume.parquet")
    meta = pd.DataFrame({"instrument": list(market_of), "market": list(market_of.values())})
    write_atomically(folder / "meta.csv", meta.to_csv(index=False).encode())
    print(f"Written: {folder} (qn run --panel {folder})\n")
    try:
        print(in_words(read_panel(folder, bars_per_year=config.bars_per_year)))
    except ConfigError as error:  # the data are written; what else is to be said about them is said with them
        print(f"Note: {error}")
    return 0


def show_panel(config: PanelShow) -> int:
    """Print what a folder holds."""
    from qn_env.sources import read_panel

    print(in_words(read_panel(config.folder, kind=config.kind, bars_per_year=config.bars_per_year)))
    return 0


def in_words(panel: Panel) -> str:
    """The markets of a panel, a line each, with the share of their assets that traded, year by year."""
    import numpy as np

    years = panel.dates.astype("datetime64[Y]")
    known = np.unique(years)
    width = max(map(len, panel.markets))
    lines = [
        f"{panel.shape[1]} assets in {len(panel.markets)} markets, {panel.dates[0]} to {panel.dates[-1]}, "
        f"{panel.bars_per_year:,g} bars a year",
        f"{'':<{width}}  assets    days  first       last        share trading {known[0]} to {known[-1]}",
    ]
    for name, market in panel.markets.items():
        own, traded = panel.dates[market.rows], panel.tradable[:, market.columns]
        shares = [traded[years == year].any(axis=0).mean() for year in known]
        drawn = "".join(BLOCKS[int(np.ceil(share * (len(BLOCKS) - 1)))] for share in shares)
        lines.append(
            f"{name:<{width}}  {len(market.assets):>6}  {len(own):>6}  {own[0]}  {own[-1]}  |{drawn}|"
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in panel.notes)])


def _read_all(source: Path, reading: Reading) -> dict[Path, Export]:
    """Every file of a folder, or the one file; what is wrong with any of them in one error."""
    from qn_env.sources.exports import read_export

    paths = [source]
    if source.is_dir():
        paths = [path for path in sorted(source.iterdir()) if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(f"{source}: no file ending in {', '.join(SUFFIXES)}.")
    exports, wrong = {}, []
    for path in paths:
        try:
            exports[path] = read_export(path, reading)
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("\n".join(wrong))
    return exports


def _markets(config: PanelImport, exports: dict[Path, Export]) -> dict[str, str]:
    """The market of every asset."""
    folder = config.source.resolve()
    whole = folder.name if folder.is_dir() else folder.stem
    market_of: dict[str, str] = {}
    for path, export in exports.items():
        own = path.stem if export.shape != "bars" else whole
        market_of |= dict.fromkeys(map(str, export.prices.columns), config.market or own)
    return market_of


def _write(table: pd.DataFrame, path: Path) -> None:
    from experiments.storage.store import as_parquet
    from qn_env.storage import write_atomically

    write_atomically(path, as_parquet(table.rename_axis(index="date").reset_index()))
