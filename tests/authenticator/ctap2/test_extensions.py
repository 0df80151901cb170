"""credProtect, hmac-secret, credBlob, largeBlobKey (CTAP 2.1, section 12); minPinLength is in test_config.py."""

import hmac
import os
from typing import Any

import pytest
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.limits import MAX_CRED_BLOB
from fidoloop.hsm.keystore import KeyStore
from tests.authenticator.ctap2.lab import ERR, PERMISSION, Lab, LabMaker, credential_id

SALTS = (b"\xa5" * 32, b"\x5a" * 32)


def refused(status: ERR, call: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
    with pytest.raises(CtapError) as caught:
        call(*arguments, **named)
    assert caught.value.code is status


def salted(lab: Lab, salts: bytes, *, version: int = 2, number: bool = True) -> tuple[dict[int, Any], bytes]:
    """Return hmac-secret's input for these salts, and the shared secret."""
    pin = lab.client_pin(version)
    key_agreement, shared = pin._get_shared_secret()
    encrypted = pin.protocol.encrypt(shared, salts)
    inputs = {1: key_agreement, 2: encrypted, 3: pin.protocol.authenticate(shared, encrypted)}
    return (inputs | {4: version} if number else inputs), shared


def secret(lab: Lab, *credentials: Any, salts: bytes = SALTS[0], version: int = 2, **changes: Any) -> bytes:  # noqa: ANN401
    inputs, shared = salted(lab, salts, version=version, number=version != 1)
    found = lab.get(*credentials, extensions={"hmac-secret": inputs}, **changes)
    return bytes(lab.client_pin(version).protocol.decrypt(shared, found.auth_data.extensions["hmac-secret"]))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("resident", [False, True])
def test_hmac_secret_depends_on_credential_salt_and_verification(lab: Lab, version: int, resident: bool) -> None:
    made = lab.make(extensions={"hmac-secret": True}, options={"rk": resident})
    other = lab.make(extensions={"hmac-secret": True})
    assert made.auth_data.extensions == {"hmac-secret": True}
    first, both = secret(lab, made, version=version), secret(lab, made, salts=b"".join(SALTS), version=version)
    assert both[:32] == first
    assert len({both[:32], both[32:], secret(lab, other, version=version)}) == 3
    lab.set_pin()
    verified = secret(lab, made, version=version, **lab.proof(PERMISSION.GET_ASSERTION, version=version))
    assert verified != first
    lab.restart()
    assert secret(lab, made, version=3 - version) == first


def test_hmac_secret_is_hmac_of_the_salt(lab: Lab) -> None:
    made = lab.make(extensions={"hmac-secret": True})
    key = lab.state.secret_mac("CredRandomWithoutUV", credential_id(made)[1:17])
    assert secret(lab, made) == hmac.digest(key, SALTS[0], "sha256")


def test_hmac_secret_without_hmac_in_the_token(
    make_lab: LabMaker, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "mac_key", lambda *_, **__: None)
    lab = make_lab()
    made = lab.make(extensions={"hmac-secret": True})
    first = secret(lab, made)
    lab.restart()
    assert secret(lab, made) == first


def test_only_credentials_made_for_it_have_an_hmac_secret(lab: Lab) -> None:
    for made in (lab.make(), lab.make(extensions={"hmac-secret": False})):
        assert made.auth_data.extensions is None
        inputs, _ = salted(lab, SALTS[0])
        assert lab.get(made, extensions={"hmac-secret": inputs}).auth_data.extensions is None


def test_hmac_secret_of_every_account(lab: Lab) -> None:
    for _ in range(2):
        lab.resident(extensions={"hmac-secret": True})
    inputs, shared = salted(lab, SALTS[0])
    first = lab.get(extensions={"hmac-secret": inputs})
    outputs = [first.auth_data.extensions, lab.ctap.get_next_assertion().auth_data.extensions]
    found = [lab.client_pin().protocol.decrypt(shared, one["hmac-secret"]) for one in outputs]
    assert len(set(found)) == 2


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({1: None}, ERR.MISSING_PARAMETER),
        ({2: None}, ERR.MISSING_PARAMETER),
        ({3: None}, ERR.MISSING_PARAMETER),
        ({4: 3}, ERR.INVALID_PARAMETER),
        ({3: bytes(32)}, ERR.PIN_AUTH_INVALID),
        ({3: b""}, ERR.PIN_AUTH_INVALID),
        ({1: {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}}, ERR.INVALID_PARAMETER),
        ({1: {}}, ERR.INVALID_PARAMETER),
        ({1: b"key"}, ERR.CBOR_UNEXPECTED_TYPE),
        ({2: "text"}, ERR.CBOR_UNEXPECTED_TYPE),
    ],
)
def test_hmac_secret_input_that_is_wrong(lab: Lab, version: int, change: dict[int, Any], status: ERR) -> None:
    made = lab.make(extensions={"hmac-secret": True})
    inputs, _ = salted(lab, SALTS[0], version=version)
    wrong = {name: value for name, value in (inputs | change).items() if value is not None}
    refused(status, lab.get, made, extensions={"hmac-secret": wrong})


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [0, 16, 48, 80])
def test_salts_have_32_or_64_bytes(lab: Lab, version: int, size: int) -> None:
    made = lab.make(extensions={"hmac-secret": True})
    inputs, _ = salted(lab, bytes(size), version=version)
    refused(ERR.INVALID_PARAMETER, lab.get, made, extensions={"hmac-secret": inputs})


