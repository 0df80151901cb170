"""FIDO2 for simulated phones: their key and counter as a WebAuthn credential (HTTP contract 12; WebAuthn 5 and 6)."""

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fidoloop.bridge.load.failures import UNREADABLE, Failure
from fidoloop.bridge.load.phone import SimulatedPhone
from fidoloop.bridge.load.services import Call, Services, Step
from fidoloop.protocol import base64url
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.cose_keys import encode_cose_key
from fidoloop.protocol.uaf.registry import Algorithm

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40
_NO_AAGUID = bytes(16)
_COORDINATE_BYTES = 32
_WHOEVER = json.dumps({"userVerification": "preferred"}).encode()
Options = dict[str, Any]


async def enrol_passkey(call: Call, services: Services, username: str, phone: SimulatedPhone) -> None:
    """Register a phone's key as a discoverable credential. Raises Failure."""
    asked = {"username": username, "displayName": username, "attestation": "none"}
    step = services.passkey_options
    options = _options(await call(step, json.dumps(asked).encode()), step)
    try:
        made = create(phone, options, services.origin)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(UNREADABLE, str(error), step=step.name) from None
    await call(services.passkey_registration, json.dumps(made).encode())


async def log_in_by_passkey(call: Call, services: Services, phone: SimulatedPhone) -> str:
    """Log in without a user name, and return the session's id. Raises Failure."""
    step = services.passkey_options
    options = _options(await call(step, _WHOEVER), step)
    try:
        session_id, signed = str(options["fido2SessionId"]), get(phone, options, services.origin)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(UNREADABLE, str(error), step=step.name) from None
    await call(services.passkey_login, json.dumps(signed).encode())
    await call(services.passkey_status, json.dumps({"fido2SessionId": session_id}).encode())
    return session_id


def create(phone: SimulatedPhone, options: Options, origin: str) -> Options:
    """Return what navigator.credentials.create() gives: no attestation (WebAuthn 8.7)."""
    phone.user_handle = str(options["user"]["id"])
    row = ALGORITHMS[int(Algorithm.SECP256R1_ECDSA_SHA256_DER)]
    attested = _NO_AAGUID + len(phone.key_id).to_bytes(2) + phone.key_id + encode_cose_key(phone.public_key, row)
    data = _authenticator_data(options["rp"]["id"], _PRESENT | _VERIFIED | _ATTESTED, phone.counter) + attested
    response = {
        "clientDataJSON": base64url.encode(_client_data("webauthn.create", options, origin)),
        "attestationObject": base64url.encode(canonical_cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})),
    }
    return _credential(phone, response)


def get(phone: SimulatedPhone, options: Options, origin: str) -> Options:
    """Return what navigator.credentials.get() gives, with the next counter."""
    phone.counter += 1
    client_data = _client_data("webauthn.get", options, origin)
    data = _authenticator_data(options["rpId"], _PRESENT | _VERIFIED, phone.counter)
    raw = phone.sign(data + hashlib.sha256(client_data).digest())
    r, s = (int.from_bytes(half) for half in (raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:]))
    response = {
        "clientDataJSON": base64url.encode(client_data),
        "authenticatorData": base64url.encode(data),
        "signature": base64url.encode(encode_dss_signature(r, s)),
        "userHandle": phone.user_handle,
    }
    return _credential(phone, response)


def _authenticator_data(rp_id: str, flags: int, counter: int) -> bytes:
    return hashlib.sha256(rp_id.encode()).digest() + bytes((flags,)) + counter.to_bytes(4)


def _client_data(kind: str, options: Options, origin: str) -> bytes:
    members = {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
    return json.dumps(members, separators=(",", ":")).encode()


def _credential(phone: SimulatedPhone, response: dict[str, str]) -> Options:
    name = base64url.encode(phone.key_id)
    return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}


def _options(answer: bytes, step: Step) -> Options:
    try:
        options = json.loads(answer)
    except ValueError as error:
        raise Failure(UNREADABLE, str(error), step=step.name) from None
    return options if isinstance(options, dict) else {}
