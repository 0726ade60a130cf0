"""Transformer encoders over a few tokens of very many sequences (Vaswani et al. 2017), as PatchTST has them.

A sequence is one feature's handful of patches, or one day's handful of features, and a step has ten thousand
of them. Products of matrices as small as 7 x 4 spend their time in being called, and a softmax over seven
neighbours cannot use vectors. So tokens stand first and sequences after them, [N, ..., H]: every operation of
attention is one over long arrays, and its derivatives are written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Dropout as the whole network does it.
Drop = Callable[[Tensor], Tensor]

# Width of the feed-forward part, in widths of a token.
WIDER = 2


class EncoderLayer(nn.Module):
    """x = LayerNorm(x + attention(x)), then x = LayerNorm(x + W2 gelu(W1 x)); tokens [N, ..., H].

    The norm stands behind the sum, as in the papers of PatchTST and iTransformer. PatchTST's own is of a
    batch: here a number depends on its own sequence alone.
    """

    def __init__(self, drop: Drop, hidden: int, heads: int) -> None:
        """Dropout as the whole network does it, on what is added."""
        super().__init__()
        self._drop = drop
        self.attention = SelfAttention(hidden, heads)
        self.attended = nn.LayerNorm(hidden)
        self.first, self.second = nn.Linear(hidden, WIDER * hidden), nn.Linear(WIDER * hidden, hidden)
        self.fed = nn.LayerNorm(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, ..., H] -> [N, ..., H]."""
        tokens = self.attended(tokens + self._drop(self.attention(tokens)))
        fed = self.second(functional.gelu(self.first(tokens)))
        outputs: Tensor = self.fed(tokens + self._drop(fed))
        return outputs


class SelfAttention(nn.Module):
    """Heads of their own queries, keys and values; every token of a sequence attends to all of them.

    Queries, keys and values have no bias: that of keys would do nothing, and what is read has one.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, max(hidden // heads, 1)
        self.project = nn.Linear(hidden, 3 * heads * self.width, bias=False)
        self.out = nn.Linear(heads * self.width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, ..., H] -> [N, ..., H]."""
        queries, keys, values = self.project.weight.chunk(3)
        weights = torch.cat([queries * self.width**-0.5, keys, values])
        projected = weights @ tokens.flatten(0, -2).T  # [3 heads w, N n], sequences side by side
        mixed = attend(*projected.view(3, self.heads, self.width, len(tokens), -1).unbind(0))
        outputs: Tensor = self.out(mixed.reshape(self.heads * self.width, -1).T)
        return outputs.view(tokens.shape)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """sum_j softmax_j(q_i . k_j) v_j of n sequences of N tokens; differentiable once.

    Args:
        queries: [heads, w, N, n], scaled.
        keys: the same.
        values: the same.
    """
    mixed, _ = _attend(queries, keys, values)
    return mixed


def _attend(*given: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and the pattern [heads, i, j, n]."""
    mixed, pattern = _Attend.apply(*given)  # type: ignore[no-untyped-call]
    return mixed, pattern


def _pairs(first: Tensor, second: Tensor) -> Tensor:
    """[heads, i, j, n] products of every two tokens, summed over their w numbers."""
    sums = first[:, 0, :, None] * second[:, 0, None]
    for d in range(1, first.shape[1]):
        sums.addcmul_(first[:, d, :, None], second[:, d, None])
    return sums


def _mix(pattern: Tensor, values: Tensor) -> Tensor:
    """[heads, w, i, n] sums over the tokens j of values, weighed by a pattern [heads, i, j, n]."""
    sums = pattern[:, None, :, 0] * values[:, :, :1]
    for j in range(1, values.shape[2]):
        sums.addcmul_(pattern[:, None, :, j], values[:, :, j : j + 1])
    return sums


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        pattern = torch.softmax(_pairs(queries, keys), dim=2)
        return _mix(pattern, values), pattern

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _pattern: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, mixed, pattern = ctx.saved_tensors
        # Of the softmax: p_ij (s_ij - sum_k p_ik s_ik), and that sum is o_i . do_i.
        slope = _pairs(gradient, values)
        slope.sub_((gradient * mixed).sum(1)[:, :, None]).mul_(pattern)
        back = slope.transpose(1, 2)
        return _mix(slope, keys), _mix(back, queries), _mix(pattern.transpose(1, 2), gradient)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Members of a population are further heads: none sees another either."""
        members = (
            one.expand(info.batch_size, *one.shape) if place is None else one.movedim(place, 0)
            for one, place in zip(given, in_dims, strict=True)
        )
        found = _attend(*(one.flatten(0, 1) for one in members))
        mixed, pattern = (part.view(info.batch_size, -1, *part.shape[1:]) for part in found)
        return (mixed, pattern), (0, 0)
