"""The gated parts of the temporal fusion transformer (Lim, Arik, Loeff, Pfister 2021, arXiv:1912.09363).

A gate that can switch a layer off (Eq. 5), the gated residual network (Eqs. 2-4) and the selection of
variables by weights that each day chooses anew (Eqs. 6-8). Selection and residual networks may read a static
context c, which says whose days these are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

# Dropout as the whole network does it.
Drop = Callable[[Tensor], Tensor]

# Added to a variance, as `nn.LayerNorm` does.
EPSILON = 1e-5


class Gate(nn.Module):
    """LayerNorm(skipped + GLU(values)), the gated skip connection: it can switch a layer off."""

    def __init__(self, drop: Drop, n_in: int, n_out: int) -> None:
        super().__init__()
        self._drop = drop
        self.linear = nn.Linear(n_in, 2 * n_out)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, values: Tensor, skipped: Tensor) -> Tensor:
        """[..., n_in] and [..., n_out] -> [..., n_out]."""
        value, gate = self.linear(self._drop(values)).chunk(2, dim=-1)
        outputs: Tensor = self.norm(torch.addcmul(skipped, value, torch.sigmoid(gate)))
        return outputs


class GatedResidual(nn.Module):
    """The gated residual network: Gate(W2 ELU(W1 a + W3 c + b1) + b2, a), a projected where sizes differ."""

    def __init__(self, drop: Drop, n_in: int, hidden: int, n_out: int, *, context: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_in, hidden), nn.Linear(hidden, hidden)
        self.skip = nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out)
        self.gate = Gate(drop, hidden, n_out)
        self.context = nn.Linear(context, hidden, bias=False) if context else None

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """[..., n_in] -> [..., n_out].

        Args:
            inputs: a.
            context: [..., context] c; not read by a network without one.
        """
        return self.finish(self.first(inputs), self.skip(inputs), context)

    def finish(self, first: Tensor, skipped: Tensor, context: Tensor | None = None) -> Tensor:
        """The same from W1 a + b1 and the projected a, where somebody has a shorter way to them."""
        if self.context is not None:
            first = first + self.context(context)
        outputs: Tensor = self.gate(self.second(functional.elu(first)), skipped)
        return outputs


class Lines(nn.Module):
    """n linear maps of one shape, each of its own numbers; they begin as `nn.Linear` does."""

    def __init__(self, n: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(n, n_out, n_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n, n_out).uniform_(-bound, bound))

    def forward(self, columns: Tensor) -> Tensor:
        """[n, n_in, R] -> [n, n_out, R]."""
        return torch.baddbmm(self.bias[..., None], self.weight, columns)


class VariableSelection(nn.Module):
    """sum_j v_j GRN_j(xi_j), v = softmax(GRN([xi_1 .. xi_n], c)), xi_j = e_j u_j + b_j.

    Every variable has a gated residual network of its own, the same for all days; all of them are computed
    side by side. What a residual network first does to an embedded variable is a line in u_j itself, so that
    no product of the embedding's size is needed for it. Days stand on the last axis, where a number of a
    variable or a day is spread over the others at no cost.
    """

    def __init__(self, drop: Drop, n: int, hidden: int, *, context: int = 0) -> None:
        super().__init__()
        self._drop = drop
        self.embedding = Lines(n, 1, hidden)
        self.weigh = GatedResidual(drop, n * hidden, hidden, n, context=context)
        self.first, self.second = Lines(n, hidden, hidden), Lines(n, hidden, hidden)
        self.value, self.gate = Lines(n, hidden, hidden), Lines(n, hidden, hidden)
        self.scale, self.shift = nn.Parameter(torch.ones(n, hidden)), nn.Parameter(torch.zeros(n, hidden))

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, L, n] -> [B, L, hidden]; the context is [B, L, context], or [B, 1, context] for all days."""
        weights = self.weights(inputs, context)
        B, L, n = inputs.shape
        u = inputs.flatten(0, 1).T[:, None]  # [n, 1, B * L]
        embedded, first = (line @ torch.cat([u, torch.ones_like(u)], 1) for line in self._lines())
        hidden = self.second(functional.elu(first)).view(n, -1, B, L)
        kept = self._drop(hidden).flatten(2)
        mixed = torch.addcmul(embedded, self.value(kept), torch.sigmoid(self.gate(kept)))
        # Layer normalisation; its scale and shift go with the weights.
        centred = mixed - mixed.mean(1, keepdim=True)
        size = torch.rsqrt((centred * centred).mean(1, keepdim=True) + EPSILON)
        shares = weights.flatten(0, 1).T[:, None] * size
        chosen = torch.einsum("nh,nhr->rh", self.scale, centred * shares).view(B, L, -1)
        selected: Tensor = chosen + weights @ self.shift
        return selected

    def weights(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, L, n] v_j, what each variable counts on each day; they add up to one."""
        first, skip = (self._of_embedded(line, inputs) for line in (self.weigh.first, self.weigh.skip))
        return torch.softmax(self.weigh.finish(first, skip, context), dim=-1)

    def _of_embedded(self, line: nn.Module, inputs: Tensor) -> Tensor:
        """A linear map of all embedded variables side by side: W [e_j u_j + b_j] + b."""
        e, b = self.embedding.weight[..., 0], self.embedding.bias
        if not isinstance(line, nn.Linear):  # at a width of one there is nothing to project
            return inputs * e[:, 0] + b[:, 0]
        by_variable = line.weight.view(-1, *e.shape)  # [m, n, hidden]
        bias = line.bias + (by_variable * b).sum((1, 2))
        return functional.linear(inputs, (by_variable * e).sum(-1), bias)

    def _lines(self) -> tuple[Tensor, Tensor]:
        """[n, hidden, 2] slope and offset in u_j of xi_j, and of W1 xi_j + b1."""
        embedding = torch.cat([self.embedding.weight, self.embedding.bias[..., None]], dim=2)
        first = self.first.weight @ embedding
        return embedding, torch.cat([first[..., :1], first[..., 1:] + self.first.bias[..., None]], dim=2)
