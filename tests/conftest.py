"""What holds for all tests."""

import pytest
from hypothesis import settings

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
