"""Databases of both kinds."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.postgres import cluster


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    # Not pytest's directory: its path is too long for a socket, and closed to the user postgres.
    with tempfile.TemporaryDirectory(prefix="fidoloop-pg-") as directory:
        Path(directory).chmod(0o755)
        with cluster(Path(directory) / "c") as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    schema = f"s{tmp_path.name.encode().hex()[-40:]}"
    asyncio.run(_make_schema(url, schema))
    return f"{url}&options=-csearch_path%3D{schema}"


async def _make_schema(url: str, schema: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.close()
