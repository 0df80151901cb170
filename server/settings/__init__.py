"""Settings: declared once, read from one TOML file, the environment and the command line, described from the code."""
