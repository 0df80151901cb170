"""Channel linking: what the phone must answer is made at the dispatch, and compared before the challenge is consumed.

HTTP contract 8. Three wrong answers end the session.
"""

import hmac
import secrets
from typing import Any, Final

import msgspec
from msgspec import UNSET

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.channel_linking import USUAL_DIGITS, ChannelLinking, ChannelLinkingDemand
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import Operation
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction

TRIES: Final = 3
NONCE_BYTES = 16
_WHERE = "$.dispatchInformation.channelLinking"


class NotLinkedError(UafRefusal):
    """A good assertion with a wrong answer beside it; where `tries_left` is 0 the session is over."""

    def __init__(self, tries_left: int) -> None:
        super().__init__(StatusCode.UNACCEPTABLE_CONTENT, "channelLinkingResponse is not what the laptop was given")
        self.tries_left = tries_left


def demand_in(information: dict[str, Any], op: Operation) -> ChannelLinkingDemand | None:
    """Return what dispatchInformation asks for, None where it asks for none.

    Raises:
        MalformedError: an unknown mode, or an operation whose response has no place for it.
    """
    if "channelLinking" not in information:
        return None
    demand = strictjson.convert(information["channelLinking"], ChannelLinkingDemand, _WHERE)
    if op != "Auth":
        raise MalformedError(_WHERE, "only an authentication can be linked")
    if demand.mode == "ble":
        return ChannelLinkingDemand("ble")
    return ChannelLinkingDemand("number", USUAL_DIGITS if demand.digits is UNSET else demand.digits)


def make_linking(demand: ChannelLinkingDemand) -> ChannelLinking:
    """Return fresh content: random digits, or base64url of a random nonce."""
    if demand.digits is UNSET:
        return ChannelLinking(demand.mode, base64url.encode(secrets.token_bytes(NONCE_BYTES)))
    return ChannelLinking(demand.mode, f"{secrets.randbelow(10**demand.digits):0{demand.digits}}")


def demand_of(linking: ChannelLinking | None) -> ChannelLinkingDemand | None:
    """Return what the payload of a session with `linking` says."""
    if linking is None:
        return None
    return ChannelLinkingDemand(linking.mode, len(linking.content) if linking.mode == "number" else UNSET)


def read_linking(stored: str | None) -> ChannelLinking | None:
    """Return a session's linking from its stored text."""
    return msgspec.json.decode(stored, type=ChannelLinking) if stored else None


async def check_linking(transaction: Transaction, session_id: str, stored: str, answered: str, *, now: int) -> None:
    """Hold an answer against a session's stored linking, in constant time; a wrong one costs a try, in one statement.

    Raises:
        NotLinkedError: it is wrong.
        UafRefusal: REQUEST_INVALID, the request was taken, has expired or was withdrawn meanwhile.
    """
    linking = msgspec.json.decode(stored, type=ChannelLinking)
    if hmac.compare_digest(linking.content.encode("utf-8"), answered.encode("utf-8")):
        return
    left = await transaction.fetch_one(queries.USE_LINKING_TRY, id=session_id, now=now)
    if left is None:
        raise UafRefusal(StatusCode.REQUEST_INVALID, "the request is no longer open")
    raise NotLinkedError(left.rows)
