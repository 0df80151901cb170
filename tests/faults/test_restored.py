"""A backup is taken under load and restored elsewhere: who was known then is known, and nothing used is good again."""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fidoloop.server import admin
from fidoloop.server.store.open import open_store
from tests.faults.crowd import OK, PATH, Crowd, Member, session_of
from tests.faults.invariants import assert_no_older_counter
from tests.faults.oauth import as_client
from tests.faults.place import USERS, Place, make_place
from tests.server.harness import BASE, REDEEM, UAF
from tests.server.oauth.client import OAuthClient
from tests.server.postgres import Cluster
from tests.server.process import command, started

SETTINGS = f'insecure = true\nbase_url = "{BASE}"\n'


@dataclass(frozen=True)
class Backup:
    """A file of `server backup`, and beside it a dump where the database is PostgreSQL."""

    file: Path
    dump: Path | None


@dataclass(frozen=True)
class Before:
    """Who was registered before the backup, their counters, and what was open then and used since."""

    told: list[Member]
    accepted: dict[str, int]
    token: str
    answered: bytes
    client: OAuthClient
    code: str
    refresh_token: str


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_taken_under_load_has_all_that_was_told_before(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cluster: Cluster | None = request.getfixturevalue("cluster") if kind == "postgresql" else None
    (tmp_path / "home").mkdir()
    place = make_place(tmp_path / "home", cluster, settings=SETTINGS)
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [f"http://127.0.0.1:{running.port}"])
        before, backup = asyncio.run(_back_up_under_load(crowd))
        assert running.stop() == 0
    restored = _restored(place, backup, tmp_path / "fresh")
    counters = asyncio.run(_counters(restored))
    for member in before.told:
        assert before.accepted[member.key_id] <= counters[member.key_id] <= member.phone.counter
    with started(restored.home, log=restored.log) as again:
        crowd = replace(crowd, place=restored, urls=[f"http://127.0.0.1:{again.port}"])
        asyncio.run(_assert_kept_and_over(crowd, before))
        assert again.stop() == 0


async def _back_up_under_load(crowd: Crowd) -> tuple[Before, Backup]:
    async with crowd.at_work(), as_client(crowd.place, crowd.urls[0]) as device:
        await crowd.all_get_round(3)
        client = crowd.client()
        mine = await crowd.register(client, USERS[1])
        token = await crowd.token(client, USERS[1])
        asked = await client.post_json(f"{PATH}/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF)
        code, refresh_token = await device.code(), str((await device.tokens())["refresh_token"])
        assert mine is not None
        assert token is not None
        assert asked.response is not None
        told = list(crowd.ledger.registered.values())
        accepted = {member.key_id: member.accepted for member in told}
        backup = await asyncio.to_thread(_back_up, crowd.place)
        await crowd.all_get_round(3)
        assert await crowd.redeem([client], token)
        answered = mine.phone.authenticate(asked.response.content)
        crowd.ledger.signed.add(session_of(asked))
        assert (await client.post(f"{PATH}/uaf/1.1/authentication", answered, UAF)).code == OK
        assert (await device.redeem(code)).is_success
        assert (await device.refresh(refresh_token)).is_success
    return Before(told, accepted, token, answered, device, code, refresh_token), backup


def _back_up(place: Place) -> Backup:
    file = place.home.parent / "backup"
    made = command(place.home, "backup", "--with-tls-keys", str(file))
    assert made.returncode == 0, made.stderr
    return Backup(file, None if place.cluster is None else place.cluster.dump(place.database))


def _restored(place: Place, backup: Backup, fresh: Path) -> Place:
    """Restore as docs/operations.md says, in another home and, of PostgreSQL, another database."""
    done = command(fresh, "restore", str(backup.file))
    assert done.returncode == 0, done.stderr
    if place.cluster is None or backup.dump is None:
        return replace(place, home=fresh, database=f"sqlite:///{fresh / 'server.sqlite'}")
    database = place.cluster.restore(backup.dump, place.database, "restored")
    settings = (fresh / "fidoloop.toml").read_text()
    assert place.database in settings
    (fresh / "fidoloop.toml").write_text(settings.replace(place.database, database))
    ended = [json.loads(command(fresh, "restore", "--database-only", "--json").stdout)["ended"] for _ in range(2)]
    assert ended[0]["sessions"] >= 2
    assert ended[0]["oauth"] >= 2
    assert set(ended[1].values()) == {0}
    return replace(place, home=fresh, database=database)


async def _assert_kept_and_over(crowd: Crowd, before: Before) -> None:
    client = crowd.client()
    # What was open when the backup was taken, and used since, is over.
    taken = await client.post_json(f"{PATH}/token/redeem/authentication", {"token": before.token}, REDEEM)
    assert taken.code != OK
    replayed = await client.post(f"{PATH}/uaf/1.1/authentication", before.answered, UAF)
    assert replayed.code != OK
    async with as_client(crowd.place, crowd.urls[0], known=before.client) as device:
        for refused in (await device.redeem(before.code), await device.refresh(before.refresh_token)):
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert await device.tokens()
    for member in before.told:
        assert await crowd.log_in(client, member)
    await assert_no_older_counter(client, before.told[0])
    await crowd.close()


async def _counters(place: Place) -> dict[str, int]:
    store = await open_store(place.database)
    try:
        return {each.key_id: each.sign_counter for each in await admin.list_credentials(store)}
    finally:
        await store.close()
