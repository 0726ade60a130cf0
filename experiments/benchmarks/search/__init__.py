"""Speed of a search: processes against one, and what a task carries.

python -m experiments.benchmarks.search [--quick] [--out FILE.json]

The first row is elapsed time, since it is about processes: measure it on a quiet machine. Trials as one
tensor programme are in `experiments.benchmarks.device`; `python -m experiments.benchmarks.search.plan` is a
plan on paper for many machines, with unit times that a finished search recorded.
"""
