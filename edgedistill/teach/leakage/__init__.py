"""Leakage: samples of a teaching set that stand in the holdout as well, so that a score says how well they were learnt by heart."""
