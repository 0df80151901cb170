"""A client of the authorization server of a place, whose own requests go to one node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2

from fidoloop.server import admin
from fidoloop.server.config import load_config
from fidoloop.server.environment import make_environment, system_clock
from fidoloop.server.store.open import open_store
from tests.faults.place import Place
from tests.server.harness import Bench, Clock
from tests.server.oauth.client import OAuthClient, new_client
from tests.server.phone import full_model, surrogate_model

USER = "jeff"


@asynccontextmanager
async def as_client(place: Place, url: str, *, known: OAuthClient | None = None) -> AsyncIterator[OAuthClient]:
    """Yield a client of the user jeff: a new one, or `known` at a place that has it from a backup."""
    config = load_config(place.home)
    store = await open_store(config.database)
    environment = make_environment(config, store, system_clock)
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            clock = Clock(system_clock())
            bench = Bench(config, store, clock, client, place.bearer, full_model(), surrogate_model(), environment)
            if known is None:
                await admin.add_user(store, USER, now=clock())
                yield await new_client(bench)
            else:
                there = replace(known, bench=bench)
                await there.fresh()
                yield there
    finally:
        await environment.close()
        await store.close()