def test_without_presence_there_is_no_hmac_secret(lab: Lab) -> None:
    made = lab.make(extensions={"hmac-secret": True})
    inputs, _ = salted(lab, SALTS[0])
    refused(ERR.UNSUPPORTED_OPTION, lab.get, made, extensions={"hmac-secret": inputs}, options={"up": False})


@pytest.mark.parametrize("level", [1, 2, 3])
def test_cred_protect_is_told(lab: Lab, level: int) -> None:
    assert lab.make(extensions={"credProtect": level}).auth_data.extensions == {"credProtect": level}


@pytest.mark.parametrize("level", [0, 4])
def test_there_are_three_levels(lab: Lab, level: int) -> None:
    refused(ERR.INVALID_PARAMETER, lab.make, extensions={"credProtect": level})


def test_a_blob_is_kept_with_every_credential(lab: Lab) -> None:
    blob = os.urandom(MAX_CRED_BLOB)
    made = lab.resident(extensions={"credBlob": blob})
    assert made.auth_data.extensions == {"credBlob": True}
    by_id = lab.make(extensions={"credBlob": blob})
    assert by_id.auth_data.extensions == {"credBlob": True}
    assert len(credential_id(by_id)) == lab.info().max_cred_id_length
    without = lab.make(extensions={"credBlob": blob + b"x"})
    assert without.auth_data.extensions == {"credBlob": False}
    too_long = lab.resident(rp_id="other.example", extensions={"credBlob": blob + b"x"})
    assert too_long.auth_data.extensions == {"credBlob": False}
    lab.restart()
    asked = {"extensions": {"credBlob": True}}
    assert lab.get(made, **asked).auth_data.extensions == {"credBlob": blob}
    assert lab.get(**asked).auth_data.extensions == {"credBlob": blob}
    assert lab.get(by_id, **asked).auth_data.extensions == {"credBlob": blob}
    assert lab.get(without, **asked).auth_data.extensions == {"credBlob": b""}
    assert lab.get(too_long, rp_id="other.example", **asked).auth_data.extensions == {"credBlob": b""}
    assert lab.get(made).auth_data.extensions is None


def test_a_large_blob_key_is_given_to_discoverable_credentials(lab: Lab) -> None:
    made = lab.resident(extensions={"largeBlobKey": True})
    assert made.large_blob_key is not None
    assert made.auth_data.extensions is None
    assert len(made.large_blob_key) == 32
    assert lab.get(made, extensions={"largeBlobKey": True}).large_blob_key == made.large_blob_key
    assert lab.get(made).large_blob_key is None
    refused(ERR.INVALID_OPTION, lab.make, extensions={"largeBlobKey": True})
    refused(ERR.INVALID_OPTION, lab.resident, extensions={"largeBlobKey": False})
    refused(ERR.INVALID_OPTION, lab.get, made, extensions={"largeBlobKey": False})


def test_extensions_nobody_knows_are_left_out(lab: Lab) -> None:
    made = lab.make(extensions={"tetris": True})
    assert made.auth_data.extensions is None
    assert lab.get(made, extensions={"tetris": {"x": 1}}).auth_data.extensions is None
