"""Side-by-side measurements: every figure beside its floor, in one run, as a ratio."""
