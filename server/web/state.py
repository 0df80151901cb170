"""How far a page's operation is, in the words of the page: no more of the session than its user need know."""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.status import CLIENT_ERROR_OF_ASM_STATUS, ClientError, StatusCode
from fidoloop.server import sessions
from fidoloop.server.environment import Environment
from fidoloop.server.services.status import deadline_of, expiry, follow
from fidoloop.server.store import queries
from fidoloop.server.store.rows import SessionStatus, WebOperation
from fidoloop.server.web.operations import Watcher, find

State = Literal["waiting", "redeemed", "succeeded", "failed", "gone"]
Reason = Literal["declined", "timedOut", "withdrawn", "lockedOut", "noAuthenticator", "refused"]

_FINAL = frozenset({"succeeded", "failed", "gone"})
_BY_CLIENT_ERROR: dict[int, Reason] = {
    ClientError.USER_CANCELLED: "declined",
    ClientError.AUTHENTICATOR_ACCESS_DENIED: "declined",
    ClientError.USER_NOT_RESPONSIVE: "timedOut",
    ClientError.USER_LOCKOUT: "lockedOut",
    ClientError.NO_SUITABLE_AUTHENTICATOR: "noAuthenticator",
    ClientError.USER_NOT_ENROLLED: "noAuthenticator",
    ClientError.KEY_DISAPPEARED_PERMANENTLY: "noAuthenticator",
}
_BY_ASM_STATUS: dict[int, Reason] = {
    status: _BY_CLIENT_ERROR[error] for status, error in CLIENT_ERROR_OF_ASM_STATUS.items() if error in _BY_CLIENT_ERROR
}
_BY_UAF_STATUS: dict[int, Reason] = {
    StatusCode.REQUEST_TIMEOUT: "timedOut",
    StatusCode.FORBIDDEN: "withdrawn",
}


class OperationState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an operation stands; `deadline` in epoch milliseconds while somebody has to do something.

    `keys` are what was registered, or what confirmed.
    """

    state: State
    reason: Reason | UnsetType = UNSET
    deadline: int | UnsetType = UNSET
    keys: tuple[StatusAuthenticator, ...] | UnsetType = UNSET


async def read_state(environment: Environment, operation_id: str, by: Watcher) -> OperationState:
    """Return the state of an operation of this browser; another browser's is `gone`, as one that never was."""
    found = await find(environment.store, operation_id, by)
    if found is None:
        return OperationState("gone")
    row = await environment.store.fetch_one(queries.STATUS, id=found.session_id)
    return OperationState("gone") if row is None else _state_of(found, row, environment.clock())


async def follow_state(
    environment: Environment, operation_id: str, by: Watcher
) -> AsyncIterator[tuple[str, str] | None]:
    """Give an event per change of state, the present one first; the last one is final, unless the server stops."""

    async def read() -> tuple[str, bool]:
        now = await read_state(environment, operation_id, by)
        return strictjson.encode(now), now.state in _FINAL

    found = await find(environment.store, operation_id, by)
    async for event in follow(environment, found.session_id if found else "", read):
        yield event


def _state_of(operation: WebOperation, row: SessionStatus, now: int) -> OperationState:
    if row.state == sessions.SUCCEEDED:
        shows_keys = operation.purpose != "login" and row.authenticators
        return OperationState("succeeded", keys=keys_of(row) if shows_keys else UNSET)
    if row.state == sessions.FAILED or expiry(row, now) is not None:
        return OperationState("failed", _reason(row))
    deadline = deadline_of(row)
    return OperationState("waiting" if row.redeemed_at is None else "redeemed", deadline=deadline or UNSET)


def keys_of(row: SessionStatus) -> tuple[StatusAuthenticator, ...]:
    """Return the keys that took part in a session."""
    return msgspec.json.decode(row.authenticators or "[]", type=tuple[StatusAuthenticator, ...])


def _reason(row: SessionStatus) -> Reason:
    if row.state != sessions.FAILED:
        return "timedOut"
    found = (
        _BY_UAF_STATUS.get(row.uaf_status or 0),
        _BY_CLIENT_ERROR.get(row.client_error or 0),
        _BY_ASM_STATUS.get(row.asm_status or 0),
    )
    return next((reason for reason in found if reason is not None), "refused")
