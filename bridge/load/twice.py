"""Phones that send every request twice, and what became of the second one."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from fidoloop.bridge.load.connection import Client
from fidoloop.bridge.load.failures import Failure
from fidoloop.bridge.load.services import Step, ask

ACCEPTED = "accepted"


class Twice(StrEnum):
    """When the second request is sent."""

    RETRY = "retry"
    """After the answer to the first, as if that had been lost."""
    RACE = "race"
    """At the same time, on a connection of its own."""


@dataclass
class Repeats:
    """`outcomes` counts what the second of two requests got, by service and outcome.

    `accepted_twice` counts, by service, pairs of which both got a yes where at most one may.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted_twice: Counter[str] = field(default_factory=Counter)


class Repeating:
    """A `Call` that asks twice and goes on with the first yes."""

    def __init__(self, first: Client, second: Client, how: Twice, repeats: Repeats) -> None:
        """Take a connection for each; `repeats` is added to."""
        self._first, self._second = first, second
        self._how = how
        self._repeats = repeats

    async def __call__(self, step: Step, body: bytes) -> bytes:
        """Ask twice. Raises Failure: neither got a yes; it is the first one's."""
        if self._how is Twice.RACE:
            first, second = await asyncio.gather(_outcome(self._first, step, body), _outcome(self._second, step, body))
        else:
            first = await _outcome(self._first, step, body)
            second = await _outcome(self._second, step, body)
        self._repeats.outcomes[step.name, second.kind if isinstance(second, Failure) else ACCEPTED] += 1
        answers = [each for each in (first, second) if isinstance(each, bytes)]
        if step.once and len(answers) > 1:
            self._repeats.accepted_twice[step.name] += 1
        if answers:
            return answers[0]
        assert isinstance(first, Failure)
        raise first


async def _outcome(client: Client, step: Step, body: bytes) -> bytes | Failure:
    try:
        return await ask(client, step, body)
    except Failure as failure:
        return failure
