"""webauthn-verify: a WebAuthn assertion, from the JSON that a client sends to verified, against bare ECDSA P-256.

By the functions that the server calls, with the credential's key loaded. Beside it what py_webauthn, python-fido2's own
server and @simplewebauthn/server (in node) make of the same assertion: the first from the same JSON, the others from
what it was read into.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.webauthn import Aaguid, AttestedCredentialData, PublicKeyCredentialRpEntity
from webauthn import verify_authentication_response as py_webauthn_verify

from bench.measure import ROUNDS, Row, rate, row_of, side_by_side
from bench.node_peer import NotInstalledError, peer
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.jose import public_jwk
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.messages import AuthenticationCredential
from fidoloop.protocol.webauthn.verify_authentication_response import (
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)

SECONDS = 0.2
RP_ID, ORIGIN = "login.example", "https://login.example"


def run() -> list[Row]:
    """Measure one assertion in all three, each in turns with bare verification."""
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    public_key, challenge, identifier, handle = (
        cbor.encode(_members(key)),
        os.urandom(32),
        os.urandom(32),
        os.urandom(32),
    )
    sent = base64url.encode(challenge)
    members = {"type": "webauthn.get", "challenge": sent, "origin": ORIGIN, "crossOrigin": False}
    document = json.dumps(members, separators=(",", ":")).encode()
    data = hashlib.sha256(RP_ID.encode()).digest() + b"\x05" + (8).to_bytes(4)
    signed = data + hashlib.sha256(document).digest()
    signature = key.sign(signed, algorithm)
    name = base64url.encode(identifier)
    response = {
        "authenticatorData": base64url.encode(data),
        "clientDataJSON": base64url.encode(document),
        "signature": base64url.encode(signature),
        "userHandle": base64url.encode(handle),
    }
    body = {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
    text = json.dumps(body)
    encoded = text.encode()
    rp = RelyingParty(RP_ID, frozenset({ORIGIN}))
    expected = AuthenticationExpectations(
        challenge=sent,
        user_verification_required=True,
        allowed=(name,),
        user_handle=response["userHandle"],
    )
    record = CredentialRecord(name, response["userHandle"], public_key, 7, False)

    def ours() -> object:
        credential = strictjson.decode(encoded, AuthenticationCredential)
        return verify_authentication_response(credential, rp=rp, expected=expected, record=record)

    def py_webauthn() -> object:
        return py_webauthn_verify(
            credential=text,
            expected_challenge=challenge,
            expected_rp_id=RP_ID,
            expected_origin=ORIGIN,
            credential_public_key=public_key,
            credential_current_sign_count=7,
            require_user_verification=True,
        )

    server = Fido2Server(PublicKeyCredentialRpEntity(name="bench", id=RP_ID))
    known = [AttestedCredentialData.create(Aaguid.NONE, identifier, CoseKey.parse(_members(key)))]
    state = {"challenge": sent, "user_verification": "required"}

    def python_fido2() -> object:
        return server.authenticate_complete(state, known, body)

    loaded = key.public_key()

    def floor() -> object:
        loaded.verify(signature, signed, algorithm)
        return None

    given = {
        "response": body,
        "challenge": sent,
        "origin": ORIGIN,
        "rpId": RP_ID,
        "publicKey": base64url.encode(public_key),
        "counter": record.sign_count,
        "jwk": public_jwk(loaded).members,
        "signed": base64url.encode(signed),
    }
    return [
        side_by_side("webauthn-verify", ours, floor, wanted=0.6),
        side_by_side("webauthn-verify, py_webauthn", py_webauthn, floor),
        side_by_side("webauthn-verify, python-fido2", python_fido2, floor),
        *_simplewebauthn(given, floor),
    ]


def _simplewebauthn(given: Mapping[str, object], floor: Callable[[], object]) -> list[Row]:
    """Measure it against the same floor, and node's own verification of the signature."""
    name = "webauthn-verify, @simplewebauthn/server"
    try:
        with peer("simplewebauthn.js", given) as node:
            node.rate("library", SECONDS)
            turns = [
                (node.rate("library", SECONDS), rate(floor, SECONDS), node.rate("bare", SECONDS)) for _ in range(ROUNDS)
            ]
    except NotInstalledError as error:
        return [Row(name, None, f"not installed: {error}")]
    return [
        row_of(name, [(library, bare) for library, bare, _ in turns], wanted=None),
        row_of(f"{name}: node's floor", [(library, bare) for library, _, bare in turns], wanted=None),
    ]


def _members(key: ec.EllipticCurvePrivateKey) -> dict[int, int | bytes]:
    numbers = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
