"""Benchmarks: ratios against a baseline from interleaved runs in one process tree. `make bench` runs them all."""
