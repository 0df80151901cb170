"""The SQL statements of the web pages; as `queries`, which holds all others."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Nothing, One, WebLogin, WebOperation

ADD_OPERATION: Final = Query(
    "INSERT INTO web_operation (id, purpose, session_id, browser_hash, username, created_at)"
    " VALUES (:id, :purpose, :session_id, :browser_hash, :username, :now)",
    Nothing,
)
OPERATION: Final = Query(
    "SELECT id, purpose, session_id, username FROM web_operation"
    " WHERE id = :id AND browser_hash IN (:pre_login_hash, :login_hash)",
    WebOperation,
)
KNOWN_BROWSER: Final = Query(
    "SELECT id FROM web_operation WHERE browser_hash = :browser_hash AND created_at > :since LIMIT 1",
    One,
)
TAKE_LOGIN: Final = Query(
    "DELETE FROM web_operation WHERE id = :id AND browser_hash = :browser_hash AND purpose = 'login' AND EXISTS"
    " (SELECT 1 FROM session s WHERE s.id = web_operation.session_id AND s.op = 'Auth' AND s.state = 'succeeded'"
    " AND s.updated_at > :since) RETURNING session_id",
    One,
)
TAKE_ENROLMENT: Final = Query(
    "DELETE FROM web_operation WHERE id = :id AND browser_hash IN (:pre_login_hash, :login_hash)"
    " AND purpose = 'enrol' AND EXISTS (SELECT 1 FROM session s WHERE s.id = web_operation.session_id"
    " AND s.op = 'Reg' AND s.state = 'succeeded') RETURNING session_id",
    One,
)
FORGET_OPERATIONS: Final = Query("DELETE FROM web_operation WHERE browser_hash = :browser_hash", Nothing)
ADD_LOGIN: Final = Query(
    "INSERT INTO web_login (cookie_hash, username, aaid, key_id, created_at, expires_at)"
    " VALUES (:cookie_hash, :username, :aaid, :key_id, :now, :expires_at)",
    Nothing,
)
# Whoever is shut out, or whose key was taken away, is logged out with it.
LOGIN: Final = Query(
    "SELECT w.username, w.aaid, w.key_id, w.created_at, w.expires_at FROM web_login w"
    " JOIN account a ON a.username = w.username"
    " WHERE w.cookie_hash = :cookie_hash AND w.expires_at > :now AND a.disabled_at IS NULL AND (EXISTS"
    " (SELECT 1 FROM credential c WHERE c.key_id = w.key_id AND c.aaid = w.aaid AND c.username = w.username"
    " AND c.app_id = :app_id) OR w.aaid = 'passkey' AND EXISTS (SELECT 1 FROM fido2_credential f"
    " WHERE f.id = w.key_id AND f.username = w.username AND f.rp_id = :rp_id))",
    WebLogin,
)
REMOVE_LOGIN: Final = Query("DELETE FROM web_login WHERE cookie_hash = :cookie_hash", Nothing)
REMEMBER_BROWSER: Final = Query(
    "INSERT INTO web_browser (cookie_hash, username, expires_at) VALUES (:cookie_hash, :username, :expires_at)"
    " ON CONFLICT (cookie_hash, username) DO UPDATE SET expires_at = :expires_at",
    Nothing,
)
REMEMBERED: Final = Query(
    "SELECT w.username FROM web_browser w JOIN account a ON a.username = w.username"
    " WHERE w.cookie_hash = :cookie_hash AND w.expires_at > :now AND a.disabled_at IS NULL ORDER BY w.username",
    One,
)
FORGET_BROWSER: Final = Query("DELETE FROM web_browser WHERE cookie_hash = :cookie_hash", Nothing)
# Whoever asks next waits here for the end of the transaction, and sees in the next statement what came of it.
LOCK_PUSHES: Final = Query(
    "INSERT INTO web_push (username, session_id, last_at, second_at, third_at, fourth_at, fifth_at)"
    " VALUES (:username, '', 0, 0, 0, 0, 0) ON CONFLICT (username) DO UPDATE SET username = web_push.username",
    Nothing,
)
# The fifth last push is long enough ago, and the last one's session is open no more.
TAKE_PUSH: Final = Query(
    "UPDATE web_push SET session_id = :session_id, last_at = :now, second_at = last_at, third_at = second_at,"
    " fourth_at = third_at, fifth_at = fourth_at WHERE username = :username AND fifth_at <= :since"
    " AND NOT EXISTS (SELECT 1 FROM session s WHERE s.id = web_push.session_id"
    " AND s.state IN ('tokenCreated', 'clientAuthenticating')"
    " AND COALESCE(s.request_expires_at, s.token_expires_at) > :now) RETURNING username",
    One,
)
PURGE: Final = (
    Query("DELETE FROM web_operation WHERE created_at <= :before", Nothing, patient=True),
    Query("DELETE FROM web_push WHERE last_at <= :before", Nothing, patient=True),
)
PURGE_EXPIRED: Final = (
    Query("DELETE FROM web_login WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM web_browser WHERE expires_at <= :now", Nothing, patient=True),
)
FORGET_ALL: Final = tuple(
    Query(f"DELETE FROM {table}", Nothing, patient=True)  # noqa: S608 - names of tables
    for table in ("web_operation", "web_login", "web_browser", "web_push")
)
