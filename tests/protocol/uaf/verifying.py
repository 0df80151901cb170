"""Responses verified as a server does, with what is right unless a test says otherwise."""

from collections.abc import Callable
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response

from ..builders import AAID, APP_ID, AT, CHALLENGE, FACET, USER_KEY, entry, p256, point

KEY_ID = base64url.encode(b"k" * 32)
ANY = Policy(accepted=((MatchCriteria(),),))


def expected(**changes: Any) -> Expected:  # noqa: ANN401 - any field
    return Expected(**{"app_id": APP_ID, "challenge": CHALLENGE, "trusted_facets": frozenset({FACET}), **changes})


def models(*entries: MetadataEntry) -> Callable[[str], MetadataEntry | None]:
    return {entry.statement.aaid: entry for entry in entries}.get


def stored(**changes: Any) -> dict[tuple[str, str], StoredKey]:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "owner": "jeff",
        "aaid": AAID,
        "key_id": KEY_ID,
        "public_key": point(p256(USER_KEY)),
        "public_key_format": 0x100,
        "signature_algorithm": 1,
        "sign_counter": 4,
    }
    key = StoredKey(**{**fields, **changes})
    return {(key.aaid, key.key_id): key}


def register(text: str, **changes: Any) -> tuple[RegisteredKey, ...]:  # noqa: ANN401 - any argument
    arguments: dict[str, Any] = {
        "expected": expected(),
        "policy": ANY,
        "metadata": models(entry()),
        "already_registered": frozenset(),
        "at": AT,
    }
    return verify_registration_response(decode_response(text), **{**arguments, **changes})


def authenticate(text: str, **changes: Any) -> tuple[VerifiedAuthentication, ...]:  # noqa: ANN401 - any argument
    arguments: dict[str, Any] = {
        "expected": expected(),
        "expected_owner": None,
        "policy": ANY,
        "metadata": models(entry()),
        "keys": stored(),
        "transactions": (),
    }
    response = decode_response(text)
    return verify_authentication_response(
        response, parse_authentication_assertions(response), **{**arguments, **changes}
    )


def refused(
    verify: Callable[..., object],
    text: str,
    **changes: Any,  # noqa: ANN401 - any argument
) -> tuple[StatusCode, str]:
    with pytest.raises(UafRefusal) as caught:
        verify(text, **changes)
    return caught.value.status, caught.value.detail
