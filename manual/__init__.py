"""What of the manual is written by programs: the reference from the code, the diagrams from a recorded run."""
