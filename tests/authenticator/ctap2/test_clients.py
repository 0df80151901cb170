"""Strangers on both sides: python-fido2's client drives the authenticator, py_webauthn verifies what it made."""

import json
import os
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fido2.attestation.packed import PackedAttestation
from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.ctap2.extensions import HmacSecretExtension, LargeBlobExtension
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.structs import AttestationFormat, CredentialDeviceType

from fidoloop.authenticator.ctap2.attestation import FullAttestation
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from tests.authenticator.ctap2.lab import HASH, PIN, RP, RP_ID, Lab, LabMaker, public_key

ORIGIN = f"https://{RP_ID}"


class Platform(UserInteraction):
    def request_pin(self, permissions: object, rp_id: str | None) -> str | None:
        return PIN


def client(lab: Lab) -> Any:  # noqa: ANN401  # it takes mappings, too, whatever its types say
    extensions = [HmacSecretExtension(allow_hmac_secret=True), LargeBlobExtension()]
    return Fido2Client(lab.device, DefaultClientDataCollector(ORIGIN), Platform(), extensions)


def creation(challenge: bytes, algorithm: int = -7, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "rp": RP,
        "user": {"id": os.urandom(16), "name": "alice", "displayName": "Alice"},
        "challenge": challenge,
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm}],
        "authenticatorSelection": {"userVerification": "discouraged"},
        **changes,
    }


def as_json(response: Any) -> dict[str, Any]:  # noqa: ANN401  # python-fido2's data classes
    found: dict[str, Any] = json.loads(json.dumps(dict(response)))
    return found


def roots(attestation: FullAttestation | None) -> dict[AttestationFormat, list[bytes]]:
    if attestation is None:
        return {}
    return {AttestationFormat.PACKED: [x509.load_der_x509_certificate(attestation.root).public_bytes(Encoding.PEM)]}


def register_and_log_in(lab: Lab, algorithm: int = -7, *, verification: str = "discouraged", resident: bool) -> Any:  # noqa: ANN401
    """Register and log in through Fido2Client; return what py_webauthn says about both."""
    platform = client(lab)
    challenge = os.urandom(32)
    selection = {"userVerification": verification, "residentKey": "required" if resident else "discouraged"}
    made = platform.make_credential(creation(challenge, algorithm, authenticatorSelection=selection))
    required = verification == "required"
    registered = verify_registration_response(
        credential=as_json(made),
        expected_challenge=challenge,
        expected_rp_id=RP_ID,
        expected_origin=ORIGIN,
        require_user_verification=required,
        pem_root_certs_bytes_by_fmt=roots(lab.authenticator.core.attestation),
    )
    challenge = os.urandom(32)
    allow = {} if resident else {"allowCredentials": [{"type": "public-key", "id": made.raw_id}]}
    asked = {"challenge": challenge, "rpId": RP_ID, "userVerification": verification, **allow}
    logged_in = verify_authentication_response(
        credential=as_json(platform.get_assertion(asked).get_response(0)),
        expected_challenge=challenge,
        expected_rp_id=RP_ID,
        expected_origin=ORIGIN,
        credential_public_key=registered.credential_public_key,
        credential_current_sign_count=registered.sign_count,
        require_user_verification=required,
    )
    return registered, logged_in


@pytest.mark.parametrize("resident", [False, True], ids=["by id", "discoverable"])
@pytest.mark.parametrize("algorithm", [-7, -8, -257], ids=["ES256", "EdDSA", "RS256"])
def test_registration_and_log_in_with_full_attestation(lab: Lab, algorithm: int, resident: bool) -> None:
    registered, logged_in = register_and_log_in(lab, algorithm, resident=resident)
    assert registered.fmt == AttestationFormat.PACKED
    assert registered.aaguid == str(lab.ctap.info.aaguid)
    assert logged_in.new_sign_count > registered.sign_count
    assert logged_in.credential_device_type is CredentialDeviceType.SINGLE_DEVICE
    assert not registered.user_verified


