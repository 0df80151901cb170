"""What the two response services share: reading the message, and ending the session whatever the outcome."""

import logging
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import SendUafResponse, ServerResponse, UafResponse, decode_response
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.transactions import transaction_content_hash
from fidoloop.server.contexts import ResponseContext, parse_context
from fidoloop.server.environment import Environment
from fidoloop.server.store.rows import IssuedRequest

NO_REQUEST = UafRefusal(StatusCode.REQUEST_INVALID, "serverData names no open request: unknown, used or expired")
COMPLETED = "OK. Operation completed."
_log = logging.getLogger("fidoloop.server.uaf")
_NO_CONTEXT = ResponseContext()


class Received(NamedTuple):
    """A response as it came, and the client's codes beside it."""

    response: UafResponse
    context: ResponseContext
    server_data: str

    @property
    def asm_status(self) -> int | None:
        """asmStatusCode, where the client sent it."""
        code = self.context.asmStatusCode
        return None if code is UNSET else code

    @property
    def client_error(self) -> int | None:
        """clientErrorCode, where the client sent it."""
        code = self.context.clientErrorCode
        return None if code is UNSET else code


def read_response(body: bytes) -> Received:
    """Return the response in a SendUAFResponse.

    Raises:
        MalformedError: the body or its uafResponse is not what it should be.
        UafRefusal: BAD_REQUEST (context) or REQUEST_INVALID (no serverData).
    """
    sent = strictjson.decode(body, SendUafResponse)
    response = decode_response(sent.uafResponse, "uafResponse")
    context = parse_context(sent.context, ResponseContext) if sent.context else _NO_CONTEXT
    server_data = response.header.serverData
    if server_data is UNSET:
        raise NO_REQUEST
    return Received(response, context, server_data)


def expected_of(environment: Environment, issued: IssuedRequest) -> Expected:
    """Return what a response to `issued` must hold."""
    config = environment.config
    return Expected(
        app_id=config.app_id,
        challenge=issued.challenge,
        trusted_facets=environment.trusted_facets,
        versions=config.versions,
    )


@lru_cache(maxsize=1024)
def issued_policy(text: str) -> Policy:
    """Return a policy from its stored text; most requests share one."""
    return msgspec.json.decode(text, type=Policy)


def issued_transactions(text: str | None) -> dict[bytes, bytes]:
    """Return the stored transaction contents by their TCHash."""
    contents = [base64url.decode(entry) for entry in msgspec.json.decode(text, type=list[str])] if text else ()
    return {transaction_content_hash(content): content for content in contents}


def completed(**members: str) -> ServerResponse:
    """Return the answer of success, with further members of `description`."""
    return ServerResponse(int(StatusCode.OK), strictjson.encode({"message": COMPLETED, **members}))


def refused(refusal: UafRefusal) -> ServerResponse:
    """Return the answer of a refusal, and tell the operator: a wrong facet is found by this line."""
    _log.info("response refused: %d %s", refusal.status, refusal.detail)
    return ServerResponse(int(refusal.status), strictjson.encode({"message": refusal.detail}))
