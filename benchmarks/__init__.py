"""What is fast, against what: each module is run with ``python -m benchmarks.NAME`` and prints ratios of one run."""