@pytest.mark.parametrize("algorithm", [-7, -8, -257], ids=["ES256", "EdDSA", "RS256"])
def test_without_an_attestation_key_a_credential_attests_itself(
    make_lab: LabMaker, bare_store: KeyStore, algorithm: int
) -> None:
    lab = make_lab(token=bare_store)
    registered, _ = register_and_log_in(lab, algorithm, resident=False)
    assert registered.fmt == AttestationFormat.PACKED
    assert lab.make(key_params=[{"type": "public-key", "alg": algorithm}]).att_stmt.keys() == {"alg", "sig"}


@pytest.mark.parametrize("algorithm", [-7, -35, -8, -257], ids=["ES256", "ES384", "EdDSA", "RS256"])
@pytest.mark.parametrize("token", ["store", "bare_store"])
def test_python_fido2_verifies_every_algorithm(
    make_lab: LabMaker, request: pytest.FixtureRequest, token: str, algorithm: int
) -> None:
    lab = make_lab(token=request.getfixturevalue(token))
    made = lab.make(key_params=[{"type": "public-key", "alg": algorithm}])
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
    assert public_key(made)[3] == algorithm
    lab.get(made).verify(HASH, public_key(made))


@pytest.mark.parametrize("resident", [False, True], ids=["by id", "discoverable"])
def test_with_the_pin_the_user_is_verified(pin_lab: Lab, resident: bool) -> None:
    registered, logged_in = register_and_log_in(pin_lab, verification="required", resident=resident)
    assert registered.user_verified
    assert logged_in.user_verified


@pytest.mark.parametrize("resident", [False, True], ids=["by id", "discoverable"])
def test_built_in_verification_needs_no_pin(uv_lab: Lab, resident: bool) -> None:
    registered, logged_in = register_and_log_in(uv_lab, verification="required", resident=resident)
    assert registered.user_verified
    assert logged_in.user_verified
    assert uv_lab.ctap.info.options["uv"]


def test_a_registered_authenticator_is_excluded(lab: Lab) -> None:
    platform = client(lab)
    made = platform.make_credential(creation(b"first" * 8))
    excluded = [{"type": "public-key", "id": made.raw_id}]
    with pytest.raises(ClientError) as caught:
        platform.make_credential(creation(b"second" * 8, excludeCredentials=excluded))
    assert caught.value.code is ClientError.ERR.DEVICE_INELIGIBLE


def test_prf_gives_the_same_secret_again(pin_lab: Lab) -> None:
    platform = client(pin_lab)
    made = platform.make_credential(creation(b"first" * 8, extensions={"prf": {}}))
    assert made.client_extension_results["prf"]["enabled"] is True
    asked = {
        "challenge": os.urandom(32),
        "rpId": RP_ID,
        "allowCredentials": [{"type": "public-key", "id": made.raw_id}],
        "extensions": {"prf": {"eval": {"first": b"one", "second": b"two"}}},
    }
    first, second = (
        platform.get_assertion(asked).get_response(0).client_extension_results["prf"]["results"] for _ in range(2)
    )
    assert first == second
    assert first["first"] != first["second"]


def test_large_blobs_are_written_and_read(pin_lab: Lab) -> None:
    platform = client(pin_lab)
    selection = {"residentKey": "required", "userVerification": "required"}
    made = platform.make_credential(
        creation(b"c" * 32, authenticatorSelection=selection, extensions={"largeBlob": {"support": "required"}})
    )
    assert made.client_extension_results["largeBlob"]["supported"] is True
    blob = os.urandom(3000)
    allow = [{"type": "public-key", "id": made.raw_id}]
    asked = {"challenge": b"c" * 32, "rpId": RP_ID, "allowCredentials": allow, "userVerification": "required"}
    written = platform.get_assertion({**asked, "extensions": {"largeBlob": {"write": blob}}}).get_response(0)
    assert written.client_extension_results["largeBlob"]["written"] is True
    pin_lab.restart()
    read = client(pin_lab).get_assertion({**asked, "extensions": {"largeBlob": {"read": True}}}).get_response(0)
    assert read.client_extension_results["largeBlob"]["blob"] == base64url.encode(blob)


def test_the_platform_selects_the_authenticator_the_user_touches(lab: Lab) -> None:
    client(lab).selection()
    assert [request.operation for request in lab.user.asked] == ["selection"]
