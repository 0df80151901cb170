"""The stores that servers are measured on."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.server.postgres import cluster, schema_of

STORES = ("sqlite", "postgresql")


@contextmanager
def postgres_databases(homes: Sequence[Path]) -> Iterator[list[str]]:
    """Run a PostgreSQL of this measurement's own, and give the URL of each home's database in it."""
    # Not in a home: those may be closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="fidoloop-pg-") as place:
        Path(place).chmod(0o755)
        with cluster(Path(place) / "c") as made:
            yield [asyncio.run(schema_of(made.url, home)) for home in homes]
