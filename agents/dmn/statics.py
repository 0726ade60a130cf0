"""Learnt vectors of an asset and of its market as further inputs of any network of the family.

Temporal fusion transformers know what a series is by static inputs (Lim, Arik, Loeff, Pfister 2021); here
they are optional for every network. While training a sequence's vectors are set to zero at the rate of
dropout, so that zero, which is what an asset never seen has, is met.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from agents.dmn.network import Memory, Network
from qn_env.arrays import FloatArray
from qn_env.panel import Panel

# Columns behind the features: the number of the asset and that of its market, 0 of one that is not known.
NUMBERS = 2

# [N] market and name of every asset that is known, in the order of the training panel.
Layout = list[list[str]]


def layout_of(panel: Panel) -> Layout:
    """Market and name of every asset of a panel."""
    return [list(pair) for pair in zip(panel.market_of, panel.assets, strict=True)]


def markets_of(layout: Layout) -> list[str]:
    """The markets of a layout, each once."""
    return list(dict.fromkeys(market for market, _ in layout))


def numbers_of(panel: Panel, known: Layout) -> FloatArray:
    """[N, 2] the numbers of a panel's assets and of their markets in a layout, from 1 on; 0 where unknown."""
    return numbers_in(layout_of(panel), known)


def numbers_in(assets: Layout, known: Layout) -> FloatArray:
    """[N, 2] the same of some assets."""
    own = {(market, name): k for k, (market, name) in enumerate(known, 1)}
    markets = {name: k for k, name in enumerate(markets_of(known), 1)}
    rows = [(own.get((market, name), 0), markets.get(market, 0)) for market, name in assets]
    return np.array(rows, dtype=np.float64).reshape(-1, NUMBERS)


class StaticNetwork(Network):
    """A network that reads beside the features e_asset + e_market, [B, L, width], of every day.

    Reads [B, L, F + 2], the last two columns being the numbers of asset and market.
    """

    def __init__(self, inner: Network, layout: Sequence[Sequence[str]], width: int) -> None:
        """Put the vectors before a network.

        Args:
            inner: reads F + width inputs.
            layout: the assets that have a vector.
            width: of a vector.
        """
        super().__init__(inner.dropout)
        self.inner = inner
        inner.masks = self.mask  # one stream of masks for both
        self.past, self.reads_days = inner.past, inner.reads_days
        known = [list(pair) for pair in layout]
        # Zero until they are learnt: the weights that read them are not.
        self.assets = nn.Parameter(torch.zeros(len(known), width))
        self.markets = nn.Parameter(torch.zeros(len(markets_of(known)), width))

    def memory(self, past: Tensor) -> Memory:
        """That of the network inside."""
        return self.inner.memory(self._with_vectors(past, None))

    def beginning(self, past: Tensor) -> Memory:
        """That of the network inside."""
        return self.inner.beginning(self._with_vectors(past, None))

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        outputs: tuple[Tensor, Memory] = self.inner(self._with_vectors(inputs, self._kept(inputs)), memory)
        return outputs

    def last_day(self, rows: Tensor) -> Tensor:
        """Z [B, 1] of the last of `past` + 1 days."""
        return self.inner.last_day(self._with_vectors(rows, self._kept(rows)))

    def penalised(self) -> Tensor | None:
        """Those of the network inside."""
        return self.inner.penalised()

    @torch.no_grad()
    def take_over(self, earlier: StaticNetwork, here: Layout, there: Layout) -> None:
        """Copy an earlier network of the same shape but for its assets, and the vectors that both have."""
        self.inner.load_state_dict(earlier.inner.state_dict())
        _take_rows(self.assets, earlier.assets, here, there)
        _take_rows(self.markets, earlier.markets, markets_of(here), markets_of(there))

    def _kept(self, rows: Tensor) -> Tensor | None:
        """[B, 1, 1] 1 where a sequence's vectors are used, 0 where they are dropped: zero means unseen."""
        if not self.drops:
            return None
        return (self.mask((len(rows), 1, 1), rows) > 0).to(rows.dtype)

    def _with_vectors(self, rows: Tensor, kept: Tensor | None) -> Tensor:
        """[B, L, F + width] the features, and the vectors in place of the numbers."""
        features, numbers = rows[..., :-NUMBERS], rows[..., -NUMBERS:].long()
        assets, markets = (
            torch.cat([table.new_zeros(1, table.shape[1]), table])[number]
            for table, number in zip((self.assets, self.markets), numbers.unbind(-1), strict=True)
        )
        vectors = assets + markets
        return torch.cat([features, vectors if kept is None else vectors * kept], dim=-1)


def _take_rows(mine: Tensor, theirs: Tensor, here: Sequence[object], there: Sequence[object]) -> None:
    """Copy the rows of what both tables have."""
    for k, name in enumerate(here):
        if name in there:
            mine[k] = theirs[there.index(name)]
