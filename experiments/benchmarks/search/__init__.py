"""Speed of a search: processes against one, what a task carries, trials stacked in one tensor programme.

python -m experiments.benchmarks.search [--quick] [--out FILE.json]

The first row is elapsed time, since it is about processes: measure it on a quiet machine. The others are CPU
time of this process on one thread. `python -m experiments.benchmarks.search.plan` is a plan on paper for many
machines, with unit times that a finished search recorded.
"""
