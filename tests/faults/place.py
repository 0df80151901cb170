"""What a fault happens to: a home with users and an API credential on a database of either kind."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from fidoloop.bridge.load.phone import software_statement
from fidoloop.protocol import strictjson
from fidoloop.server import admin
from fidoloop.server.environment import system_clock
from fidoloop.server.store.open import SQLITE, migrate_store, open_store
from tests.server.postgres import Cluster, schema_of

USERS = tuple(f"user-{number}" for number in range(8))
REDEEMERS = ("redeemer-0", "redeemer-1")
"""Users with one key each, so that requests for them stay small."""


@dataclass(frozen=True)
class Place:
    """A home, the URL of its database, and the bearer of an API credential; `cluster` is the PostgreSQL behind it."""

    home: Path
    database: str
    bearer: str
    cluster: Cluster | None = None

    @property
    def api(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.bearer}"}

    @property
    def log(self) -> Path:
        return self.home / "log"


def make_place(home: Path, cluster: Cluster | None = None, *, settings: str = "") -> Place:
    """Make a home: on a file of its own, or on a schema of its own in a cluster."""
    database = f"sqlite:///{home / 'server.sqlite'}" if cluster is None else asyncio.run(schema_of(cluster.url, home))

    async def prepare() -> str:
        await migrate_store(database)
        store = await open_store(database)
        try:
            for username in USERS + REDEEMERS:
                await admin.add_user(store, username, now=system_clock())
            return (await admin.add_api_key(store, "load", now=system_clock())).bearer
        finally:
            await store.close()

    configure(home, database, settings)
    return Place(home, database, asyncio.run(prepare()), cluster)


def configure(home: Path, database: str, settings: str = "") -> None:
    """Write settings, and the metadata of the load's phones."""
    # A file is where it is without being named, so that a backup of it may be restored elsewhere.
    named = "" if database.startswith(SQLITE) else f"database = {json.dumps(database)}\n"
    (home / "fidoloop.toml").write_text(f"[server]\n{named}{settings}")
    (home / "metadata").mkdir(exist_ok=True)
    (home / "metadata" / "FFFF-0001.json").write_text(strictjson.encode(software_statement()))


def second_home(place: Place, home: Path, *, settings: str = "") -> None:
    """Make the home of another node on the same database; they share what docs/scale.md says."""
    home.mkdir()
    configure(home, place.database, settings)
    (home / "oauth").symlink_to(place.home / "oauth")
