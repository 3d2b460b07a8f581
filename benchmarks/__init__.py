"""What is fast, against what: each module is run with ``python -m benchmarks.NAME`` and prints ratios of one run."""

from acaikit.threads import wait_briefly

wait_briefly()  # as the command line does, before any module imports torch
