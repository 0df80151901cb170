"""Faults: each does what it says to a session made in the lab, and none can be done to any other."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import jose, outofband
from fidoloop.server.lab import console
from fidoloop.server.lab.changes import listed
from fidoloop.server.lab.console import Lab, LabSession
from fidoloop.server.settings.declared import DISPATCHERS
from fidoloop.server.store import lab_queries
from tests.server.harness import Bench
from tests.server.lab.visitor import LabVisitor, in_the_lab, lab_of
from tests.server.phone import Phone
from tests.server.test_tokens import dispatch, target_of
from tests.server.web.visitor import answer_link, redeem, token_in, visiting

Check = Callable[[Bench, LabVisitor], Awaitable[None]]
FAULTS = ("expiredToken", "wrongKey", "replay", "clockSkew")


def run(home: Path, check: Check, **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with in_the_lab(home, **options) as (bench, visitor):
            await check(bench, visitor)

    asyncio.run(scenario())


async def story_kinds(visitor: LabVisitor, session_id: str) -> list[str]:
    """The story in short: states, faults, and of messages the UAF status."""
    told = []
    for entry in await visitor.story(session_id):
        if entry["kind"] == "message":
            told.append(str(entry["answer"]["statusCode"]).split()[0] + (" again" if entry.get("note") else ""))
        else:
            told.append(str(entry.get("state") or entry["fault"]))
    return told


def test_a_lab_session_is_a_log_in_that_a_phone_can_answer(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        await answer_link(bench, made["link"], phone)
        assert await story_kinds(visitor, made["id"]) == [
            "tokenCreated",
            "1200",
            "clientAuthenticating",
            "1200",
            "succeeded",
        ]

    run(tmp_path, check)


def test_a_lab_session_for_a_device_is_encrypted_to_it(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered(target=True)
        made = await visitor.make(device=await target_of(bench, phone))
        payload = outofband.decode_scanned(made["link"])
        content = outofband.open_payload(payload, phone.encryption_key)
        request = await redeem(bench, content.token)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check)


def test_an_expired_token_is_refused(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        made = await visitor.make()
        await visitor.inject(made["id"], "expiredToken")
        assert (await bench.redeem(token_in(made["link"])))["statusCode"] == 1408
        assert await story_kinds(visitor, made["id"]) == ["tokenCreated", "expiredToken", "1408", "failed"]
        again = await visitor.post("/lab/session/fault", {"id": made["id"], "fault": "expiredToken"})
        assert again.status_code == 409

    run(tmp_path, check, database=database)


def test_a_payload_for_another_key_cannot_be_opened(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered(target=True)
        made = await visitor.make(device=await target_of(bench, phone))
        done = await visitor.inject(made["id"], "wrongKey")
        assert done["code"]["id"] == made["id"]
        payload = outofband.decode_scanned(done["code"]["link"])
        with pytest.raises(jose.JoseRefusal, match="another key"):
            outofband.open_payload(payload, phone.encryption_key)
        assert await story_kinds(visitor, made["id"]) == ["tokenCreated", "wrongKey"]
        bench.clock.advance(121)
        late = await visitor.post("/lab/session/fault", {"id": made["id"], "fault": "wrongKey"})
        assert late.status_code == 409

    run(tmp_path, check)


async def answered(bench: Bench, phone: Phone, made: dict[str, Any]) -> None:
    await answer_link(bench, made["link"], phone)
    while bench.environment.tasks:
        await asyncio.gather(*bench.environment.tasks)


def test_a_response_that_is_sent_again_is_refused(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        await answered(bench, phone, made)
        before = await bench.state()
        await visitor.inject(made["id"], "replay")
        assert (await story_kinds(visitor, made["id"]))[-2:] == ["replay", "1491 again"]
        await visitor.inject(made["id"], "replay")
        assert (await story_kinds(visitor, made["id"]))[-2:] == ["replay", "1491 again"]
        assert await bench.state() == before

    run(tmp_path, check, database=database)


def test_a_replay_can_wait_for_the_response(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        await visitor.inject(made["id"], "replay")
        await answered(bench, phone, made)
        assert await story_kinds(visitor, made["id"]) == [
            "tokenCreated",
            "replay",
            "1200",
            "clientAuthenticating",
            "1200",
            "succeeded",
            "1491 again",
        ]

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("minutes", "after", "status"), [(-10, 0, 1491), (-1, 59, 1200), (-1, 60, 1491), (5, 419, 1200)]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_challenge_is_issued_by_a_clock_that_is_off(
    tmp_path: Path, minutes: int, after: int, status: int, when: str
) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        if when == "before":
            await visitor.inject(made["id"], "clockSkew", minutes=minutes)
        request = await redeem(bench, token_in(made["link"]))
        if when == "after":
            await visitor.inject(made["id"], "clockSkew", minutes=minutes)
        bench.clock.advance(after)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == status
        assert (await story_kinds(visitor, made["id"])).count("clockSkew") == 1

    run(tmp_path, check)


def test_a_clock_that_is_off_is_so_on_any_database(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        await visitor.inject(made["id"], "clockSkew", minutes=-2)
        request = await redeem(bench, token_in(made["link"]))
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491
        states = {session.id: session.state for session in await listed(bench.environment, lab_of(bench))}
        assert states[made["id"]] == "failed"

    run(tmp_path, check, database=database)


def test_a_clocks_skew_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        made = await visitor.make()
        for minutes in (0, 1441, -1441, "1"):
            wanted = {"id": made["id"], "fault": "clockSkew", "minutes": minutes}
            assert (await visitor.post("/lab/session/fault", wanted)).status_code == 400
        await answer_link(bench, made["link"], phone)
        late = await visitor.post("/lab/session/fault", {"id": made["id"], "fault": "clockSkew", "minutes": 5})
        assert late.status_code == 409

    run(tmp_path, check)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_other_session_can_be_touched(tmp_path: Path, fault: str) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        await visitor.make()
        sent = await dispatch(bench, dispatcher="link")
        request = await bench.uaf_request("Auth", {}, api=False)
        async with visiting(bench) as somebody:
            begun = await somebody.begin()
        rows = await bench.store.fetch_all(lab_queries.NEWEST_SESSIONS, limit=50)
        normal = [row for row in rows if row.id not in lab_of(bench).sessions]
        assert len(normal) == 4
        for row in normal:
            refused = await visitor.post("/lab/session/fault", {"id": row.id, "fault": fault})
            assert refused.status_code == 404
            assert [entry for entry in await visitor.story(row.id) if entry["kind"] == "fault"] == []
        again = {row.id: row for row in await bench.store.fetch_all(lab_queries.NEWEST_SESSIONS, limit=50)}
        assert all(again[row.id] == row for row in normal)
        for wanted in (await redeem(bench, sent["token"]), request, await redeem(bench, token_in(begun["link"]))):
            assert (await bench.respond("Auth", phone.authenticate(wanted, key=phone.keys[0])))["statusCode"] == 1200

    run(tmp_path, check)


def test_a_session_outlives_what_the_lab_knows_of_it(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        made = await visitor.make()
        lab_of(bench).sessions.clear()
        refused = await visitor.post("/lab/session/fault", {"id": made["id"], "fault": "expiredToken"})
        assert refused.status_code == 404
        phone = await bench.registered()
        await answer_link(bench, made["link"], phone)

    run(tmp_path, check)


def test_only_as_many_sessions_are_of_the_lab() -> None:
    lab = Lab()
    for number in range(console.MAX_LAB_SESSIONS + 1):
        lab.made(LabSession(str(number), None))
    assert len(lab.sessions) == console.MAX_LAB_SESSIONS
    assert "0" not in lab.sessions


def test_without_links_no_lab_session_can_be_shown(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        assert (await visitor.post("/lab/session/new", {})).status_code == 503
        assert not lab_of(bench).sessions

    run(tmp_path, check, dispatchers=tuple(name for name in DISPATCHERS if name != "link"))


def test_a_device_that_there_is_not_gets_no_lab_session(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        assert (await visitor.post("/lab/session/new", {"device": "no such"})).status_code == 503

    run(tmp_path, check)
