"""Coverage-guided fuzzing: what it asserts and how to run it is told in docs/fuzzing.md."""
