"""`fidoloop server migrate`: brings the database's tables to this version."""

import asyncio

from fidoloop.cli.server_common import Home, Json, say
from fidoloop.cli.server_config import Set, options_of
from fidoloop.server.config import default_home, load_config
from fidoloop.server.home_lock import using_home
from fidoloop.server.store.open import migrate_store


def migrate(home: Home = None, settings: Set = None, as_json: Json = False) -> None:
    """Bring the database's tables to this version: forward only, all steps or none, one process at a time.

    Needed with PostgreSQL before the first start and after each update; a SQLite file is brought up to date by whoever
    opens it.
    """
    directory = home or default_home()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with using_home(directory):
        config = load_config(directory, options_of(settings), fallback_base_url="https://localhost")
        applied = asyncio.run(migrate_store(config.database))
    done = f"applied {', '.join(f'{number:04}' for number in applied)}" if applied else "nothing to do"
    say(as_json, {"applied": applied}, f"{done}: the database is up to date")
