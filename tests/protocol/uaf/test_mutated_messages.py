"""Real messages, published and recorded, changed in every way we know: never accepted, never an internal error.

What is left of a change that stands outside all that is signed must be the very result of the message unchanged.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge, tlv
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.attestation import load_chain, verify_attestation
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import Version, decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import UafRefusal
from fidoloop.protocol.uaf.verification_input import parse_verification_input
from fidoloop.protocol.uaf.verify_authentication_response import (
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.protocol.uaf.verify_registration_response import check_limits, verify_registration_response

from ..builders import recorded, statement, to_der, vectors

# cryptography warns of what it still reads and will not for ever: serial numbers below 1, names of no length.
pytestmark = pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning"
)

EXAMPLES = {**vectors(), **recorded()}
ANY = Policy(accepted=((MatchCriteria(),),))
# When the published certificates were valid.
THEN = datetime(2016, 1, 1, tzinfo=UTC)
Verify = Callable[[Any], object]


def assertion_of(example: dict[str, Any]) -> bytes:
    return base64url.decode(example["response"][0]["assertions"][0]["assertion"])


def with_assertion(example: dict[str, Any], raw: bytes) -> list[dict[str, Any]]:
    (response,) = json.loads(json.dumps(example["response"]))
    response["assertions"][0]["assertion"] = base64url.encode(raw)
    return [response]


def model_of(example: dict[str, Any]) -> MetadataEntry:
    """Returns the model's metadata: the recorded one, or one made of what the published message says."""
    if "metadata" in example:
        return parse_metadata(json.dumps(example["metadata"][0]).encode())
    raw = assertion_of(example)
    if example["operation"] == "Auth":
        (record,) = example["registrations"]
        changes = {"authenticationAlgorithm": record["sigAlg"], "publicKeyAlgAndEncoding": record["keyAlg"]}
        return parse_metadata(json.dumps(statement(aaid=record["aaid"], authenticatorVersion=0, **changes)).encode())
    found = parse_registration_assertion(raw)
    leaf = to_der(load_chain(found.attestation_certificates)[0])
    changes = {
        "authenticationAlgorithm": found.signature_algorithm,
        "publicKeyAlgAndEncoding": found.public_key_format,
        "attestationRootCertificates": [base64.b64encode(leaf).decode()],
    }
    return parse_metadata(json.dumps(statement(aaid=found.aaid, authenticatorVersion=0, **changes)).encode())


def verifier(name: str) -> Verify:
    """Returns what verifies a response as the server that asked for example `name` would, and returns the result."""
    example = EXAMPLES[name]
    given_ = parse_verification_input(json.dumps(example).encode())
    entry, at = model_of(example), given_.at or THEN
    metadata = {entry.statement.aaid.upper(): entry}.get
    if not example["fcParamsPublished"]:
        return lambda response: _registered_without_challenge(response, entry, at)
    params = final_challenge.decode(given_.response.fcParams)
    expected = Expected(
        app_id=params.appID,
        challenge=params.challenge,
        trusted_facets=frozenset({params.facetID}),
        versions=(Version(1, 0), Version(1, 1)),
    )
    if example["operation"] == "Reg":
        return lambda response: verify_registration_response(
            decode_response(json.dumps(response) if isinstance(response, list) else response),
            expected=expected,
            policy=ANY,
            metadata=metadata,
            already_registered=frozenset(),
            at=at,
        )

    def authenticate(response: Any) -> object:  # noqa: ANN401 - a list or its text
        decoded = decode_response(json.dumps(response) if isinstance(response, list) else response)
        return verify_authentication_response(
            decoded,
            parse_authentication_assertions(decoded),
            expected=expected,
            expected_owner=None,
            policy=ANY,
            metadata=metadata,
            keys=given_.keys or {},
            transactions=given_.transactions or (),
        )

    return authenticate


def _registered_without_challenge(response: Any, entry: MetadataEntry, at: datetime) -> object:  # noqa: ANN401
    """Verifies a published registration whose fcParams nobody knows: its form, its limits and its attestation."""
    decoded = decode_response(json.dumps(response) if isinstance(response, list) else response)
    found = parse_registration_assertion(base64url.decode(decoded.assertions[0].assertion))
    check_limits(found)
    verify_attestation(found, roots=entry.roots, at=at)
    return found.krd


