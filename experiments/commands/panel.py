"""`qn panel`: data as people have or download them into a panel folder, and what a panel folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from experiments.settings.config import take_days, take_paths
from qn_env.checks import check_text
from qn_env.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Rows of the panel in a year, with which it is shown; default: as its dates say."""

    def __post_init__(self) -> None:
        take_paths(self, "source", "out")
        for name in ("separator", "field", "market"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))


@dataclass(frozen=True)
class PanelDownload:
    """Download daily prices and write a panel folder, or nothing where an answer is not what was asked for.

    The price is the close adjusted for dividends and splits; the volume stands beside it. All that is wrong
    is told at once: unknown tickers, tickers without a price, histories cut short, refused requests.
    The file notes.txt says when and from where the prices are.
    """

    tickers: Positional[tuple[str, ...]]
    """As the source writes them: AAPL, 7203.T, ^GSPC, EURUSD=X."""

    out: Path
    """Panel folder to write."""

    source: Literal["yahoo"] = "yahoo"
    """yahoo: Yahoo Finance; needs the extra yahoo (pip install "qn-env[yahoo]")."""

    start: str | None = None
    """First day, YYYY-MM-DD; default: the first that there is."""

    end: str | None = None
    """Last day, included; default: yesterday (UTC)."""

    market: str | None = None
    """The market of all assets; default: each asset's exchange as the source calls it."""

    def __post_init__(self) -> None:
        take_paths(self, "out")
        take_days(self, "start", "end")
        if self.market is not None:
            check_text("market", self.market)


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

    from qn_env.sources.exports import Reading

    reading = Reading(
        dates=config.dates, decimal=config.decimal, separator=config.separator, field=config.field
    )
    _check_free(config.out)
    exports = _read_all(config.source, reading)
    prices = pd.concat([export.prices for export in exports.values()], axis=1).sort_index()
    volumes = [export.volume for export in exports.values() if export.volume is not None]
    twice = sorted(prices.columns[prices.columns.duplicated()])
    if twice:
        raise DataError(f"{config.source}: {twice[0]!r} is in more than one file ({len(twice)} such assets).")
    volume = pd.concat(volumes, axis=1).sort_index() if volumes else None
    notes = [note for export in exports.values() for note in export.notes]
    market_of = _markets(config, exports)
    write_folder(config.out, str(config.source), prices, volume, market_of, notes, config.bars_per_year)
    return 0


def download_panel(config: PanelDownload) -> int:
    """Download prices, write the folder, and show what it holds."""
    from agents.progress import shows_bars, tqdm
    from qn_env.sources.yahoo import SOURCE, download

    _check_free(config.out)
    export, exchanges = download(
        config.tickers,
        start=config.start,
        end=config.end,
        watch=lambda names: tqdm(names, desc=SOURCE, disable=not shows_bars(), leave=False),
    )
    market_of = exchanges if config.market is None else dict.fromkeys(exchanges, config.market)
    write_folder(config.out, SOURCE, export.prices, export.volume, market_of, export.notes)
    return 0


def write_folder(
    out: Path,
    source: str,
    prices: pd.DataFrame,
    volume: pd.DataFrame | None,
    market_of: Mapping[str, str],
    notes: Sequence[str],
    bars_per_year: float | None = None,
) -> None:
    """Write a panel folder and show what it holds; prices that make no panel are not written.

    Args:
        out: the folder.
        source: what errors call the prices.
        prices: [T, N] of days by assets, NaN where there is none.
        volume: the same of traded volumes; None where there are none.
        market_of: the market of every asset.
        notes: how the prices were understood; they are printed, and stay notes of the panel.
        bars_per_year: of the panel, as of `Panel.build`; the folder does not keep it.

    Raises:
        ConfigError: bars within days whose number a year is not plain.
        DataError: dates or prices that cannot be used as they are.
        FileError: a file that cannot be written.
    """
    import pandas as pd

    from qn_env.sources import from_prices, read_panel
    from qn_env.sources.files import NOTES
    from qn_env.storage import make_folder, write_atomically

    from_prices(prices, market_of, source=source, bars_per_year=bars_per_year)
    folder = make_folder(out)
    _write(prices, folder / "prices.parquet")
    if volume is not None:
        _write(volume, folder / "volume.parquet")
    meta = pd.DataFrame({"instrument": list(market_of), "market": list(market_of.values())})
    write_atomically(folder / "meta.csv", meta.to_csv(index=False).encode())
    write_atomically(folder / NOTES, "".join(f"{note}\n" for note in notes).encode())
    print(f"Written: {folder} (qn run --panel {folder})\n")
    print(in_words(read_panel(folder, bars_per_year=bars_per_year)))


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


def _check_free(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; choose another --out.")


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
