"""FIDO UAF 1.1 and 1.2 for a relying party: what a response must hold, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.match_criteria import MatchCriteria
from fidoloop.protocol.uaf.messages import UafResponse, decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry, MetadataStatement, parse_metadata
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    VerifiedAuthentication,
    parse_authentication_assertions,
)
from fidoloop.protocol.uaf.verify_authentication_response import verify_authentication_response as _verify
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response

__all__ = [
    "Expected",
    "MatchCriteria",
    "MetadataEntry",
    "MetadataStatement",
    "Policy",
    "RegisteredKey",
    "StatusCode",
    "StoredKey",
    "UafRefusal",
    "UafResponse",
    "VerifiedAuthentication",
    "decode_response",
    "parse_metadata",
    "verify_authentication_response",
    "verify_registration_response",
]


def verify_authentication_response(
    response: UafResponse,
    *,
    expected: Expected,
    expected_owner: str | None,
    policy: Policy,
    metadata: Callable[[str], MetadataEntry | None],
    keys: Mapping[tuple[str, str], StoredKey],
    transactions: Sequence[bytes] = (),
    on: date | None = None,
) -> tuple[VerifiedAuthentication, ...]:
    """Verify `response` (UAF protocol 3.5.7.5) and return the assertions of the policy's alternative that it meets.

    Args:
        response: as `decode_response` read it.
        expected: the operation as the server issued it.
        expected_owner: the only user whose keys count; None: whoever answers.
        policy: of the request.
        metadata: finds the entry of an AAID.
        keys: the keys known to the server, by AAID and KeyID in base64url.
        transactions: decoded contents one of which is to be confirmed, if any.
        on: the day by which status reports are in force; None: all are.

    Raises:
        UafRefusal: with the status code of the first rule that is broken.
    """
    return _verify(
        response,
        parse_authentication_assertions(response),
        expected=expected,
        expected_owner=expected_owner,
        policy=policy,
        metadata=metadata,
        keys=keys,
        transactions=transactions,
        on=on,
    )
