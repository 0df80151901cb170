"""The published examples: parsed, encoded again byte for byte, and verified."""

import json
from datetime import UTC, datetime

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import tlv
from fidoloop.protocol.uaf.assertions import (
    RegistrationAssertion,
    encode_authentication_assertion,
    encode_krd,
    encode_registration_assertion,
    encode_signed_data,
    parse_authentication_assertion,
    parse_registration_assertion,
)
from fidoloop.protocol.uaf.attestation import load_chain, verify_attestation, verify_full_signature
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.messages import decode_response
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import vectors

EXAMPLES = vectors()
REGISTRATIONS = [name for name, example in EXAMPLES.items() if example["operation"] == "Reg"]
AUTHENTICATIONS = [name for name, example in EXAMPLES.items() if example["operation"] == "Auth"]


def raw(name: str) -> bytes:
    response = decode_response(json.dumps(EXAMPLES[name]["response"]))
    return base64url.decode(response.assertions[0].assertion)


def registration(name: str) -> RegistrationAssertion:
    return parse_registration_assertion(raw(name))


def test_there_are_six() -> None:
    assert (len(REGISTRATIONS), len(AUTHENTICATIONS)) == (4, 2)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_encodes_again_byte_for_byte(name: str) -> None:
    assert tlv.encode(tlv.parse(raw(name))) == raw(name)


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_our_encoder_writes_a_registration_as_its_device_did(name: str) -> None:
    found = registration(name)
    krd = encode_krd(
        aaid=found.aaid,
        authenticator_version=found.authenticator_version,
        signature_algorithm=found.signature_algorithm,
        public_key_format=found.public_key_format,
        final_challenge_hash=found.final_challenge_hash,
        key_id=found.key_id,
        sign_counter=found.sign_counter,
        registration_counter=found.registration_counter,
        public_key=found.public_key,
    )
    assert krd == found.krd
    again = encode_registration_assertion(
        krd,
        attestation_type=AttestationType(found.attestation_type),
        signature=found.attestation_signature,
        certificates=found.attestation_certificates,
    )
    assert again == found.raw


@pytest.mark.parametrize("name", AUTHENTICATIONS)
def test_our_encoder_writes_an_authentication_as_its_device_did(name: str) -> None:
    found = parse_authentication_assertion(raw(name))
    signed = encode_signed_data(
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
    assert signed == found.signed_data
    assert encode_authentication_assertion(signed, found.signature) == found.raw


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_challenge_hash_is_the_one_signed_where_it_is_known(name: str) -> None:
    parse = parse_registration_assertion if name in REGISTRATIONS else parse_authentication_assertion
    same = final_challenge_hash(EXAMPLES[name]["response"][0]["fcParams"]) == parse(raw(name)).final_challenge_hash
    assert same is EXAMPLES[name]["fcParamsPublished"]


@pytest.mark.parametrize("name", AUTHENTICATIONS)
def test_the_signature_verifies_with_the_stored_key(name: str) -> None:
    found = parse_authentication_assertion(raw(name))
    (record,) = EXAMPLES[name]["registrations"]
    assert (found.aaid, base64url.encode(found.key_id)) == (record["aaid"], record["keyID"])
    key = load_public_key(record["sigAlg"], record["keyAlg"], base64url.decode(record["publicKey"]))
    verify_signature(key, record["sigAlg"], found.signature, found.signed_data)


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_the_attestation_signature_verifies_with_the_leaf(name: str) -> None:
    found = registration(name)
    verify_full_signature(found, load_chain(found.attestation_certificates)[0])


def test_the_whole_attestation_verifies_where_the_leaf_is_the_listed_root() -> None:
    found = registration("dds-reg")
    (leaf,) = load_chain(found.attestation_certificates)
    verify_attestation(found, roots=[leaf], at=datetime(2016, 1, 1, tzinfo=UTC))
    with pytest.raises(UafRefusal) as expired:
        verify_attestation(found, roots=[leaf], at=datetime(2026, 1, 1, tzinfo=UTC))
    assert expired.value.status is StatusCode.UNACCEPTABLE_ATTESTATION


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_the_registered_key_is_one_of_the_algorithm_named(name: str) -> None:
    """The Raon device puts a SubjectPublicKeyInfo where its format says SEQUENCE {n, e}."""
    found = registration(name)
    load_public_key(found.signature_algorithm, found.public_key_format, found.public_key)
