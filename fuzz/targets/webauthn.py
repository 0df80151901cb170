"""WebAuthn: attestation objects, authenticator data, client data, COSE keys, and whole ceremonies."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.algorithms import load_credential_key
from fidoloop.protocol.webauthn.attestation import verify_attestation
from fidoloop.protocol.webauthn.attestation_object import parse_attestation_object
from fidoloop.protocol.webauthn.authenticator_data import parse_authenticator_data
from fidoloop.protocol.webauthn.client_data import RelyingParty, parse_client_data
from fidoloop.protocol.webauthn.messages import AttestationResponse, AuthenticationCredential, RegistrationCredential
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.protocol.webauthn.verify_registration_response import (
    RegistrationExpectations,
    verify_registration_response,
)
from fuzz.properties import accepted
from fuzz.targets.jws import key

MAX_BYTES = 1 << 13
DICTIONARY = (
    b"cfmt", b"gattStmt", b"hauthData", b"fpacked", b"dnone", b"hfido-u2f", b"ctpm", b"kandroid-key", b"eapple",
    b"calg", b"csig", b"cx5c", b"cver", b"hcertInfo", b"gpubArea", b"\x26", b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20",
    b"\x58\x20", b"\x59\x01\x00", b'"type"', b'"webauthn.create"', b'"challenge"', b'"origin"', b'"crossOrigin"',
)  # fmt: skip
RP = RelyingParty("login.example", frozenset({"https://login.example"}))
AT = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT_DATA = b'{"type":"webauthn.create","challenge":"Y2Nj","origin":"https://login.example"}'
_ALL = frozenset({-7, -8, -35, -36, -37, -257, -258, -259})
_SIGNED = 0x00


def check(data: bytes) -> None:
    """Each structure by itself; an attestation object in a ceremony; after a zero byte authenticator data, signed.

    What is accepted as authenticator data has just the bytes that its parts have; a key refuses what it never signed.
    """
    found = accepted(lambda: parse_authenticator_data(data), MalformedError)
    if found is not None:
        again = found.rp_id_hash + bytes((found.flags,)) + found.sign_count.to_bytes(4)
        if found.credential is not None:
            one = found.credential
            again += one.aaguid + len(one.id).to_bytes(2) + one.id + one.public_key
        assert data.startswith(again)
        assert bool(found.extensions) <= (len(data) > len(again))
    accepted(lambda: parse_client_data(data), WebAuthnRefusal)
    _key(data)
    attestation = accepted(lambda: parse_attestation_object(data), MalformedError)
    if attestation is not None:
        _key(attestation.credential.public_key)
        accepted(lambda: verify_attestation(attestation, hashlib.sha256(CLIENT_DATA).digest()), WebAuthnRefusal)
    _ceremony(data)
    if data[:1] == bytes((_SIGNED,)):
        _ceremony(_self_attested(data[1:]))
    for kind in (RegistrationCredential, AuthenticationCredential):
        accepted(partial(strictjson.decode, data, kind), MalformedError)


def _key(cose: bytes) -> None:
    loaded = accepted(lambda: load_credential_key(cose), WebAuthnRefusal)
    if loaded is not None:
        try:
            loaded.verify(b"\x30\x06\x02\x01\x01\x02\x01\x01", b"never signed")
        except InvalidSignature:
            return
        raise AssertionError("a signature that nobody made verifies")


def _self_attested(data: bytes) -> bytes:
    """Return an attestation object, its format packed, with `data` as authenticator data, signed by the known key."""
    signature = key().sign(data + hashlib.sha256(CLIENT_DATA).digest(), ec.ECDSA(hashes.SHA256()))
    return canonical_cbor.encode({"fmt": "packed", "attStmt": {"alg": -7, "sig": signature}, "authData": data})


def _ceremony(attestation_object: bytes) -> None:
    expected = RegistrationExpectations(challenge="Y2Nj", algorithms=_ALL, user_verification_required=False)
    try:
        credential_id = parse_attestation_object(attestation_object).credential.id
    except MalformedError:
        credential_id = b"x"
    response = AttestationResponse(base64url.encode(CLIENT_DATA), base64url.encode(attestation_object))
    credential = RegistrationCredential(base64url.encode(credential_id), "public-key", response)
    found = accepted(
        lambda: verify_registration_response(credential, rp=RP, expected=expected, models={}, at=AT), WebAuthnRefusal
    )
    if found is not None:
        assert load_credential_key(found.public_key).algorithm in _ALL
        assert 1 <= len(credential_id) <= 1023


def seeds() -> Iterator[bytes]:
    """Yield what public implementations and our own authenticator made."""
    from tests.protocol.inspect.examples import WEBAUTHN
    from tests.protocol.webauthn.builders import CREATE, packed

    for one in WEBAUTHN["registrations"]:
        yield base64url.decode(one["credential"]["response"]["attestationObject"])
        yield strictjson.encode(one["credential"]).encode()
    for one in WEBAUTHN["assertions"][:3]:
        yield base64url.decode(one["credential"]["response"]["authenticatorData"])
        yield base64url.decode(one["publicKey"])
    yield CLIENT_DATA
    yield CREATE.with_(statement=packed()).authenticator_data
    yield b"\0" + CREATE.with_(key=key()).authenticator_data
    yield b"\0" + CREATE.with_(key=key(), extensions={"credProtect": 2}).authenticator_data
