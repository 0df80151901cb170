"""The languages spoken: pure values and bytes. No I/O, no clock, no randomness, no keys of its own."""
