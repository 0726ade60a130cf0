"""The weights of all members of a population, their optimiser, and nothing else.

All parameters of a member lie behind each other in a row of one array [K, P], and so do their gradients and
moments: a step of the optimiser is the same few passes over memory for a linear model and for fifty markets'
encoders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.population.jobs import Job

# What is added to a norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does.
CLIP_EPSILON = 1e-6


class Stack:
    """K members on a device: weights, gradients and moments of Adam (Kingma and Ba 2015) or AMSGrad.

    Attributes:
        weights: by the name of a parameter, [K, ...], with gradients.
        flat: [K, P] the same, all of a member behind each other.
    """

    def __init__(self, jobs: Sequence[Job], device: torch.device) -> None:
        """Lay the members' weights and the states of their optimisers side by side."""
        self._jobs = jobs
        named = [dict(job.network.named_parameters()) for job in jobs]
        shapes = {name: parameter.shape for name, parameter in named[0].items()}
        self._sizes = [shape.numel() for shape in shapes.values()]
        self.flat = _rows([[p.detach() for p in own.values()] for own in named], device)
        parts = zip(shapes.items(), self.flat.split_with_sizes(self._sizes, 1), strict=True)
        self.weights = {
            name: values.view(len(jobs), *shape).requires_grad_() for (name, shape), values in parts
        }
        # [P] which parameter a number belongs to.
        owner = torch.arange(len(shapes)).repeat_interleave(torch.tensor(self._sizes))
        self._owner = owner.to(device)
        self._read_settings(device)
        self._steps, (self._mean, self._square, *largest) = _moments(jobs, device)
        self._largest = largest[0] if largest else None

    def __len__(self) -> int:
        return len(self._jobs)

    def step(self, losses: Tensor, taken: Tensor) -> Tensor:
        """Step down the clipped gradients; their norms [K] before clipping.

        Args:
            losses: [K] of the members, of their own weights alone.
            taken: [K, 1] of members, or [K, n] of their parameters: 1 where a step is taken, 0 where the
                parameter and its moments stay what they are.
        """
        if taken.shape[1] > self._steps.shape[1]:
            self._steps = self._steps.repeat(1, taken.shape[1])
        slopes = torch.autograd.grad(losses.sum(), list(self.weights.values()), materialize_grads=True)
        g, on = torch.cat([slope.flatten(1) for slope in slopes], dim=1), self._spread(taken)
        norm: Tensor = torch.linalg.vector_norm(g, dim=1)
        g *= (self._max_norm / (norm + CLIP_EPSILON)).clip(max=1.0)[:, None]
        if self._decay is not None:
            g.addcmul_(self.flat, self._decay)
        b1, b2 = self._beta1, self._beta2
        self._steps += taken
        # Of a member that does not step the weight is 0, and what is there stays as it is, to the bit.
        self._mean.lerp_(g, on * (1.0 - b1))
        self._square.lerp_(g * g, on * (1.0 - b2))
        square = self._square
        if self._largest is not None:
            square = torch.maximum(self._largest, square, out=self._largest)
        steps = self._steps.clip(1.0)
        rate = self._spread((1.0 / (1.0 - b1**steps)).to(g.dtype)) * self._rate
        root = self._spread((1.0 - b2**steps).sqrt().to(g.dtype))
        change = rate * self._mean / (square.sqrt() / root + self._epsilon)
        self.flat -= change * on
        return norm

    def write_back(self, rows: Sequence[int]) -> None:
        """Leave the members of these numbers in their own networks and optimisers, on the CPU."""
        flat, mean, square, steps = (
            part.detach().cpu() for part in (self.flat, self._mean, self._square, self._steps)
        )
        largest = None if self._largest is None else self._largest.cpu()
        for k in rows:
            job = self._jobs[k]
            parameters = list(job.network.parameters())
            values = [
                flat[k].split_with_sizes(self._sizes),
                mean[k].split_with_sizes(self._sizes),
                square[k].split_with_sizes(self._sizes),
            ]
            values += [] if largest is None else [largest[k].split_with_sizes(self._sizes)]
            taken = steps[k].expand(len(parameters))
            for n, (parameter, *own) in enumerate(zip(parameters, *values, strict=True)):
                new, *moments = (part.view(parameter.shape).clone() for part in own)
                parameter.data.copy_(new)
                if taken[n] > 0:
                    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
                    state = {"step": taken[n].to(torch.float32).clone()}
                    job.optimizer.state[parameter] = state | dict(zip(names, moments, strict=False))

    def named(self, row: Tensor) -> dict[str, Tensor]:
        """One member's numbers [P] by the names of its parameters."""
        parts = zip(self.weights.items(), row.split_with_sizes(self._sizes), strict=True)
        return {name: part.view(leaf.shape[1:]).clone() for (name, leaf), part in parts}

    def row(self, named: Mapping[str, Tensor]) -> Tensor:
        """[P] what `named` gives, back."""
        return torch.cat([named[name].flatten() for name in self.weights]).to(self.flat)

    def _spread(self, values: Tensor) -> Tensor:
        """[K, 1] as it is, or [K, n] of parameters to [K, P] of their numbers."""
        return values if values.shape[1] == 1 else values.index_select(1, self._owner)

    def _read_settings(self, device: torch.device) -> None:
        """Rates, norms and penalties of every member."""
        groups = [_group_of_each(job) for job in self._jobs]
        first = groups[0][0]
        self._beta1, self._beta2 = first["betas"]
        self._epsilon: float = first["eps"]
        dtype = self.flat.dtype

        def setting(name: str) -> Tensor:
            """[K, 1] where a member's parameters share it, else [K, P]."""
            values = torch.tensor([[group[name] for group in own] for own in groups], dtype=dtype)
            shared = bool((values == values[:, :1]).all())
            return self._spread(values.to(device)) if not shared else values[:, :1].to(device)

        self._rate, decay = setting("lr"), setting("weight_decay")
        self._decay = decay if bool(decay.any()) else None
        norms = [job.max_norm for job in self._jobs]
        self._max_norm = torch.tensor(norms, dtype=dtype, device=device)


def _moments(jobs: Sequence[Job], device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """Where every member's optimiser stands: steps [K, 1] or, of its parameters, [K, n]; moments [K, P]."""
    states = [list(_states(job)) for job in jobs]
    steps = torch.tensor([[float(s.get("step", 0.0)) for s in own] for own in states]).double()
    # As long as all parameters of a member have taken the same steps, one number says it.
    shared = bool((steps == steps[:, :1]).all())
    names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if jobs[0].optimizer.defaults["amsgrad"] else [])]
    moments = []
    for name in names:
        rows = []
        for job, own in zip(jobs, states, strict=True):
            pairs = zip(own, job.network.parameters(), strict=True)
            rows.append([s.get(name, torch.zeros_like(p)).detach() for s, p in pairs])
        moments.append(_rows(rows, device))
    return (steps[:, :1] if shared else steps).to(device), moments


def _rows(members: Sequence[Sequence[Tensor]], device: torch.device) -> Tensor:
    """[K, P] every member's tensors behind each other."""
    return torch.stack([torch.cat([part.flatten() for part in own]) for own in members]).to(device)


def _group_of_each(job: Job) -> list[dict[str, Any]]:
    """The settings of the optimiser for every parameter of a member."""
    of = {id(p): group for group in job.optimizer.param_groups for p in group["params"]}
    return [of[id(p)] for p in job.network.parameters()]


def _states(job: Job) -> Iterator[Mapping[str, Tensor]]:
    for parameter in job.network.parameters():
        yield job.optimizer.state.get(parameter, {})
