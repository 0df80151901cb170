"""Strangers on all sides: python-fido2's client over HTTP, and py_webauthn on the very same messages."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fido2.client import DefaultClientDataCollector, Fido2Client
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.exceptions import InvalidAuthenticationResponse, InvalidRegistrationResponse
from webauthn.helpers.structs import AttestationFormat

from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.server.fido2.credentials import list_credentials
from fidoloop.server.settings.fido2 import Fido2
from tests.authenticator.ctap2.lab import Lab
from tests.protocol.webauthn import test_authentication_checks, test_registration_checks
from tests.protocol.webauthn.builders import (
    CHALLENGE,
    CREATE,
    GET,
    ORIGIN,
    RECORD,
    RP_ID,
    Ceremony,
    authenticate,
    register,
)
from tests.server.harness import BASE, Bench, running
from tests.server.passkeys import creation_options, post, request_options, status


@pytest.fixture
def lab(token_store: KeyStore, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(token_store, tmp_path / "ctap2.sqlite", method=UserVerification.PASSCODE)
    yield made
    made.authenticator.core.destroy_all_keys()
    made.state.close()


def as_json(response: Any) -> dict[str, Any]:  # noqa: ANN401  # python-fido2's data classes
    return dict(json.loads(json.dumps(dict(response))))


def roots(lab: Lab) -> dict[AttestationFormat, list[bytes]]:
    attestation = lab.authenticator.core.attestation
    if attestation is None:
        return {}
    return {AttestationFormat.PACKED: [x509.load_der_x509_certificate(attestation.root).public_bytes(Encoding.PEM)]}


@pytest.mark.parametrize("resident", ["discouraged", "required"])
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_python_fido2s_client_registers_and_logs_in(lab: Lab, tmp_path: Path, algorithm: Any, resident: str) -> None:  # noqa: ANN401
    client: Any = Fido2Client(lab.device, DefaultClientDataCollector(BASE))

    async def check(bench: Bench) -> None:
        options = await creation_options(
            bench,
            attestation="direct",
            authenticatorSelection={"residentKey": resident, "userVerification": "required"},
            extensions={"credProps": True},
        )
        made = as_json(client.make_credential(options))
        answer = await post(bench, "attestation/result", made, api=True)
        assert answer.status_code == 200, answer.text
        registered = verify_registration_response(
            credential=made,
            expected_challenge=base64url.decode(options["challenge"]),
            expected_rp_id="localhost",
            expected_origin=BASE,
            require_user_verification=True,
            pem_root_certs_bytes_by_fmt=roots(lab),
        )
        (kept,) = await list_credentials(bench.store)
        assert kept.public_key == registered.credential_public_key
        assert kept.aaguid == registered.aaguid
        assert kept.format == "packed"
        assert kept.discoverable == int(resident == "required")

        named = None if resident == "required" else "jeff"
        asked = await request_options(bench, named, userVerification="required")
        found = as_json(client.get_assertion(asked).get_response(0))
        answer = await post(bench, "assertion/result", found)
        assert answer.status_code == 200, answer.text
        assert (await status(bench, asked))["userId"] == "jeff"
        verified = verify_authentication_response(
            credential=found,
            expected_challenge=base64url.decode(asked["challenge"]),
            expected_rp_id="localhost",
            expected_origin=BASE,
            credential_public_key=kept.public_key,
            credential_current_sign_count=kept.sign_count,
            require_user_verification=True,
        )
        (used,) = await list_credentials(bench.store)
        assert used.sign_count == verified.new_sign_count

    async def scenario() -> None:
        async with running(tmp_path, fido2=Fido2(algorithms=(algorithm,))) as bench:
            await check(bench)

    asyncio.run(scenario())


def second_opinion(ceremony: Ceremony, *, creating: bool) -> bool:
    """Tell whether py_webauthn takes a ceremony with the expectations of `register` and `authenticate`."""
    expected: dict[str, Any] = {
        "expected_challenge": base64url.decode(CHALLENGE),
        "expected_rp_id": RP_ID,
        "expected_origin": [ORIGIN, "android:apk-key-hash:abc"],
        "require_user_verification": True,
    }
    try:
        if creating:
            verify_registration_response(credential=ceremony.registration(), **expected)
        else:
            verify_authentication_response(
                credential=ceremony.authentication(),
                credential_public_key=RECORD.public_key,
                credential_current_sign_count=RECORD.sign_count,
                **expected,
            )
    except (InvalidRegistrationResponse, InvalidAuthenticationResponse):
        return False
    except Exception:  # noqa: BLE001  # it has no one error for what it cannot read
        return False
    return True


def ours(ceremony: Ceremony, *, creating: bool) -> bool:
    try:
        register(ceremony) if creating else authenticate(ceremony)
    except WebAuthnRefusal:
        return False
    return True


PLAIN = [
    *((f"create {name}", one, True) for name, one, changes, _ in test_registration_checks.CASES if not changes),
    *((f"get {name}", one, False) for name, one, changes, _ in test_authentication_checks.CASES if not changes),
]
LENIENT = {
    # The second verifier does not know the rule, or leaves it to its caller.
    "create 6 a member twice",
    "create 8 challenge with padding",
    "create 10 cross origin",
    "create 11 top origin, nowhere embedded",
    "create 13 a member missing",
    "create 13 a member too many",
    "create 13 a statement that is a list",
    "create 13 extensions that are no map",
    "create 20 another curve",
    "create 20 a point not on the curve",
    "create 20 a key with more members",
    "create 21 credProtect is no level",
    "create 21 credProtect is no number",
    "create 26 an id of 1024 bytes",
    "get 6 no handle and nobody named",
    "get 6 an empty handle and nobody named",
    "get 6 the handle is not the record's",
    "get 13 cross origin",
    "get 14 top origin, nowhere embedded",
    "get 19 eligible, was not",
    "get 20 appid that nobody offered",
}
REFUSED_BY_BOTH = [case for case in PLAIN if case[0] not in LENIENT]


@pytest.mark.parametrize(
    ("ceremony", "creating"), [case[1:] for case in REFUSED_BY_BOTH], ids=[case[0] for case in REFUSED_BY_BOTH]
)
def test_what_we_refuse_a_second_verifier_refuses_too(ceremony: Ceremony, creating: bool) -> None:
    assert not ours(ceremony, creating=creating)
    assert not second_opinion(ceremony, creating=creating)


def test_both_take_what_is_whole() -> None:
    for ceremony, creating in ((CREATE, True), (GET, False)):
        assert ours(ceremony, creating=creating)
        assert second_opinion(ceremony, creating=creating)
