"""The server as an application in somebody else's server."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from fidoloop.api.server import ConfigError, make_app
from fidoloop.server.config import load_config
from fidoloop.server.store import queries
from fidoloop.server.store.open import open_store

BASE = "https://login.example"
FACETS = "/nevisfido/uaf/1.1/facets"


def test_it_answers_from_the_beginning_of_its_lifespan_to_the_end(tmp_path: Path) -> None:
    app = make_app(tmp_path / "home", {"base_url": BASE})

    async def check() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            assert (await client.get(FACETS)).status_code == 404
            async with app.router.lifespan_context(app):
                answer = await client.get(FACETS)
                assert answer.status_code == 200
                assert answer.json()["trustedFacets"][0]["ids"][0] == BASE
                assert (await client.post("/nevisfido/token/dispatch/authentication", json={})).status_code == 401

    asyncio.run(check())


def test_operators_commands_make_links_to_it_as_to_any_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    app = make_app(home, {"base_url": BASE})

    async def check() -> None:
        async with app.router.lifespan_context(app):
            store = await open_store(load_config(home, fallback_base_url="https://other.example").database)
            try:
                found = await store.fetch_one(queries.SETTING, name="base_url")
            finally:
                await store.close()
        assert found is not None
        assert BASE in str(found)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("settings", "said"),
    [({}, "no base URL"), ({"base_url": BASE, "nonsense": 1}, "nonsense"), ({"base_url": "ftp://x"}, "base_url")],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_opened(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_app(tmp_path / "home", settings)
    assert list((tmp_path / "home").iterdir()) == []
