"""Benchmarks: each runs its peer beside us, in the same run on the same machine, and prints both and the ratio."""
