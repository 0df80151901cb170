"""What the commands of `fidoloop server` share: options, the store, and how rows are printed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from fidoloop.cli.common import Home, Json, iso, show_rows
from fidoloop.server.config import default_home, load_config
from fidoloop.server.home_lock import using_home
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store

T = TypeVar("T")
__all__ = ["BaseUrl", "Home", "Json", "MaybeUser", "do", "iso", "say", "show_rows"]

BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="The server's URL as phones and laptops see it.")
]
MaybeUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only of this user.")]


def do(home: Path | None, action: Callable[[Store], Awaitable[T]]) -> T:
    """Run one operator's action on the store of `home`."""
    directory = home or default_home()

    async def on_store() -> T:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where the store is does not depend on the URL, which may not be known yet.
        with using_home(directory):
            config = load_config(directory, fallback_base_url="https://localhost")
            store = await open_store(config.database, migrate=config.migrate)
            try:
                return await action(store)
            finally:
                await store.close()

    return asyncio.run(on_store())


def say(as_json: bool, members: dict[str, Any], text: str) -> None:
    """Print `members` as one JSON object, or `text`."""
    typer.echo(json.dumps(members) if as_json else text)
