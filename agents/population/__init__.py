"""Many trainings as one tensor programme: networks of one shape side by side on a leading axis [K].

A small network cannot fill a GPU, and its step is launches, not arithmetic; a thousand of them can. Every
member keeps its own seed, batches, dropout masks, learning rate, penalties, early stopping and best weights,
and ends where it would have ended alone, to rounding. The code of a network and of its loss is the one that
trains it alone: `torch.func.vmap` reads it for all members at once (`agents.population.skeleton`).

`jobs` says what a training is, `data` and `masks` what a step of each member reads, `stack` holds the weights
of all of them and their optimiser, `steps` takes steps, `loop` trains, stops and stores, `groups` keeps apart
what cannot share a programme, `kin` says it of agents.
"""

from agents.population.jobs import Fit, Job
from agents.population.loop import Programme, train_together
from agents.population.steps import Batch

__all__ = ["Batch", "Fit", "Job", "Programme", "train_together"]
