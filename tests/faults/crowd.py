"""Load: phones that register, log in and redeem tokens all the time, beside one that lies; all is written down.

A fault may lose an answer, or make it a 503. Everything else has to be as it is without one.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fidoloop.bridge.load.phone import SimulatedPhone
from fidoloop.protocol import base64url
from tests.faults.exchange import Answer, Client
from tests.faults.place import REDEEMERS, USERS, Place
from tests.server.harness import JSON, REDEEM, UAF

OK, REFUSED_TOKEN, REFUSED_SIGNATURE = 1200, 1403, 1498
PATH = "/nevisfido"
AGAIN_SECONDS = 0.02
"""After an answer that did not come: so that a server that is away is not asked without a pause."""


@dataclass(eq=False)
class Member:
    """A phone and what it was told: `accepted` is the highest counter that the server took."""

    phone: SimulatedPhone
    username: str
    accepted: int = 0

    @property
    def key_id(self) -> str:
        return base64url.encode(self.phone.key_id)


@dataclass
class Ledger:
    """What phones did and were told, to hold the database against."""

    registered: dict[str, Member] = field(default_factory=dict)
    """By KeyID: those whom the server told so."""
    attempted: set[str] = field(default_factory=set)
    signed: set[str] = field(default_factory=set)
    """Sessions that were answered by a good signature."""
    succeeded: set[str] = field(default_factory=set)
    """Sessions of which somebody was told that they succeeded."""
    forged: set[str] = field(default_factory=set)
    redeemed: Counter[str] = field(default_factory=Counter)
    """How many were told that a token is theirs, by token."""
    answers: Counter[str] = field(default_factory=Counter)


@dataclass
class Crowd:
    """Phones on connections of their own."""

    place: Place
    urls: Sequence[str]
    ca: str | None = None
    ledger: Ledger = field(default_factory=Ledger)
    rounds: Counter[str] = field(default_factory=Counter)
    """How often each actor got round without a fault."""
    failures: Counter[str] = field(default_factory=Counter)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)
    _clients: list[Client] = field(default_factory=list)
    _stopping: bool = False

    def client(self) -> Client:
        made = Client(self.urls[len(self._clients) % len(self.urls)], ca=self.ca)
        self._clients.append(made)
        return made

    async def close(self) -> None:
        """Close the connections of all clients."""
        for client in self._clients:
            await client.close()
        self._clients.clear()

    @asynccontextmanager
    async def at_work(self, *, phones: int = 6) -> AsyncIterator["Crowd"]:
        """Run everybody while the context is open; whatever is wrong with an answer is raised when it closes."""
        members = [await self._registered(USERS[number % len(USERS)]) for number in range(phones)]
        working = [self._log_in_again(self.client(), member) for member in members]
        working += [self._register_again(self.client()) for _ in range(2)]
        working += [await self._redeem_again(username) for username in REDEEMERS]
        working.append(self._forge_again(self.client(), await self._registered(USERS[0])))
        self.rounds = Counter({str(number): 0 for number in range(len(working))})
        tasks = [asyncio.create_task(self._for_ever(str(number), once)) for number, once in enumerate(working)]
        try:
            yield self
        finally:
            self._stopping = True
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def all_get_round(self, times: int = 1) -> float:
        """Return after how many seconds every actor has got round so often from now on."""
        began = time.monotonic()
        wanted = {name: done + times for name, done in self.rounds.items()}

        def enough() -> bool:
            return all(self.rounds[name] >= rounds for name, rounds in wanted.items())

        async with self._more, asyncio.timeout(120):
            await self._more.wait_for(enough)
        return time.monotonic() - began

    async def all_fail(self) -> float:
        """Return after how many seconds every actor has met the fault from now on."""
        began = time.monotonic()
        failures = dict(self.failures)

        def enough() -> bool:
            return all(self.failures[name] > failures.get(name, 0) for name in self.rounds)

        async with self._more, asyncio.timeout(120):
            await self._more.wait_for(enough)
        return time.monotonic() - began

    async def _for_ever(self, name: str, once: Callable[[], Awaitable[bool]]) -> None:
        while not self._stopping:
            try:
                done = await once()
            except BaseException:
                # Nobody waits for one that is over; `at_work` raises it.
                self.rounds[name] = self.failures[name] = 1 << 60
                raise
            finally:
                async with self._more:
                    self._more.notify_all()
            (self.rounds if done else self.failures)[name] += 1
            if not done:
                await asyncio.sleep(AGAIN_SECONDS)

    async def register(self, client: Client, username: str) -> Member | None:
        """Register a new phone; None where an answer is missing."""
        wanted = {"op": "Reg", "context": json.dumps({"username": username})}
        asked = await client.post_json(f"{PATH}/uaf/1.1/request/registration", wanted, UAF | self.place.api)
        if self._failed("registration request", asked):
            return None
        member = Member(SimulatedPhone.in_software(), username)
        self.ledger.attempted.add(member.key_id)
        self.ledger.signed.add(session_of(asked))
        assert asked.response is not None
        body = member.phone.register(asked.response.content)
        answer = await client.post(f"{PATH}/uaf/1.1/registration", body, UAF)
        if self._failed("registration", answer):
            return None
        assert answer.code == OK, answer.body
        self.ledger.succeeded.add(session_of(asked))
        self.ledger.registered[member.key_id] = member
        return member

    async def log_in(self, client: Client, member: Member) -> bool:
        """Log in; False where an answer is missing."""
        asked = await client.post_json(f"{PATH}/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF)
        return not self._failed("request", asked) and await self.respond(client, member, asked)

    async def respond(self, client: Client, member: Member, asked: Answer) -> bool:
        """Answer a request by a good signature."""
        assert asked.response is not None
        self.ledger.signed.add(session_of(asked))
        body = member.phone.authenticate(asked.response.content)
        counter = member.phone.counter
        answer = await client.post(f"{PATH}/uaf/1.1/authentication", body, UAF)
        if self._failed("authentication", answer):
            return False
        assert answer.code == OK, answer.body
        self.ledger.succeeded.add(session_of(asked))
        member.accepted = max(member.accepted, counter)
        return True

    async def token(self, client: Client, username: str) -> str | None:
        """Return a new token for a user's log-in."""
        wanted = {"op": "Auth", "context": json.dumps({"username": username})}
        made = await client.post_json(
            f"{PATH}/token/create/authentication", wanted, {**JSON, **UAF, "accept": "*/*"} | self.place.api
        )
        return None if self._failed("token", made) else str(made.body["token"])

    async def redeem(self, clients: Sequence[Client], token: str) -> list[Answer]:
        """Have all `clients` redeem a token at once; return the answers of those who got it."""
        path, body = f"{PATH}/token/redeem/authentication", {"token": token}
        answers = await asyncio.gather(*(client.post_json(path, body, REDEEM) for client in clients))
        told = [answer for answer in answers if not self._failed("redemption", answer)]
        won = [answer for answer in told if answer.code == OK]
        assert all(answer.code == REFUSED_TOKEN for answer in told if answer not in won), told
        self.ledger.redeemed[token] += len(won)
        assert len(won) <= 1, "a token was redeemed twice"
        # Somebody has it: if nobody was told so, his answer is among those that were lost.
        assert won or len(told) < len(answers), "nobody got the token"
        return won

    def _failed(self, what: str, answer: Answer) -> bool:
        kind = answer.lost or ("503" if answer.unavailable else "answered")
        self.ledger.answers[f"{what}: {kind}"] += 1
        return answer.failed

    def _log_in_again(self, client: Client, member: Member) -> Callable[[], Awaitable[bool]]:
        return lambda: self.log_in(client, member)

    def _register_again(self, client: Client) -> Callable[[], Awaitable[bool]]:
        async def once() -> bool:
            member = await self.register(client, USERS[len(self.ledger.attempted) % len(USERS)])
            return member is not None and await self.log_in(client, member)

        return once

    async def _redeem_again(self, username: str) -> Callable[[], Awaitable[bool]]:
        owner, clients = self.client(), [self.client() for _ in range(3)]
        member = await self._registered(username)

        async def once() -> bool:
            token = await self.token(owner, username)
            won = await self.redeem(clients, token) if token else []
            return bool(won) and await self.respond(owner, member, won[0])

        return once

    async def _registered(self, username: str) -> Member:
        member = await self.register(self.client(), username)
        assert member is not None, self.ledger.answers
        return member

    def _forge_again(self, client: Client, victim: Member) -> Callable[[], Awaitable[bool]]:
        """Sign for somebody else's key with one's own."""
        forger = replace(SimulatedPhone.in_software(), key_id=victim.phone.key_id, counter=1 << 20)

        async def once() -> bool:
            asked = await client.post_json(
                f"{PATH}/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF
            )
            if self._failed("request", asked):
                return False
            assert asked.response is not None
            self.ledger.forged.add(session_of(asked))
            body = forger.authenticate(asked.response.content)
            answer = await client.post(f"{PATH}/uaf/1.1/authentication", body, UAF)
            if self._failed("forgery", answer):
                return False
            assert answer.code == REFUSED_SIGNATURE, answer.body
            return True

        return once


def session_of(asked: Answer) -> str:
    """Return the session of an issued request."""
    request: dict[str, Any] = json.loads(asked.body["uafRequest"])[0]
    return str(request["header"]["exts"][0]["data"])
