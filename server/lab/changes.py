"""The lab's live view: sessions as the store has them, and the states they came into."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.environment import Environment
from fidoloop.server.lab.console import WAKE, Lab
from fidoloop.server.lab.stories import NO_SESSION, Change
from fidoloop.server.services.status import ASK_AGAIN_SECONDS, SIGN_OF_LIFE_MILLIS, deadline_of, expiry
from fidoloop.server.sessions import ENDED, FAILED
from fidoloop.server.store import lab_queries
from fidoloop.server.store.rows import LabSessionRow

MAX_LISTED: Final = 50


class SessionShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session: `deadline` while somebody has to do something, `entries` how much of its story is known.

    `madeHere`: faults may be injected into it; `armed` are those that wait for their moment. Times are epoch
    milliseconds.
    """

    id: str
    op: str
    username: str | None
    createdAt: int
    state: str
    at: int
    changes: tuple[Change, ...]
    entries: int
    dispatcher: str | None = None
    deadline: int | None = None
    madeHere: bool = False
    armed: tuple[str, ...] = ()


class Others(msgspec.Struct, frozen=True):
    """The story of messages that belong to no session: how many there were."""

    id: str
    entries: int


def change_of(row: LabSessionRow, now: int) -> Change:
    """Return the state that a session is in; one that ran out of time is failed, as its Status says."""
    expired_at = expiry(row, now)
    if expired_at is not None:
        return Change(expired_at, FAILED, int(StatusCode.REQUEST_TIMEOUT))
    return Change(row.updated_at, row.state, row.uaf_status, row.asm_status, row.client_error)


async def listed(environment: Environment, lab: Lab) -> list[SessionShown]:
    """Return the newest sessions, oldest first, having noted their states. Other processes' are among them."""
    rows = await environment.store.fetch_all(lab_queries.NEWEST_SESSIONS, limit=MAX_LISTED)
    now = environment.clock()
    return [_shown(lab, row, now) for row in reversed(rows)]


def _shown(lab: Lab, row: LabSessionRow, now: int) -> SessionShown:
    present = change_of(row, now)
    lab.stories.add_change(row.id, present)
    story, made_here = lab.stories.of(row.id), lab.sessions.get(row.id)
    armed = []
    if made_here is not None and made_here.skew_minutes:
        armed.append("clockSkew")
    if made_here is not None and made_here.on_response is not None:
        armed.append("replay")
    return SessionShown(
        row.id,
        row.op,
        row.username,
        row.created_at,
        present.state,
        present.at,
        story.changes,
        story.length,
        row.dispatcher,
        None if present.state in ENDED else deadline_of(row),
        made_here is not None,
        tuple(armed),
    )


async def follow(environment: Environment, lab: Lab) -> AsyncIterator[tuple[str, str] | None]:
    """Give an event `session` for each session as it is, and for each that changed, until the server stops.

    The last of each round is that of no session.
    """
    sent: dict[str, str] = {}
    said_at = environment.clock()
    with environment.changes.watch(WAKE) as watch:
        while not environment.changes.stopping:
            texts = {session.id: strictjson.encode(session) for session in await listed(environment, lab)}
            texts[NO_SESSION] = strictjson.encode(Others(NO_SESSION, lab.stories.of(NO_SESSION).length))
            for session_id, text in texts.items():
                if sent.get(session_id) != text:
                    yield "session", text
                    said_at = environment.clock()
            sent = texts
            if environment.clock() - said_at >= SIGN_OF_LIFE_MILLIS:
                yield None
                said_at = environment.clock()
            await watch.changed(ASK_AGAIN_SECONDS)
