"""An enrolment that a right password opened: for one person, one credential, from the same address, two minutes.

The app asks the FIDO2 service for options with no credential of its own, so there is nothing better to know it by.
"""

from typing import Final

from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.oauth_rows import AuthSession, Client

ACR: Final = "pw-enroll"
STEP: Final = "jans-chip"
SECONDS: Final = 120


async def open_enrolment(environment: Environment, client: Client, username: str, address: str) -> None:
    """Let a person register a credential from an address; what was open there before is over."""
    place, now = _place(address), environment.clock()
    async with environment.store.transaction() as transaction:
        await transaction.execute(oauth_queries.REMOVE_SESSION, session_hash=place)
        await transaction.execute(
            oauth_queries.ADD_SESSION,
            session_hash=place,
            client_id=client.id,
            jkt=client.jkt,
            scope="",
            acr=ACR,
            username=username,
            code_challenge=None,
            nonce=None,
            now=now,
            expires_at=now + 1000 * SECONDS,
        )
        await transaction.execute(oauth_queries.SET_STEP, session_hash=place, step=STEP, username=username)


async def find_enrolment(environment: Environment, request: Request) -> AuthSession | None:
    """Return the enrolment that is open for a request's address; the ceremony's result uses it up, come what may."""
    if environment.config.oauth.compat != "jans-chip":
        return None
    place, now = _place(request.address), environment.clock()
    found = await environment.store.fetch_one(oauth_queries.SESSION, session_hash=place)
    if found is None or found.step != STEP or found.used_at is not None or found.expires_at <= now:
        return None
    if request.path.rstrip("/").endswith("/result"):
        async with environment.store.transaction() as transaction:
            if await transaction.fetch_one(oauth_queries.USE_SESSION, session_hash=place, now=now) is None:
                return None
    return found


def _place(address: str) -> str:
    return token_hash(f"{STEP}|{address}")
