"""A database that something else restored: what was open in it ends, once, on either store."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fidoloop.server import audit
from fidoloop.server.home_lock import using_home
from fidoloop.server.store import web_queries
from fidoloop.server.store.open import migrate_store
from tests.cli.command import Done, invoke
from tests.server.harness import UAF, Bench, running
from tests.server.oauth.client import BY_DPOP, OAuthClient, new_client
from tests.server.passkeys import request_options
from tests.server.postgres import schema_of

NOTHING = {"sessions": 0, "oauth": 0, "web": 0}


def server(*words: str, home: Path) -> Done:
    return invoke("server", *words, "--home", str(home))


def configure(home: Path, database: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "fidoloop.toml").write_text(f"[server]\nbase_url = 'https://fido'\ndatabase = {json.dumps(database)}\n")


async def new_token(bench: Bench) -> str:
    made = await bench.post(
        "/token/create/authentication", {"op": "Auth", "context": "{}"}, UAF | {"accept": "*/*"}, api=True
    )
    return str(made.json()["token"])


async def add_login(bench: Bench) -> None:
    """Log a browser in, as far as the database knows."""
    await bench.store.execute(
        web_queries.ADD_LOGIN,
        cookie_hash="x",
        username="jeff",
        aaid="F1D0#0001",
        key_id="k",
        now=bench.clock(),
        expires_at=bench.clock() + 60_000,
    )


async def leave_open(home: Path, database: str) -> tuple[str, OAuthClient, str, str]:
    """Leave two UAF and one FIDO2 session, a code and two tokens of a used one, and a log-in behind."""
    async with running(home, database=database) as bench:
        await bench.registered()
        token = await new_token(bench)
        await bench.request("Auth", {})
        await request_options(bench)
        await add_login(bench)
        client = await new_client(bench, BY_DPOP)
        code = await client.code()
        return token, client, code, str((await client.tokens())["refresh_token"])


def test_what_was_open_in_a_restored_database_ends_once(tmp_path: Path, database: str) -> None:
    token, client, code, refresh_token = asyncio.run(leave_open(tmp_path, database))
    configure(tmp_path, database)
    ended = server("restore", "--database-only", "--json", home=tmp_path)
    assert ended.code == 0, ended.all
    assert ended.json == {"ended": {"sessions": 3, "oauth": 3, "web": 1}}
    assert "what was revoked or disabled after the backup" in ended.err
    again = server("restore", "--database-only", "--json", home=tmp_path)
    assert again.json == {"ended": NOTHING}

    async def look() -> None:
        async with running(tmp_path, database=database, users=()) as bench:
            assert (await bench.redeem(token))["statusCode"] == 1403
            there = replace(client, bench=bench)
            await there.fresh()
            for refused in (await there.redeem(code), await there.refresh(refresh_token)):
                assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
            # Who was registered is, and goes on.
            assert await there.tokens()
            assert (await bench.request("Auth", {"username": "jeff"}))["statusCode"] == 1200
            events = [entry.event for entry in await audit.entries(bench.store, None, limit=10)]
            assert events.count("restored") == 2

    asyncio.run(look())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "name the FILE to restore, or give --database-only"),
        (("f", "--database-only"), "no FILE, no --force"),
        (("--database-only", "--force"), "no FILE, no --force"),
    ],
)
def test_either_a_file_or_the_database_alone_is_restored(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    done = server("restore", *words, home=tmp_path)
    assert done.code == 2
    assert reason in " ".join(done.err.replace("│", " ").split())


def test_a_database_that_is_in_use_or_not_there_is_left_alone(tmp_path: Path, database: str) -> None:
    configure(tmp_path, database)
    with using_home(tmp_path):
        used = server("restore", "--database-only", home=tmp_path)
    assert (used.code, "stop it first" in used.err) == (2, True)
    missing = server("restore", "--database-only", home=tmp_path)
    reason = "there is no database: restore it first" if database.startswith("sqlite") else "`fidoloop server migrate`"
    assert (missing.code, reason in missing.err.replace("\n", " ")) == (1, True)
    assert not (tmp_path / "server.sqlite").exists()
    absent = server("restore", "--database-only", home=tmp_path / "absent")
    assert (absent.code, (tmp_path / "absent").exists()) == (2, False)


def test_a_home_whose_database_is_postgresql_is_backed_up_without_it(tmp_path: Path, postgres_url: str) -> None:
    home, fresh, file = tmp_path / "home", tmp_path / "fresh", tmp_path / "backup"
    database = asyncio.run(schema_of(postgres_url, home))
    asyncio.run(migrate_store(database))
    configure(home, database)
    asyncio.run(leave_open(home, database))
    made = server("backup", str(file), "--json", home=home)
    assert made.code == 0, made.all
    assert "fidoloop.toml" in made.json["files"]
    assert "server.sqlite" not in made.json["files"]
    assert "pg_dump" in made.err
    done = server("restore", str(file), home=fresh)
    assert done.code == 0, done.all
    assert "server restore --database-only" in done.err.replace("\n", " ")
    assert "revoked" not in done.err
    assert (fresh / "fidoloop.toml").read_text() == (home / "fidoloop.toml").read_text()
    assert not (fresh / "server.sqlite").exists()
    # The database may have lived on: what is open there stays so until it is said.
    ended = server("restore", "--database-only", "--json", home=fresh)
    assert ended.json["ended"]["sessions"] == 3
