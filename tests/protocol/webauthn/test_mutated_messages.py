"""Messages of real authenticators, bent: whatever comes of it is a refusal of ours, and never a taken lie."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal

from .builders import CREATE, GET, authenticate, packed, register
from .test_attestation_formats import WHOLE
from .test_vectors import REGISTRATIONS, registered

SIGNED = [name for name, vector in REGISTRATIONS.items() if vector["format"] != "none"]


def bent(data: bytes, at: int, kind: str, value: int) -> bytes:
    at %= len(data)
    if kind == "change":
        return data[:at] + bytes([data[at] ^ (value or 1)]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "drop":
        return data[:at] + data[at + 1 :]
    return data[:at] + bytes([value]) + data[at:]


KINDS = st.sampled_from(["change", "cut", "drop", "insert"])


@settings(max_examples=150)
@given(st.sampled_from(SIGNED), st.integers(0, 10_000), KINDS, st.integers(0, 255))
def test_a_bent_attestation_object_is_refused_or_says_the_same(name: str, at: int, kind: str, value: int) -> None:
    vector: dict[str, Any] = json.loads(json.dumps(REGISTRATIONS[name]))
    response = vector["credential"]["response"]
    raw = base64url.decode(response["attestationObject"])
    response["attestationObject"] = base64url.encode(bent(raw, at, kind, value))
    try:
        taken = registered(vector)
    except WebAuthnRefusal:
        return
    # A certificate above the one that signs is not looked at where no model is known.
    assert taken == registered(REGISTRATIONS[name])


@settings(max_examples=100)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 10_000), KINDS, st.integers(0, 255))
def test_a_bent_statement_of_every_format_is_a_refusal(name: str, at: int, kind: str, value: int) -> None:
    whole = CREATE.with_(statement=WHOLE[name][0])
    raw = base64url.decode(whole.registration()["response"]["attestationObject"])
    try:
        taken = register(whole.with_(attestation_object=bent(raw, at, kind, value)))
    except WebAuthnRefusal:
        return
    assert taken.attestation_type == WHOLE[name][1]


@settings(max_examples=100)
@given(
    st.sampled_from(["authenticatorData", "clientDataJSON", "signature"]),
    st.integers(0, 10_000),
    KINDS,
    st.integers(0, 255),
)
def test_a_bent_assertion_is_refused(part: str, at: int, kind: str, value: int) -> None:
    response = GET.authentication()["response"]
    raw = base64url.decode(response[part])
    changed = bent(raw, at, kind, value)
    if changed == raw:
        return
    signature = {"signature": response["signature"]}
    with pytest.raises(WebAuthnRefusal):
        authenticate(GET.with_(response=signature | {part: base64url.encode(changed)}))


@given(st.binary(max_size=200))
def test_anything_in_the_place_of_an_attestation_object_is_a_refusal(data: bytes) -> None:
    with pytest.raises(WebAuthnRefusal):
        register(CREATE.with_(statement=packed(), attestation_object=data))
