"""Statements that contradict themselves, one rule broken at a time."""

import json
from typing import Any

import pytest

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata
from fidoloop.protocol.uaf.registry import PublicKeyFormat

from ..builders import SURROGATE, statement
from ..signers import ALGORITHM_AND_FORMAT, ALL

METHOD = "userVerification"


def parse(**changes: object) -> MetadataEntry:
    return parse_metadata(json.dumps(statement(**changes)).encode())


# A member, its value, and a part of what is said of it.
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "surrogate with roots": ({"attestationTypes": [0x3E08]}, "attestationRootCertificates: roots for a model"),
    "unknown attestation": ({"attestationTypes": [0x3E07, 0x3E0D]}, "attestationTypes: 15885 is not of"),
    "other family": ({"protocolFamily": "fido2"}, "protocolFamily: not uaf"),
    "other scheme": ({"assertionScheme": "WAV1CBOR"}, "assertionScheme: not UAFV1TLV"),
    "aaguid too": ({"aaguid": "0" * 32}, "aaguid: beside an aaid"),
    "unknown algorithm": ({"authenticationAlgorithm": 0x14}, "authenticationAlgorithm: 20 is not of the registry"),
    "no algorithm": ({"authenticationAlgorithm": 0}, "authenticationAlgorithm: 0 is not of the registry"),
    "unknown format": ({"publicKeyAlgAndEncoding": 0x105}, "publicKeyAlgAndEncoding: 261 is not of the registry"),
    "one of several unknown": ({"authenticationAlgorithms": [1, 0x14]}, "authenticationAlgorithm: 20"),
    "not among the several": ({"authenticationAlgorithms": [2]}, "not one of the authenticationAlgorithms"),
    "format not among the several": ({"publicKeyAlgAndEncodings": [0x101]}, "not one of the publicKeyAlgAndEncodings"),
    "RSA in an EC format": ({"authenticationAlgorithm": 3}, "holds no key of the algorithm"),
    "EC in an RSA format": ({"publicKeyAlgAndEncoding": 0x102}, "holds no key of the algorithm"),
    "Ed25519 in X9.62": ({"authenticationAlgorithm": 0x12}, "holds no key of the algorithm"),
    "one of several fits none": ({"publicKeyAlgAndEncodings": [0x100, 0x102]}, "holds no key of the algorithm"),
    "an algorithm without format": ({"authenticationAlgorithms": [1, 3]}, "holds no key of the algorithm"),
    "software and hardware": ({"keyProtection": 0x03}, "keyProtection: software together"),
    "software and TEE": ({"keyProtection": 0x05}, "keyProtection: software together"),
    "software and secure element": ({"keyProtection": 0x09}, "keyProtection: software together"),
    "TEE without hardware": ({"keyProtection": 0x04}, "keyProtection: a TEE or secure element without hardware"),
    "secure element without hardware": ({"keyProtection": 0x08}, "without hardware"),
    "TEE and secure element": ({"keyProtection": 0x0E}, "a TEE together with a secure element"),
    "no key protection": ({"keyProtection": 0}, "does not say where"),
    "only wrapped": ({"keyProtection": 0x10}, "does not say where"),
    "unknown key protection": ({"keyProtection": 0x22}, "bits that no registry has"),
    "no matcher protection": ({"matcherProtection": 0}, "matcherProtection: 0 values"),
    "two matcher protections": ({"matcherProtection": 0x06}, "matcherProtection: 2 values"),
    "unknown matcher protection": ({"matcherProtection": 0x08}, "bits that no registry has"),
    "internal and external": ({"attachmentHint": 0x03}, "attachmentHint: internal together"),
    "unknown attachment": ({"attachmentHint": 0x200}, "bits that no registry has"),
    "unknown display": ({"tcDisplay": 0x20}, "tcDisplay: 0x20 has bits"),
    "no display that shows text": ({"tcDisplay": 0, "tcDisplayContentType": "text/plain"}, "tcDisplay: none, though"),
    "none and a PIN": (
        {"userVerificationDetails": [[{METHOD: 0x200}, {METHOD: 4}]]},
        "userVerificationDetails: none together",
    ),
    "two methods in one": ({"userVerificationDetails": [[{METHOD: 6}]]}, "2 values, exactly one"),
    "no method": ({"userVerificationDetails": [[{METHOD: 0}]]}, "0 values, exactly one"),
    "unknown method": ({"userVerificationDetails": [[{METHOD: 0x2000}]]}, "bits that no registry has"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_statement_that_contradicts_itself_is_refused_and_says_where(case: str) -> None:
    changes, reason = CONTRADICTIONS[case]
    with pytest.raises(MalformedError) as caught:
        parse(**changes)
    assert f"$.{reason}" in str(caught.value) or reason in caught.value.what


SOUND: dict[str, dict[str, Any]] = {
    "hardware": {"keyProtection": 0x02},
    "TEE": {"keyProtection": 0x06},
    "secure element, wrapped": {"keyProtection": 0x1A},
    "software, wrapped": {"keyProtection": 0x11},
    "external, wireless, NFC": {"attachmentHint": 0x1A},
    "no attachment said": {"attachmentHint": 0},
    "silent": {"userVerificationDetails": [[{METHOD: 0x200}]]},
    "none or a PIN": {"userVerificationDetails": [[{METHOD: 0x200}], [{METHOD: 4}]]},
    "PIN of a newer registry": {"userVerificationDetails": [[{METHOD: 0x800}, {METHOD: 2}]]},
    "full and surrogate": {"attestationTypes": [0x3E07, 0x3E08]},
    "surrogate": SURROGATE,
    "full without roots, which no attestation meets": {"attestationRootCertificates": []},
    "a later attestation": {"attestationTypes": [0x3E07, 0x3E0A]},
    "no display": {"tcDisplay": 0},
    "display of text": {"tcDisplayContentType": "text/plain"},
    "several algorithms": {"authenticationAlgorithms": [1, 2], "publicKeyAlgAndEncodings": [0x100, 0x101]},
    "algorithms of two kinds": {"authenticationAlgorithms": [1, 3], "publicKeyAlgAndEncodings": [0x100, 0x102]},
    "SM2, which is refused where it is used": {"authenticationAlgorithm": 7},
    "SHA-1, which is refused where it is used": {"authenticationAlgorithm": 0x0F, "publicKeyAlgAndEncoding": 0x103},
}


@pytest.mark.parametrize("case", SOUND)
def test_a_statement_that_is_sound_is_read(case: str) -> None:
    assert parse(**SOUND[case]).statement.description


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("key_format", list(PublicKeyFormat))
def test_an_algorithm_goes_with_the_formats_that_hold_its_keys_and_no_other(algorithm: int, key_format: int) -> None:
    changes = {"authenticationAlgorithm": algorithm, "publicKeyAlgAndEncoding": key_format}
    if (algorithm, key_format) in ALGORITHM_AND_FORMAT:
        parse(**changes)
    else:
        with pytest.raises(MalformedError, match="holds no key"):
            parse(**changes)
