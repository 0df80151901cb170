"""pytester forgets what a run in this process imports: imported again, there would be two of every error class."""

import importlib
import pkgutil

import pytest

import fidoloop


@pytest.fixture(scope="session", autouse=True)
def _imported_once() -> None:
    for module in pkgutil.walk_packages(fidoloop.__path__, "fidoloop."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
