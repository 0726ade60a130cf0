"""Benchmarks: each folder is one command that measures, prints a table and writes what it found."""
