"""Statements of the metadata service 3, where names stand for numbers."""

import json
from typing import Any

import pytest

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata
from fidoloop.protocol.uaf.registry import Algorithm

from ..builders import statement

MDS3: dict[str, Any] = {
    "legalHeader": "by using this statement …",
    "schema": 3,
    "alternativeDescriptions": {"de-CH": "Prüfmodell"},
    "protocolFamily": "uaf",
    "authenticationAlgorithm": None,
    "authenticationAlgorithms": ["secp256r1_ecdsa_sha256_raw", "secp256r1_ecdsa_sha256_der"],
    "publicKeyAlgAndEncoding": None,
    "publicKeyAlgAndEncodings": ["ecc_x962_raw", "ecc_x962_der"],
    "attestationTypes": ["basic_full"],
    "userVerificationDetails": [
        [
            {
                "userVerificationMethod": "fingerprint_internal",
                "baDesc": {"selfAttestedFRR": 0.01, "selfAttestedFAR": 0.0001, "maxTemplates": 5},
            }
        ],
        [{"userVerificationMethod": "passcode_external", "caDesc": {"base": 10, "minLength": 4}}],
    ],
    "keyProtection": ["hardware", "tee"],
    "matcherProtection": ["tee"],
    "attachmentHint": ["external", "wired", "nfc"],
    "tcDisplay": ["any", "tee"],
    "tcDisplayContentType": "text/plain",
    "cryptoStrength": 128,
    "assertionScheme": None,
    "isSecondFactorOnly": None,
}


def parse(**changes: object) -> MetadataEntry:
    return parse_metadata(json.dumps(statement(**{**MDS3, **changes})).encode())


def test_a_statement_in_names_is_read_as_one_in_numbers() -> None:
    found = parse()
    said = found.statement
    assert (said.authenticationAlgorithm, said.algorithms) == (1, (1, 2))
    assert (said.publicKeyAlgAndEncoding, said.key_formats) == (0x100, (0x100, 0x101))
    assert said.attestationTypes == (0x3E07,)
    assert (said.keyProtection, said.matcherProtection, said.attachmentHint, said.tcDisplay) == (6, 2, 0x16, 5)
    assert (said.assertionScheme, said.isSecondFactorOnly) == ("UAFV1TLV", False)
    assert found.model_facts.algorithms == {1, 2}
    assert found.model_facts.user_verification == 0x802


def test_no_display_and_no_hint_may_be_empty_lists_or_left_out() -> None:
    said = parse(tcDisplay=[], tcDisplayContentType=None, attachmentHint=[]).statement
    assert (said.tcDisplay, said.attachmentHint) == (0, 0)
    assert parse(tcDisplay=None, tcDisplayContentType=None).statement.tcDisplay == 0


NAMES: dict[str, tuple[dict[str, Any], Any]] = {
    **{
        f"algorithm {algorithm.name.lower()}": (
            {"authenticationAlgorithms": [algorithm.name.lower()], "publicKeyAlgAndEncodings": ["cose"]},
            ("authenticationAlgorithm", int(algorithm)),
        )
        for algorithm in Algorithm
    },
    **{
        f"attestation {name}": ({"attestationTypes": ["basic_full", name]}, ("attestationTypes", (0x3E07, number)))
        for name, number in (
            ("basic_surrogate", 0x3E08),
            ("ecdaa", 0x3E09),
            ("attca", 0x3E0A),
            ("none", 0x3E0B),
            ("anonca", 0x3E0C),
        )
    },
    **{
        f"key protection {names}": ({"keyProtection": names}, ("keyProtection", number))
        for names, number in (
            (["software"], 1),
            (["hardware"], 2),
            (["hardware", "secure_element", "remote_handle"], 0x1A),
        )
    },
    **{
        f"matcher {name}": ({"matcherProtection": [name]}, ("matcherProtection", number))
        for name, number in (("software", 1), ("tee", 2), ("on_chip", 4))
    },
    **{
        f"attachment {name}": ({"attachmentHint": [name]}, ("attachmentHint", number))
        for name, number in (
            ("internal", 1),
            ("external", 2),
            ("wired", 4),
            ("wireless", 8),
            ("nfc", 0x10),
            ("bluetooth", 0x20),
            ("network", 0x40),
            ("ready", 0x80),
            ("wifi_direct", 0x100),
        )
    },
    **{
        f"display {name}": ({"tcDisplay": [name]}, ("tcDisplay", number))
        for name, number in (("any", 1), ("privileged_software", 2), ("tee", 4), ("hardware", 8), ("remote", 0x10))
    },
}


