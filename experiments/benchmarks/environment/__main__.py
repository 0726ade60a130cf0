"""The command: measure every row, print the table, write what was found."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.benchmarks.measure import Row, publish


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the benchmark.

    Attributes:
        rounds: repetitions of each comparison.
        days: of the panel of thirty assets.
        length: timed steps of one scalar environment in a round.
        vector_length: timed steps of a vector environment in a round.
        early: steps at each end of the comparison over time.
        late: steps before the second end.
        large: environments of the large vector.
        small: environments of the small vector.
        reset_days: panel lengths of the reset rows.
        rollout: steps of each environment in a PPO rollout.
        paper_csv: the table of markets; None leaves the paper's scale out.
        peers_python: an interpreter with the peers; None leaves their side out.
        scale: also measure memory at ten times the paper's scale.
    """

    rounds: int = 7
    days: int = 4000
    length: int = 2000
    vector_length: int = 60
    early: int = 500
    late: int = 2500
    large: int = 1024
    small: int = 64
    reset_days: tuple[int, ...] = (1_000, 10_000, 100_000)
    rollout: int = 64
    paper_csv: Path | None = None
    peers_python: Path | None = None
    scale: bool = False

    @classmethod
    def quick(
        cls, *, paper_csv: Path | None = None, peers_python: Path | None = None, scale: bool = False
    ) -> Config:
        """Every row in seconds: to see that it runs, not how fast."""
        return cls(
            rounds=1,
            days=500,
            length=50,
            vector_length=4,
            early=50,
            late=100,
            large=32,
            small=4,
            reset_days=(200, 400),
            rollout=16,
            paper_csv=paper_csv,
            peers_python=peers_python,
            scale=scale,
        )


def rows(config: Config) -> Iterator[Row]:
    """Measure, row after row."""
    from experiments.benchmarks.environment import learning, one_asset, paper, thirty

    c = config
    yield from thirty.scalar_rows(days=c.days, length=c.length, rounds=c.rounds)
    yield thirty.flat_row(days=c.days, early=c.early, late=c.late, rounds=c.rounds)
    yield from thirty.reset_rows(lengths=c.reset_days, times=c.length, rounds=c.rounds)
    yield from thirty.vector_rows(
        days=c.days, length=c.vector_length, large=c.large, small=c.small, rounds=c.rounds
    )
    yield from one_asset.one_asset_rows(
        days=c.days, window=thirty.WINDOW, num_envs=c.large, rounds=c.rounds, python=c.peers_python
    )
    yield from learning.learning_rows(
        days=c.days, num_envs=c.small, length=c.rollout, rounds=max(c.rounds // 2, 1)
    )
    if c.paper_csv is not None:
        yield from paper.paper_rows(c.paper_csv, length=c.length // 5, rounds=c.rounds)
        if c.scale:
            yield paper.scale_row(c.paper_csv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.environment", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: no figure to quote")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--paper-csv", type=Path, help="markets of QuantNet's Table 2: market,samples,assets")
    parser.add_argument("--peers-python", type=Path, help="an interpreter that has the peers installed")
    parser.add_argument("--scale", action="store_true", help="the slow row: ten times the paper (20 GB)")
    given = parser.parse_args(argv)
    make = Config.quick if given.quick else Config
    config = make(paper_csv=given.paper_csv, peers_python=given.peers_python, scale=given.scale)
    return publish(rows(config), prog=parser.prog, argv=argv, config=asdict(config), out=given.out)


if __name__ == "__main__":
    main()
