"""Prediction errors of stationary Gaussian processes on every stretch of a history, by the lattice recursion.

On equally spaced days such a process has a Toeplitz covariance C. With L its Cholesky factor, row n of L^-1 y
is the error of predicting y_n from y_0 .. y_{n-1} over its standard deviation, so that the running sum of
squares is the quadratic form y' C^-1 y of every prefix of y. Levinson's recursion gives the factor from the
covariances alone; the lattice (Burg 1975; Brockwell and Davis 1991, section 5.2) gives the errors of all
stretches of n + 1 days, forwards and backwards, from those of n days, by two products for each.

All is done element by element, so that a figure depends on its own days and on nothing beside them, not even
in its last bit: neither on the chunk of a history it is taken from nor on the block it is computed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qn_env.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Processes:
    """G Gaussian processes of days, each with noise of variance 1, by what the lattice needs of them.

    Attributes:
        reflections: [G, l] partial correlations of day n with day 0, given those between; the first is 0.
        variances: [G, l] variance of the error of predicting day n from the n days before.
        constant: [G, l] error of predicting a 1 from the n ones before it.
    """

    reflections: FloatArray
    variances: FloatArray
    constant: FloatArray

    @classmethod
    def of(cls, covariances: FloatArray) -> Processes:
        """From covariances [G, l] of days that lie 0, 1, .. l - 1 days apart, by Levinson's recursion."""
        reflections, variances = np.zeros_like(covariances), np.empty_like(covariances)
        variances[:, 0] = covariances[:, 0]
        weights = np.empty((len(covariances), 0))  # of the days before, the nearest first
        for n in range(1, covariances.shape[1]):
            missed = covariances[:, n] - (weights * covariances[:, n - 1 : 0 : -1]).sum(axis=1)
            reflection = (missed / variances[:, n - 1])[:, None]
            weights = np.hstack([weights - reflection * weights[:, ::-1], reflection])
            reflections[:, n] = reflection[:, 0]
            variances[:, n] = variances[:, n - 1] * (1.0 - reflection[:, 0] ** 2)
        return cls(reflections, variances, np.multiply.accumulate(1.0 - reflections, axis=1))


def prediction_errors(values: FloatArray, processes: Processes) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Errors on every stretch of 1, 2, .. l days of values [R], for each of G processes.

    Yields:
        Two arrays [G, R - n] for stretches of n + 1 days, by the first day of the stretch: the error of its
        last day predicted from its other days, and that of its first day. Valid until the next is asked for.
    """
    G, R = len(processes.reflections), len(values)
    last, first, spare, product = (np.empty((G, R)) for _ in range(4))
    last[:], first[:] = values, values
    yield last, first
    for n in range(1, processes.reflections.shape[1]):
        length, k = R - n, processes.reflections[:, n, None]
        after, before = last[:, 1 : length + 1], first[:, :length]
        now = np.multiply(before, k, out=product[:, :length])
        np.subtract(after, now, out=spare[:, :length])
        before -= np.multiply(after, k, out=now)
        last, spare = spare, last
        yield last[:, :length], before