@pytest.mark.parametrize("case", NAMES)
def test_every_name_has_its_number(case: str) -> None:
    changes, (member, number) = NAMES[case]
    assert getattr(parse(**changes).statement, member) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("presence_internal", 0x01),
        ("fingerprint_internal", 0x02),
        ("passcode_internal", 0x04),
        ("voiceprint_internal", 0x08),
        ("faceprint_internal", 0x10),
        ("location_internal", 0x20),
        ("eyeprint_internal", 0x40),
        ("pattern_internal", 0x80),
        ("handprint_internal", 0x100),
        ("none", 0x200),
        ("all", 0x400),
        ("passcode_external", 0x800),
        ("pattern_external", 0x1000),
        ("fingerprint", 0x02),
    ],
)
def test_every_user_verification_method_has_its_number(name: str, number: int) -> None:
    found = parse(userVerificationDetails=[[{"userVerificationMethod": name}]])
    assert found.model_facts.user_verification == number


def test_numbers_stay_numbers_where_names_could_stand() -> None:
    said = parse(
        authenticationAlgorithms=[1, "secp256k1_ecdsa_sha256_raw"],
        attestationTypes=[0x3E07],
        keyProtection=6,
        matcherProtection=2,
        attachmentHint=[1],
        userVerificationDetails=[[{"userVerification": 4}]],
    ).statement
    assert (said.algorithms, said.keyProtection, said.attachmentHint) == ((1, 5), 6, 1)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"authenticationAlgorithms": ["secp256r1_ecdsa_sha256"]}, r"authenticationAlgorithms\[0\]"),
        ({"authenticationAlgorithms": ["SECP256R1_ECDSA_SHA256_RAW"]}, r"authenticationAlgorithms\[0\]"),
        ({"authenticationAlgorithms": []}, "authenticationAlgorithm"),
        ({"authenticationAlgorithms": "secp256r1_ecdsa_sha256_raw"}, "authenticationAlgorithm"),
        ({"authenticationAlgorithms": [None]}, "authenticationAlgorithm"),
        ({"authenticationAlgorithms": 1}, "authenticationAlgorithm"),
        ({"publicKeyAlgAndEncodings": {"x": 1}}, "publicKeyAlgAndEncoding"),
        ({"publicKeyAlgAndEncodings": ["x"]}, r"publicKeyAlgAndEncodings\[0\]"),
        ({"attestationTypes": ["basic_full", "x" * 100]}, r"attestationTypes\[1\]: 'x{40}' is no name"),
        ({"attestationTypes": "basic_full"}, "attestationTypes"),
        ({"keyProtection": ["hardware", "strong"]}, r"keyProtection\[1\]"),
        ({"keyProtection": [[]]}, "keyProtection: neither names nor numbers"),
        ({"keyProtection": [True]}, "keyProtection: neither names nor numbers"),
        ({"keyProtection": "hardware"}, "keyProtection"),
        ({"keyProtection": ["software", "hardware"]}, "software together"),
        ({"matcherProtection": ["tee", "software"]}, "matcherProtection: 2 values"),
        ({"attachmentHint": ["internal", "usb"]}, r"attachmentHint\[1\]"),
        ({"userVerificationDetails": [[{"userVerificationMethod": "iris"}]]}, r"\[0\]\[0\]\.userVerificationMethod"),
        ({"userVerificationDetails": [[{}]]}, "userVerification"),
        ({"userVerificationDetails": ["x"]}, "userVerificationDetails"),
        ({"userVerificationDetails": [["x"]]}, "userVerificationDetails"),
        ({"userVerificationDetails": "x"}, "userVerificationDetails"),
        ({"schema": "3"}, "schema"),
    ],
)
def test_a_name_of_no_registry_or_a_value_of_another_type_is_refused(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedError, match=where):
        parse(**changes)


@pytest.mark.parametrize("member", ["assertionScheme", "isSecondFactorOnly", "tcDisplay"])
def test_what_version_3_has_not_is_required_of_version_1_1(member: str) -> None:
    with pytest.raises(MalformedError, match=member):
        parse_metadata(json.dumps(statement(**{member: None})).encode())
