"""What holds for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# What takes minutes, and is run by `make test-all`: only where it is named.
LONG = (Path(__file__).parent / "faults",)

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("fidoloop", deadline=None)
settings.load_profile("fidoloop")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the servers' database."""
    parser.addoption(
        "--store",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the database behind the servers that tests run in their own process",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes long unless it, or something in it, is named."""
    if collection_path not in LONG:
        return None
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(collection_path) for path in named) else True