def outcome(verify: Verify, response: object) -> object:
    """Returns the result, or None where the message is refused; whatever else is raised is an internal error."""
    try:
        return verify(response)
    except (MalformedError, UafRefusal):
        return None


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_verifies_unchanged(name: str) -> None:
    assert verifier(name)(EXAMPLES[name]["response"]) is not None


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_changed_byte_is_accepted(name: str) -> None:
    verify, raw = verifier(name), assertion_of(EXAMPLES[name])
    for offset in range(len(raw)):
        for flip in (0x01, 0x80):
            altered = raw[:offset] + bytes([raw[offset] ^ flip]) + raw[offset + 1 :]
            assert outcome(verify, with_assertion(EXAMPLES[name], altered)) is None, (offset, flip)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_byte_left_out_added_or_cut_off_is_accepted(name: str) -> None:
    verify, raw = verifier(name), assertion_of(EXAMPLES[name])
    for offset in range(0, len(raw), 3):
        for altered in (raw[:offset] + raw[offset + 1 :], raw[:offset] + b"\x00" + raw[offset:], raw[:offset]):
            assert outcome(verify, with_assertion(EXAMPLES[name], altered)) is None, offset


Tree = tuple[tlv.Element, ...]


def rebuilt(elements: Tree) -> Iterator[Tree]:
    """Yields the tree with each element left out, doubled, emptied, moved to the end, or under another tag."""
    for at, element in enumerate(elements):
        before, after = elements[:at], elements[at + 1 :]
        yield (*before, *after)
        yield (*before, element, element, *after)
        yield (*before, tlv.Element(element.tag, b"" if isinstance(element.value, bytes) else ()), *after)
        yield (*before, *after, element)
        for tag in (element.tag ^ 0x2000, element.tag ^ 0x0001, 0x0999 | element.tag & 0x1000):
            yield (*before, tlv.Element(tag, element.value), *after)
        if isinstance(element.value, tuple):
            for inner in rebuilt(element.value):
                yield (*before, tlv.Element(element.tag, inner), *after)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_element_left_out_doubled_emptied_moved_or_renamed_changes_what_is_accepted(name: str) -> None:
    verify, raw = verifier(name), assertion_of(EXAMPLES[name])
    unchanged = verify(EXAMPLES[name]["response"])
    count = 0
    for tree in rebuilt(tlv.parse(raw)):
        found = outcome(verify, with_assertion(EXAMPLES[name], tlv.encode(tree)))
        assert found is None or found == unchanged
        count += 1
    assert count > 50


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_assertion_of_another_message_is_not_accepted(name: str) -> None:
    verify = verifier(name)
    for other, example in EXAMPLES.items():
        if other != name:
            assert outcome(verify, with_assertion(EXAMPLES[name], assertion_of(example))) is None, other


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example["fcParamsPublished"]])
def test_final_challenge_params_of_another_message_are_not_accepted(name: str) -> None:
    verify = verifier(name)
    for other, example in EXAMPLES.items():
        if other != name:
            (response,) = json.loads(json.dumps(EXAMPLES[name]["response"]))
            response["fcParams"] = example["response"][0]["fcParams"]
            assert outcome(verify, [response]) is None, other


@given(st.data(), st.sampled_from(sorted(EXAMPLES)))
def test_a_changed_text_is_refused_or_says_the_same(data: st.DataObject, name: str) -> None:
    verify, text = verifier(name), json.dumps(EXAMPLES[name]["response"])
    at = data.draw(st.integers(0, len(text) - 1))
    replacement = data.draw(st.sampled_from(['"', "\\", "{", "]", ",", "0", "A", "é", "\x00", "", "null", " "]))
    found = outcome(verify, text[:at] + replacement + text[at + 1 :])
    assert found is None or found == verify(EXAMPLES[name]["response"])


@given(st.data(), st.sampled_from(sorted(EXAMPLES)))
def test_several_changed_bytes_are_not_accepted(data: st.DataObject, name: str) -> None:
    verify, raw = verifier(name), assertion_of(EXAMPLES[name])
    altered = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 8))):
        altered[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if altered != raw:
        assert outcome(verify, with_assertion(EXAMPLES[name], bytes(altered))) is None


def test_the_corpus_has_published_and_recorded_messages_of_both_operations() -> None:
    operations = [example["operation"] for example in EXAMPLES.values()]
    assert (operations.count("Reg"), operations.count("Auth")) == (8, 10)
    signed = [assertion_of(example) for example in recorded().values() if example["operation"] == "Auth"]
    assert {parse_authentication_assertion(raw).authentication_mode for raw in signed} == {1, 2}
