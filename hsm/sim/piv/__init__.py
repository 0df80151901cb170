"""The PIV application of a simulated card."""
