"""The stores that servers are measured on."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server.postgres import cluster, schema_of


@contextmanager
def databases(directory: Path) -> Iterator[list[tuple[str, str | None]]]:
    """Give the name and URL of each store: SQLite in the home, which has no URL here, and a PostgreSQL of its own."""
    # Not in `directory`: that may be closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="fidoloop-pg-") as place:
        Path(place).chmod(0o755)
        with cluster(Path(place) / "c") as url:
            yield [("sqlite", None), ("postgresql", asyncio.run(schema_of(url, directory)))]
