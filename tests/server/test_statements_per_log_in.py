"""What a log-in or a token costs PostgreSQL, counted at the driver: statements, and commits that write."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.server.harness import JSON, UAF, Bench, running
from tests.server.oauth.client import BY_DPOP, BY_POP, new_client
from tests.server.phone import Phone
from tests.server.postgres import schema_of

MOST_STATEMENTS = 5
MOST_COMMITS = 2


class Counted:
    """Statements as they reach the database, in their order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def statements(self) -> list[str]:
        return [text for text in self.seen if _verb(text) not in {"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}]

    def commits(self) -> int:
        """Count transactions that write: those begun and committed, and statements that are one of their own."""
        found, inside = 0, False
        for text in self.seen:
            verb = _verb(text)
            found += verb == "COMMIT" or (not inside and verb in {"INSERT", "UPDATE", "DELETE"})
            inside = verb == "BEGIN" or (inside and verb not in {"COMMIT", "ROLLBACK"})
        return found


def _verb(text: str) -> str:
    return text.split(maxsplit=1)[0].strip(";").upper()


def count_statements(patch: pytest.MonkeyPatch) -> Counted:
    """Count what all connections from now on run."""
    found = Counted()
    create_pool = asyncpg.create_pool

    async def listen(connection: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
        connection.add_query_logger(lambda record: found.seen.append(record.query))

    patch.setattr(asyncpg, "create_pool", lambda url, **options: create_pool(url, init=listen, **options))
    return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    found = count_statements(monkeypatch)
    yield found
    assert found.seen, "nothing was counted"


@asynccontextmanager
async def logged_in_before(home: Path, postgres_url: str) -> AsyncIterator[tuple[Bench, Phone]]:
    """Give a server and a phone that has logged in there once."""
    async with running(home, database=await schema_of(postgres_url, home)) as bench:
        phone = await bench.registered()
        await log_in(bench, phone)
        yield bench, phone


async def log_in(bench: Bench, phone: Phone, *, remembered: bool = True) -> None:
    answer = await bench.post("/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF)
    request = json.loads(answer.json()["uafRequest"])[0]
    if not remembered:
        # As where another worker issued the request.
        bench.environment.remembered.take_request(request["header"]["serverData"])
    assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200


class Worker(NamedTuple):
    """How many statements a log-in takes of one worker, or of another each time, which knows the user or not."""

    statements: int
    same: bool = True
    knows_user: bool = True


async def log_in_by_qr_code(bench: Bench, phone: Phone, *, remembered: bool = True) -> None:
    wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": "png-qr-code"}
    made = (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json()
    if not remembered:
        bench.environment.remembered.take_session(made["token"])
    request = json.loads((await bench.redeem(made["token"]))["uafRequest"])[0]
    if not remembered:
        bench.environment.remembered.take_request(request["header"]["serverData"])
    assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
    assert (await bench.status(made["sessionId"]))["status"] == "succeeded"


@pytest.mark.parametrize(("remembered", "statements"), [(True, 3), (False, 5)], ids=["one worker", "two workers"])
def test_a_log_in_takes_few_statements_and_two_commits(
    tmp_path: Path, postgres_url: str, counted: Counted, remembered: bool, statements: int
) -> None:
    async def check() -> None:
        async with logged_in_before(tmp_path, postgres_url) as (bench, phone):
            counted.seen.clear()
            await log_in(bench, phone, remembered=remembered)
            assert len(counted.statements()) == statements <= MOST_STATEMENTS, counted.seen
            assert counted.commits() == MOST_COMMITS, counted.seen

    asyncio.run(check())


@pytest.mark.parametrize("worker", [Worker(5), Worker(6, knows_user=False), Worker(9, same=False)], ids=str)
def test_a_log_in_by_qr_code_takes_a_commit_for_each_request_that_writes(
    tmp_path: Path, postgres_url: str, counted: Counted, worker: Worker
) -> None:
    """The token; the request; counter and session; the status."""

    async def check() -> None:
        async with logged_in_before(tmp_path, postgres_url) as (bench, phone):
            if worker.knows_user:
                await log_in_by_qr_code(bench, phone)
            counted.seen.clear()
            await log_in_by_qr_code(bench, phone, remembered=worker.same)
            assert counted.commits() == 3, counted.seen
            assert len(counted.statements()) == worker.statements, counted.seen

    asyncio.run(check())


@pytest.mark.parametrize("method", [BY_POP, BY_DPOP])
def test_a_token_request_takes_at_most_four_statements_and_one_commit(
    tmp_path: Path, postgres_url: str, counted: Counted, method: str
) -> None:
    """One reads, unless this process made the token; one uses it up, and tokens and proofs are added."""

    async def check() -> None:
        async with running(tmp_path, database=await schema_of(postgres_url, tmp_path)) as bench:
            client = await new_client(bench, method)
            code = await client.code()
            counted.seen.clear()
            tokens = (await client.redeem(code)).json()
            assert (len(counted.statements()), counted.commits()) == (4, 1), counted.seen
            for statements in (4, 3):
                counted.seen.clear()
                tokens = (await client.refresh(tokens["refresh_token"])).json()
                assert (len(counted.statements()), counted.commits()) == (statements, 1), counted.seen

    asyncio.run(check())
