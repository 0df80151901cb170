"""UAFV1TLV and the assertions written in it."""

import struct
from collections.abc import Iterator

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import assertions, tlv
from fidoloop.protocol.uaf.dissect import dissect_assertion, dissect_elements
from fidoloop.protocol.uaf.registry import Tag
from fuzz.properties import accepted, outcome

MAX_BYTES = 4200
DICTIONARY = tuple(struct.pack("<H", tag) for tag in Tag)


def check(data: bytes) -> None:
    """What is read is written back to the same bytes; the three readers of an assertion agree on what is one."""
    elements = accepted(lambda: tlv.parse(data), MalformedError)
    if elements is not None:
        assert tlv.encode(elements) == data
    registration = accepted(lambda: assertions.parse_registration_assertion(data), MalformedError)
    quick = outcome(lambda: assertions.parse_authentication_assertion(data), MalformedError)
    slow = outcome(lambda: assertions._parse_any_layout(data, "$"), MalformedError)
    if isinstance(quick, Exception):
        assert isinstance(slow, MalformedError)
    else:
        assert quick == slow
        _written_back(quick)
    accepted(lambda: dissect_elements(data), MalformedError)
    shown = accepted(lambda: dissect_assertion(data), MalformedError)
    if shown is not None and not shown.problems:
        assert registration is not None or isinstance(quick, assertions.AuthenticationAssertion)


def _written_back(found: assertions.AuthenticationAssertion) -> None:
    if found.extensions:
        return
    written = assertions.encode_signed_data(
        aaid=found.aaid,
        authenticator_version=found.authenticator_version,
        authentication_mode=found.authentication_mode,
        signature_algorithm=found.signature_algorithm,
        nonce=found.nonce,
        final_challenge_hash=found.final_challenge_hash,
        transaction_content_hash=found.transaction_content_hash,
        key_id=found.key_id,
        sign_counter=found.sign_counter,
    )
    again = assertions.parse_authentication_assertion(
        assertions.encode_authentication_assertion(written, found.signature)
    )
    assert (again.key_id, again.nonce, again.sign_counter, again.signature) == (
        found.key_id,
        found.nonce,
        found.sign_counter,
        found.signature,
    )


def seeds() -> Iterator[bytes]:
    """Yield the assertions of the published and the recorded messages."""
    from tests.protocol.builders import recorded, vectors

    for example in (*vectors().values(), *recorded().values()):
        raw = example["response"][0]["assertions"][0]["assertion"]
        yield base64url.decode(raw, padding_allowed=True)
