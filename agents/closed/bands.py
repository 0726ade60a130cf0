"""What a policy sees of one asset, and what its actions mean: the same where it learns and where it plays."""

from __future__ import annotations

import numpy as np

from qn_env.arrays import Array, BoolArray, FloatArray, Numbers

CLIP = 10.0  # of every number of an observation
SIDES = np.array([-1.0, 0.0, 1.0])  # signals of discrete actions


def observe(inputs: FloatArray, active: BoolArray, held: FloatArray) -> Numbers:
    """[..., F + 2] float32, what a policy sees of an asset.

    Args:
        inputs: [..., F], 0 where not all of them are defined.
        active: [...] whether something can be decided.
        held: [...] the signal that would leave the weight as it is.
    """
    seen = np.empty((*held.shape, inputs.shape[-1] + 2), dtype=np.float32)
    seen[..., :-2], seen[..., -2], seen[..., -1] = inputs, active, held
    return np.clip(seen, -CLIP, CLIP, out=seen)


def signals_of_actions(actions: Numbers, held: FloatArray, *, discrete: bool) -> FloatArray:
    """[...] signals in [-1, 1].

    Args:
        actions: [...] numbers of `SIDES`, or [..., 2], bands as `to_band` reads them.
        held: [...] the signal that would leave the weight as it is.
        discrete: which of both.
    """
    return SIDES[actions] if discrete else to_band(actions.astype(np.float64), held)


def to_band(actions: Array, held: Array) -> Array:
    """[...] signals in [-1, 1]: what is held, brought to the nearer edge of a band where it is outside.

    The form of the best policy under costs proportional to turnover (Davis and Norman 1990). To try another
    position is then not to trade on every day.

    Args:
        actions: [..., 2] the band's middle and, where that is above 0, half its width.
        held: [...] the signal that would leave the weight as it is.
    """
    middle, half = actions[..., 0], actions[..., 1].clip(0.0)
    return held.clip(middle - half, middle + half).clip(-1.0, 1.0)
