"""Studies: many runs of one plan, on one machine or on a cluster, until all are done."""
