"""Fault injection: a module per kind of fault, run small by tests, and large by ``python -m benchmarks.faults``."""
