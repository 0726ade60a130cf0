"""An LSTM that `torch.func.vmap` reads for many networks at once: the kernels of torch's own know one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agents.lstm.masked import stack_weights
from agents.lstm.recurrence import recurrence

State = tuple[Tensor, Tensor]
_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class MemberLstm(nn.Module):
    """One layer of `nn.LSTM`, one direction, batch first, under vmap; its parameters have the same names."""

    def __init__(self, lstm: nn.LSTM) -> None:
        """With the parameters of `lstm` themselves."""
        super().__init__()
        self.hidden_size = lstm.hidden_size
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """As of `nn.LSTM`."""
        return [[getattr(self, name) for name in _NAMES]]

    def forward(self, inputs: Tensor, before: State | None = None) -> tuple[Tensor, State]:
        """[B, L, n_in] -> [B, L, H], and the state [1, B, H] after the last day."""
        if before is None:
            zero = inputs.new_zeros(len(inputs), self.hidden_size)
            before = (zero[None], zero[None])
        mask = inputs.new_ones(len(inputs), self.hidden_size)
        states, h, c = self.masked(inputs, mask, before[0][0], before[1][0])
        return states, (h[None], c[None])

    def masked(
        self, inputs: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `agents.lstm.masked.masked_lstm` gives."""
        states, last = _Member.apply(  # type: ignore[no-untyped-call]
            inputs.permute(1, 2, 0), stack_weights(self.all_weights[0]), mask.T, hidden.T, cell.T
        )
        return states.permute(2, 0, 1), states[-1].T.detach(), last.T


class _Member(torch.autograd.Function):
    """`recurrence` of one member, and under vmap of all of them; [L, ..., B]."""

    @staticmethod
    def forward(
        inputs: Tensor, weights: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, last = recurrence(inputs[:, None], weights[None], mask[None], hidden[None], cell[None])
        return states[:, 0], last[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        """Nothing is kept: the derivative is that of `recurrence`, which vmap reaches."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("a member learns among others, under torch.func.vmap")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        inputs, *others = (
            one.expand(info.batch_size, *one.shape) if place is None else one.movedim(place, 0)
            for one, place in zip(given, in_dims, strict=True)
        )
        # [L, K, F, B]: a day of all members is one block.
        return recurrence(inputs.movedim(0, 1), *others), (1, 0)
