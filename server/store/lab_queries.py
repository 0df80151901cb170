"""The SQL statements of the lab console; as `queries`, which holds all others."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import LabSessionRow, Nothing, One

_SESSION = (
    "SELECT id, op, username, state, created_at, updated_at, token_expires_at, redeemed_at, dispatcher,"
    " request_expires_at, uaf_status, asm_status, client_error FROM session"
)
SESSION: Final = Query(f"{_SESSION} WHERE id = :id", LabSessionRow)
NEWEST_SESSIONS: Final = Query(f"{_SESSION} ORDER BY id DESC LIMIT :limit", LabSessionRow)
SESSION_OF_OPERATION: Final = Query("SELECT session_id FROM web_operation WHERE id = :id", One)
PAYLOAD_OF: Final = Query("SELECT payload FROM dispatched_payload WHERE session_id = :session_id LIMIT 1", One)
EXPIRE_TOKEN: Final = Query(
    "UPDATE session SET token_expires_at = :now WHERE id = :id AND state = 'tokenCreated' AND redeemed_at IS NULL"
    " AND token_expires_at > :now",
    Nothing,
)
SHIFT_REQUEST: Final = Query(
    "UPDATE session SET request_expires_at = request_expires_at + :offset WHERE id = :id"
    " AND state = 'clientAuthenticating' AND consumed_at IS NULL",
    Nothing,
)
