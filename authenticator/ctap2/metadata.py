"""Metadata statements of FIDO2 models (FIDO metadata statements 3), for servers to know and trust them by."""

import base64
import uuid
from typing import Any, Final

from fidoloop.authenticator.ctap2.attestation import attestation_root
from fidoloop.authenticator.ctap2.get_info import describe
from fidoloop.authenticator.ctap2.limits import MAX_RESIDENT, MIN_PIN_LENGTH
from fidoloop.authenticator.ctap2.models import FIRMWARE_VERSION, aaguid
from fidoloop.authenticator.ctap2.signing import EDDSA, ES256, ES384, RS256, supported
from fidoloop.authenticator.ctap2.state import Settings
from fidoloop.hsm.keystore import KeyStore

_ALGORITHM_NAMES: Final = {
    ES256: "secp256r1_ecdsa_sha256_raw",
    ES384: "secp384r1_ecdsa_sha384_raw",
    EDDSA: "ed25519_eddsa_sha512_raw",
    RS256: "rsassa_pkcsv15_sha256_raw",
}
_STRENGTH: Final = 128
"""Bits: that of ES256, which servers ask for first."""
_PRESENCE: Final[dict[str, Any]] = {"userVerificationMethod": "presence_internal"}
_CLIENT_PIN: Final[dict[str, Any]] = {
    "userVerificationMethod": "passcode_external",
    "caDesc": {"base": 64, "minLength": MIN_PIN_LENGTH, "maxRetries": 8, "blockSlowdown": 0},
}
_TOKEN_PIN: Final[dict[str, Any]] = {
    "userVerificationMethod": "passcode_internal",
    "caDesc": {"base": 64, "minLength": 4},
}
# The names of getInfo's members in metadata statements (section 3.12).
_INFO_NAMES: Final = {
    0x01: "versions",
    0x02: "extensions",
    0x03: "aaguid",
    0x04: "options",
    0x05: "maxMsgSize",
    0x06: "pinUvAuthProtocols",
    0x07: "maxCredentialCountInList",
    0x08: "maxCredentialIdLength",
    0x09: "transports",
    0x0A: "algorithms",
    0x0B: "maxSerializedLargeBlobArray",
    0x0C: "forcePINChange",
    0x0D: "minPINLength",
    0x0E: "firmwareVersion",
    0x0F: "maxCredBlobLength",
    0x10: "maxRPIDsForSetMinPINLength",
    0x12: "uvModality",
    0x14: "remainingDiscoverableCredentials",
}


def fido_card_statements(store: KeyStore) -> list[dict[str, Any]]:
    """Return the statements of the contactless cards that `card run --fido` makes of this token.

    The second is that of one that verifies its user itself. Attestation is full only after `attest_init`.

    Raises:
        KeyStoreError: the token cannot be read.
    """
    return [_statement(store, verifies=verifies) for verifies in (False, True)]


def _statement(store: KeyStore, *, verifies: bool) -> dict[str, Any]:
    token = store.info()
    root = attestation_root(store)
    model = aaguid(token, full_attestation=root is not None, built_in_verification=verifies)
    algorithms = supported(token)
    info = describe(
        Settings(epoch=b""),
        aaguid=model,
        algorithms=algorithms,
        verifies=verifies,
        transports=("nfc",),
        room=MAX_RESIDENT,
    )
    protection = "hardware" if token.hardware else "software"
    return {
        "legalHeader": "A statement of a laboratory, about itself.",
        "aaguid": str(uuid.UUID(bytes=model)),
        "description": f"fidoloop FIDO2 card, {token.kind}, {'token PIN' if verifies else 'presence'}",
        "authenticatorVersion": FIRMWARE_VERSION,
        "protocolFamily": "fido2",
        "schema": 3,
        "upv": [{"major": 1, "minor": 0}, {"major": 1, "minor": 1}],
        "authenticationAlgorithms": [_ALGORITHM_NAMES[number] for number in algorithms],
        "publicKeyAlgAndEncodings": ["cose"],
        "attestationTypes": ["basic_surrogate" if root is None else "basic_full"],
        "userVerificationDetails": _verifications(verifies=verifies),
        "keyProtection": [protection],
        "matcherProtection": ["software"],
        "cryptoStrength": _STRENGTH,
        "attachmentHint": ["external", "wireless", "nfc"],
        "tcDisplay": [],
        "attestationRootCertificates": [] if root is None else [base64.b64encode(root).decode("ascii")],
        "authenticatorGetInfo": {_INFO_NAMES[number]: value for number, value in sorted(info.items())}
        | {"aaguid": model.hex()},
    }


def _verifications(*, verifies: bool) -> list[list[dict[str, Any]]]:
    """Return what a user may be verified by: one of these lists, all of it."""
    ways = [[_PRESENCE], [_CLIENT_PIN], [_PRESENCE, _CLIENT_PIN]]
    return [*ways, [_TOKEN_PIN]] if verifies else ways
