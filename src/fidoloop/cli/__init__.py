"""The `fidoloop` command: one file per command group."""

from fidoloop.cli.main import run

__all__ = ["run"]
