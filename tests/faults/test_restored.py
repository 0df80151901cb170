"""A backup is taken under load and restored elsewhere: who was known then is known, and nothing used is good again."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tests.faults.crowd import OK, PATH, Crowd, Member, session_of
from tests.faults.invariants import assert_no_older_counter
from tests.faults.place import USERS, Place
from tests.server.harness import REDEEM, UAF
from tests.server.process import command, started


def test_a_backup_taken_under_load_has_all_that_was_told_before(sqlite_place: Place, tmp_path: Path) -> None:
    place, backup, fresh = sqlite_place, tmp_path / "backup", tmp_path / "fresh"
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [running.url])
        told, accepted, token, answered = asyncio.run(_back_up_under_load(crowd, backup))
        assert running.stop() == 0
    restored = command(fresh, "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    counters = _counters(fresh)
    for member in told:
        assert accepted[member.key_id] <= counters[member.key_id] <= member.phone.counter
    with started(fresh, "--port", str(running.port), log=tmp_path / "log") as again:
        assert again.url == running.url
        crowd = replace(crowd, place=replace(place, home=fresh))

        async def check() -> None:
            client = crowd.client()
            # What was open when the backup was taken, and used since, is over.
            taken = await client.post_json(f"{PATH}/token/redeem/authentication", {"token": token}, REDEEM)
            assert taken.code != OK
            replayed = await client.post(f"{PATH}/uaf/1.1/authentication", answered, UAF)
            assert replayed.code != OK
            for member in told:
                assert await crowd.log_in(client, member)
            await assert_no_older_counter(client, told[0])
            await crowd.close()

        asyncio.run(check())
        assert again.stop() == 0


async def _back_up_under_load(crowd: Crowd, backup: Path) -> tuple[list[Member], dict[str, int], str, bytes]:
    """Return who was registered before the backup, their counters, and what was open then and used since."""
    async with crowd.at_work():
        await crowd.all_get_round(3)
        client = crowd.client()
        mine = await crowd.register(client, USERS[1])
        token = await crowd.token(client, USERS[1])
        asked = await client.post_json(f"{PATH}/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF)
        assert mine is not None
        assert token is not None
        assert asked.response is not None
        told = list(crowd.ledger.registered.values())
        accepted = {member.key_id: member.accepted for member in told}
        made = await asyncio.to_thread(command, crowd.place.home, "backup", str(backup))
        assert made.returncode == 0, made.stderr
        await crowd.all_get_round(3)
        assert await crowd.redeem([client], token)
        answered = mine.phone.authenticate(asked.response.content)
        crowd.ledger.signed.add(session_of(asked))
        assert (await client.post(f"{PATH}/uaf/1.1/authentication", answered, UAF)).code == OK
    return told, accepted, token, answered


def _counters(home: Path) -> dict[str, int]:
    with closing(sqlite3.connect(home / "server.sqlite")) as database:
        return dict(database.execute("SELECT key_id, sign_counter FROM credential"))
