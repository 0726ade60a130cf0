"""The command: measure every row, print the table, write what was found."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from experiments.benchmarks.measure import Row, publish
from experiments.benchmarks.training import dmn, quantnet

PARTS = ("quantnet", "dmn")


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here; nothing was measured. Use --device cpu.")
        return []
    torch.set_num_threads(1)
    configs = _configs(given)
    more = {"device": torch.cuda.get_device_name()} if given.device == "cuda" else {}
    config = {name: asdict(part) for name, part in configs.items()}
    return publish(_rows(configs), prog=parser.prog, argv=argv, config=config, out=given.out, **more)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: no figure to quote")
    parser.add_argument("--only", choices=PARTS, help="measure one part")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where QuantNet's step runs; dmn: CPU only"
    )
    parser.add_argument("--keras", type=Path, metavar="PYTHON", help="an interpreter that has TensorFlow")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    return parser


def _configs(given: argparse.Namespace) -> dict[str, quantnet.Config | dmn.Config]:
    """The configuration of every part that was asked for."""
    configs: dict[str, quantnet.Config | dmn.Config] = {
        "quantnet": (quantnet.Config.quick if given.quick else quantnet.Config)(device=given.device),
        "dmn": (dmn.Config.quick if given.quick else dmn.Config)(keras=given.keras),
    }
    return {name: configs[name] for name in PARTS if given.only in (None, name)}


def _rows(configs: dict[str, quantnet.Config | dmn.Config]) -> Iterator[Row]:
    for config in configs.values():
        yield from quantnet.rows(config) if isinstance(config, quantnet.Config) else dmn.rows(config)


if __name__ == "__main__":
    main()
