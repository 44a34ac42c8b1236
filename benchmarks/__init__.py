"""Benchmarks: how fast every stage is on this machine, each number next to what it is compared with."""
