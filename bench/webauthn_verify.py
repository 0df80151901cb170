"""webauthn-verify: a WebAuthn assertion, from the JSON that a client sends to verified, against bare ECDSA P-256.

By the functions that the server calls, with the credential's key loaded. Beside it what py_webauthn and python-fido2's
own server make of the same assertion: the first from the same JSON, the second from what it was read into.
"""

import hashlib
import json
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.webauthn import Aaguid, AttestedCredentialData, PublicKeyCredentialRpEntity
from webauthn import verify_authentication_response as py_webauthn_verify

from bench.measure import Row, side_by_side
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.messages import AuthenticationCredential
from fidoloop.protocol.webauthn.verify_authentication_response import (
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)

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

    return [
        side_by_side("webauthn-verify", ours, floor, wanted=0.6),
        side_by_side("webauthn-verify, py_webauthn", py_webauthn, floor),
        side_by_side("webauthn-verify, python-fido2", python_fido2, floor),
    ]


def _members(key: ec.EllipticCurvePrivateKey) -> dict[int, int | bytes]:
    numbers = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
