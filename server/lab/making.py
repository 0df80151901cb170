"""Sessions made in the lab: a log-in that nobody is logged in by, shown as a code to a phone."""

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import jose, outofband
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.lab.console import WAKE, Lab, LabSession
from fidoloop.server.lab.stories import Change
from fidoloop.server.payloads import make_payload
from fidoloop.server.store import queries
from fidoloop.server.web.codes import Code, draw_code, make_code


class NewLabSession(msgspec.Struct, frozen=True):
    """The dispatch target whose key the payload is encrypted to; without one it is for whoever scans it."""

    device: ShortText | UnsetType = UNSET


class CodeShown(msgspec.Struct, frozen=True):
    """A session, and its token as a link and as a QR code, PNG in base64."""

    id: str
    link: str
    qr: str


async def make_session(environment: Environment, lab: Lab, request: Request, wanted: NewLabSession) -> CodeShown:
    """Begin an authentication. Raises HttpProblem 503: there are no links, or no such target."""
    device = wanted.device or None
    code = await make_code(environment, request, GetUafRequest("Auth", "{}"), device=device)
    lab.made(LabSession(code.session_id, device))
    lab.stories.add_change(code.session_id, Change(environment.clock(), "tokenCreated"))
    environment.changes.announce(WAKE)
    return _shown(code)


async def code_for_another_key(environment: Environment, request: Request, session: LabSession) -> CodeShown:
    """Return a code of the session's token that is encrypted to a key which nobody has.

    Raises:
        HttpProblem: 409, the token is of no more use.
    """
    known = await environment.store.fetch_one(queries.TOKEN_OF_SESSION, id=session.id)
    now = environment.clock()
    if known is None or known.redeemed_at is not None or known.token_expires_at <= now or known.state != "tokenCreated":
        raise HttpProblem(409, "the token was redeemed, has expired or was withdrawn")
    payload = make_payload(
        environment.config,
        op="Auth",
        token=known.token,
        recipient=jose.public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()),
        address=request.address,
        user_agent=request.user_agent,
    )
    return _shown(await draw_code(session.id, outofband.link(environment.config.link_base_url, payload)))


def _shown(code: Code) -> CodeShown:
    return CodeShown(code.session_id, code.link, code.qr)
