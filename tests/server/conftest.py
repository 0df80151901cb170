"""Databases of both kinds."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import harness
from tests.server.postgres import Cluster, cluster, schema_of


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    # Not pytest's directory: its path is too long for a socket, and closed to the user postgres.
    with tempfile.TemporaryDirectory(prefix="fidoloop-pg-") as directory:
        Path(directory).chmod(0o755)
        with cluster(Path(directory) / "c") as made:
            yield made


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: Cluster) -> str:
    return postgres_cluster.url


@pytest.fixture(scope="session", autouse=True)
def servers_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have `harness.running` use the database of --store."""
    if request.config.getoption("--store") == "sqlite":
        yield
        return
    url: str = request.getfixturevalue("postgres_url")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "postgres_url", url)
        yield


@pytest.fixture(autouse=True)
def _only_where_it_fits(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("sqlite_only") and request.config.getoption("--store") != "sqlite":
        pytest.skip("about the file, or beside a process that has only the home")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.sqlite'}"
    return asyncio.run(schema_of(request.getfixturevalue("postgres_url"), tmp_path))
