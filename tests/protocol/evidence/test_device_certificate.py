"""PIV and YubiHSM attestation: what they say, and each check broken once."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.possession import show_possession
from fidoloop.protocol.evidence.values import (
    Anchors,
    Evidence,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
    Source,
    Tier,
)
from fidoloop.protocol.evidence.verify import describe_evidence

from ..builders import AT, certificate, p256, root, rsa2048
from .builders import (
    DEVICE_KEY,
    HSM_EXTENSIONS,
    OTHER_KEY,
    OTHER_NONCE,
    PIV_EXTENSIONS,
    ROOT_KEY,
    USER_KEY,
    attested,
    der_int,
    device,
    hsm,
    piv,
)
from .verifying import refused, verified

USER = p256(USER_KEY)
EXPIRED = (AT - timedelta(days=2), AT - timedelta(seconds=1))
BIG_INT = asn1.encode_der(2**64)


def without(number: int) -> dict[int, bytes]:
    return {key: value for key, value in PIV_EXTENSIONS.items() if key != number}


def with_(number: int, value: bytes) -> dict[int, bytes]:
    return PIV_EXTENSIONS | {number: value}


def test_a_piv_card_tells_slot_firmware_serial_and_policies() -> None:
    found = verified(piv())
    assert (found.kind, found.tier, found.source) == (EvidenceKind.PIV, Tier.ATTESTED, Source.DEVICE)
    assert found.key == USER.public_key()
    assert found.signed_by == "CN=root"
    assert found.claims == {
        "slot": "9a",
        "firmware": "5.7.1",
        "serial": 12345678,
        "pin_policy": "once",
        "touch_policy": "never",
        "form_factor": "USB-C keychain",
        "fips": False,
        "cspn": False,
        "local": True,
        "never_extractable": True,
        "simulated": True,
    }


def test_a_yubikeys_arc_says_that_nothing_is_simulated() -> None:
    leaf = attested(USER, subject="YubiKey PIV Attestation 82", arc=oids.YUBICO_PIV)
    claims = verified(piv(leaf, device())).claims
    assert (claims["slot"], claims["simulated"]) == ("82", False)


@pytest.mark.parametrize(
    ("pin", "touch", "said"),
    [
        (1, 2, ("never", "always")),
        (2, 3, ("once", "cached")),
        (3, 1, ("always", "never")),
        (4, 1, ("match once", "never")),
        (5, 1, ("match always", "never")),
    ],
)
def test_policies_have_names(pin: int, touch: int, said: tuple[str, str]) -> None:
    claims = verified(piv(attested(USER, extensions=with_(8, bytes((pin, touch)))), device())).claims
    assert (claims["pin_policy"], claims["touch_policy"]) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0x81, "USB-A keychain"), (0x47, "USB-C bio"), (5, "USB-C and Lightning"), (0x0B, "0x0b")]
)
def test_form_factors_have_names_as_far_as_they_are_known(value: int, said: str) -> None:
    leaf = attested(USER, extensions=with_(9, bytes((value,))))
    assert verified(piv(leaf, device())).claims["form_factor"] == said


def test_a_fips_device_says_so_in_its_own_certificate() -> None:
    f9 = certificate(
        "PIV Attestation",
        p256(DEVICE_KEY),
        "root",
        p256(ROOT_KEY),
        ca=True,
        extension=(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{oids.YUBICO_PIV}.10"), b"\x01"), False),
    )
    leaf = attested(USER, arc=oids.YUBICO_PIV)
    claims = verified(piv(leaf, f9)).claims
    assert (claims["fips"], claims["cspn"]) == (True, False)


def test_serial_and_form_factor_may_be_missing() -> None:
    claims = verified(piv(attested(USER, extensions={3: b"\x04\x03\x05", 8: b"\x01\x01"}), device())).claims
    assert "serial" not in claims
    assert "form_factor" not in claims


@pytest.mark.parametrize("key", [rsa2048(), ec.derive_private_key(77, ec.SECP384R1())], ids=["rsa2048", "p384"])
def test_keys_of_every_kind_a_card_makes_show_possession(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    found = verified(piv(attested(key), device(), key=key), expected_key=key.public_key())
    assert found.key == key.public_key()


def test_intermediates_and_the_root_may_stand_in_the_chain() -> None:
    factory = certificate("factory", p256(6), "root", p256(ROOT_KEY), ca=True, key_cert_sign=True)
    f9 = certificate("PIV Attestation", p256(DEVICE_KEY), "factory", p256(6), ca=True, path_length=0)
    leaf = attested(USER)
    for chain in ((leaf, f9, factory), (leaf, f9, factory, root())):
        assert verified(piv(*chain)).signed_by == "CN=root"
    assert verified(piv(leaf, f9, factory), anchors=Anchors((f9,))).signed_by == "CN=PIV Attestation"


def with_extension(number: int, value: bytes) -> Evidence:
    return piv(attested(USER, extensions=with_(number, value)), device())


def with_subject(subject: str) -> Evidence:
    return piv(attested(USER, subject=subject), device())


BROKEN: dict[str, tuple[Callable[[], Evidence], EvidenceCheck]] = {
    "signed for another nonce": (lambda: piv(nonce=OTHER_NONCE), EvidenceCheck.POSSESSION),
    "signed by another key": (lambda: piv(key=p256(OTHER_KEY)), EvidenceCheck.POSSESSION),
    "not signed": (lambda: replace(piv(), possession=b""), EvidenceCheck.POSSESSION),
    "signature that is none": (lambda: replace(piv(), possession=b"\x30\x00"), EvidenceCheck.POSSESSION),
    "signature of other evidence": (
        lambda: replace(piv(), possession=piv(attested(USER, subject="PIV Attestation 9c"), device()).possession),
        EvidenceCheck.POSSESSION,
    ),
    "about another key": (lambda: piv(attested(p256(7)), device(), key=p256(7)), EvidenceCheck.KEY),
    "another root": (
        lambda: piv(attested(USER, issuer_key=6), certificate("PIV Attestation", p256(6), "r", p256(6), ca=True)),
        EvidenceCheck.ANCHOR,
    ),
    "F9 missing": (lambda: piv(attested(USER)), EvidenceCheck.ANCHOR),
    "signed by another F9": (lambda: piv(attested(USER, issuer_key=6), device()), EvidenceCheck.ANCHOR),
    "another F9's name": (lambda: piv(attested(USER, issuer="x"), device()), EvidenceCheck.ANCHOR),
    "expired": (lambda: piv(attested(USER, valid=EXPIRED), device()), EvidenceCheck.VALIDITY),
    "F9 is no CA": (
        lambda: piv(attested(USER), certificate("PIV Attestation", p256(DEVICE_KEY), "root", p256(ROOT_KEY))),
        EvidenceCheck.CA,
    ),
    "F9 without basic constraints": (lambda: piv(attested(USER), device(ca=None)), EvidenceCheck.CA),
    "the attested key is a CA's": (lambda: piv(attested(USER, ca=True), device()), EvidenceCheck.CA),
    "unknown critical extensions": (lambda: piv(attested(USER, critical=True), device()), EvidenceCheck.EXTENSION),
    "attested key of another kind": (
        lambda: piv(attested(ec.derive_private_key(7, ec.SECP256K1())), device()),
        EvidenceCheck.ALGORITHM,
    ),
    "attested key on another curve form": (
        lambda: piv(attested(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))), device()),
        EvidenceCheck.ALGORITHM,
    ),
    "no firmware": (lambda: piv(attested(USER, extensions=without(3)), device()), EvidenceCheck.EXTENSION),
    "no policies": (lambda: piv(attested(USER, extensions=without(8)), device()), EvidenceCheck.EXTENSION),
    "no extensions": (lambda: piv(attested(USER, extensions={}), device()), EvidenceCheck.EXTENSION),
    "an ordinary certificate of F9": (
        lambda: piv(certificate("PIV Attestation 9a", USER, "PIV Attestation", p256(DEVICE_KEY)), device()),
        EvidenceCheck.EXTENSION,
    ),
    "two arcs": (
        lambda: piv(attested(USER, more=((f"{oids.YUBICO_PIV}.3", b"\x05\x07\x01"),)), device()),
        EvidenceCheck.EXTENSION,
    ),
    "a YubiHSM's extensions": (
        lambda: piv(attested(USER, arc=oids.YUBICO_HSM, extensions=HSM_EXTENSIONS), device()),
        EvidenceCheck.EXTENSION,
    ),
    **{
        f"extension {number} is {value.hex() or 'empty'}": (
            partial(with_extension, number, value),
            EvidenceCheck.EXTENSION,
        )
        for number, value in (
            (3, b"\x05\x07"),
            (3, b"\x04\x03\x05\x07\x01"),
            (3, b"\x05\x07\x01\x00"),
            (7, b""),
            (7, b"\x02\x02\x00\x05"),
            (7, b"\x02\x81\x01\x05"),
            (7, der_int(5) + b"\x00"),
            (7, der_int(-1)),
            (7, BIG_INT),
            (7, b"\x04\x01\x05"),
            (8, b""),
            (8, b"\x02"),
            (8, b"\x02\x01\x00"),
            (8, b"\x00\x01"),
            (8, b"\x06\x01"),
            (8, b"\x01\x00"),
            (8, b"\x01\x04"),
            (9, b""),
            (9, b"\x01\x01"),
        )
    },
    **{
        f"subject {subject!r}": (
            partial(with_subject, subject),
            EvidenceCheck.EXTENSION,
        )
        for subject in ("PIV Attestation", "PIV Attestation f9", "PIV Attestation 9a ", "PIV Attestation 96", "9a")
    },
}


@pytest.mark.parametrize("case", BROKEN)
def test_piv_evidence_that_breaks_one_check_is_refused(case: str) -> None:
    evidence, check = BROKEN[case]
    assert refused(evidence()) is check


def test_no_anchor_is_built_in() -> None:
    assert refused(piv(), anchors=Anchors()) is EvidenceCheck.ANCHOR
    assert refused(piv(), anchors=Anchors(keys=(p256(DEVICE_KEY).public_key(),))) is EvidenceCheck.ANCHOR


def test_the_keys_of_the_chain_are_of_allowed_kinds_too() -> None:
    key = ec.derive_private_key(7, ec.SECP521R1())
    odd = certificate("root", key, "root", key, ca=True)
    f9 = certificate("PIV Attestation", p256(DEVICE_KEY), "root", key, ca=True)
    assert refused(piv(attested(USER), f9), anchors=Anchors((odd,))) is EvidenceCheck.ALGORITHM


def test_a_device_whose_certificate_lacks_constraints_is_trusted_where_it_is_pinned_itself() -> None:
    """As slot F9 of YubiKeys of firmware 5.2.4."""
    f9 = device(ca=None)
    assert refused(piv(attested(USER), f9)) is EvidenceCheck.CA
    assert verified(piv(attested(USER), f9), anchors=Anchors((f9,))).signed_by == "CN=PIV Attestation"
    says_no = device(ca=False)
    assert refused(piv(attested(USER), says_no), anchors=Anchors((says_no,))) is EvidenceCheck.CA
    low = certificate("low", p256(6), "PIV Attestation", p256(DEVICE_KEY))
    below = attested(USER, issuer="low", issuer_key=6)
    assert refused(piv(below, low, device()), anchors=Anchors((device(),))) is EvidenceCheck.CA


def test_validity_is_held_against_the_given_time() -> None:
    for at in (AT - timedelta(days=2), AT + timedelta(days=2)):
        assert refused(piv(), at=at) is EvidenceCheck.VALIDITY


def test_a_replayed_nonce_of_another_time_is_refused() -> None:
    assert refused(piv(), expected_nonce=OTHER_NONCE) is EvidenceCheck.POSSESSION


def test_evidence_of_one_kind_is_not_another() -> None:
    assert refused(replace(piv(), kind=EvidenceKind.YUBIHSM)) is EvidenceCheck.EXTENSION
    assert refused(replace(hsm(), kind=EvidenceKind.PIV)) is EvidenceCheck.EXTENSION


def test_without_an_expected_key_the_attested_one_is_told() -> None:
    assert verified(piv(), expected_key=None).key == USER.public_key()


@pytest.mark.parametrize("size", [0, 7, 33])
def test_a_nonce_of_another_size_is_refused_when_evidence_is_made(size: int) -> None:
    with pytest.raises(ValueError, match="8 to 32 bytes"):
        show_possession(EvidenceKind.PIV, b"x", nonce=bytes(size), key=USER)


def test_a_yubihsm_tells_its_object() -> None:
    found = verified(hsm())
    assert (found.kind, found.tier) == (EvidenceKind.YUBIHSM, Tier.ATTESTED)
    assert found.claims == {
        "firmware": "2.3.1",
        "serial": 7550140,
        "origin": ("generated",),
        "domains": "ffff",
        "capabilities": "0000000000000080",
        "object_id": 0x1234,
        "label": "a label",
        "local": True,
        "extractable": False,
        "simulated": False,
    }


def test_an_imported_or_exportable_key_in_a_yubihsm_is_told() -> None:
    extensions = HSM_EXTENSIONS | {
        3: asn1.encode_der(asn1.BitString(b"\x12", 0)),
        5: asn1.encode_der(asn1.BitString(b"\x00\x00\x00\x00\x00\x01\x00\x00", 0)),
    }
    claims = verified(hsm(extensions=extensions)).claims
    assert (claims["origin"], claims["local"], claims["extractable"]) == (
        ("imported", "imported wrapped"),
        False,
        True,
    )


@pytest.mark.parametrize(
    ("number", "value"),
    [
        *((number, None) for number in (1, 2, 3, 4, 5, 6)),
        (1, b"\x02\x03\x01"),
        (1, asn1.encode_der(b"\x02\x03")),
        (2, b"\x02\x02\x00\x05"),
        (3, asn1.encode_der(asn1.BitString(b"\x01\x00", 0))),
        (3, asn1.encode_der(asn1.BitString(b"\x10", 4))),
        (4, asn1.encode_der(asn1.BitString(bytes(3), 0))),
        (5, asn1.encode_der(asn1.BitString(bytes(9), 0))),
        (6, der_int(0x10000)),
        (9, b"\x0c\x01\xff"),
    ],
)
def test_a_yubihsms_extension_of_another_form_is_refused(number: int, value: bytes | None) -> None:
    extensions = {key: one for key, one in HSM_EXTENSIONS.items() if key != number}
    if value is not None:
        extensions[number] = value
    assert refused(hsm(extensions=extensions)) is EvidenceCheck.EXTENSION


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"{}", b'["?"]', b'["MAA="]', b"[1]", b"\xff", strictjson.encode(["AA=="] * 7).encode()],
)
def test_a_value_that_is_no_chain_is_malformed(value: bytes) -> None:
    for read in (verified, describe_evidence):
        with pytest.raises(MalformedError):
            read(Evidence(EvidenceKind.PIV, value))


def test_sizes_are_capped_before_anything_is_parsed() -> None:
    with pytest.raises(MalformedError, match="65536"):
        verified(Evidence(EvidenceKind.PIV, b"[" * 65537))
    with pytest.raises(MalformedError, match="8192 bytes"):
        verified(Evidence(EvidenceKind.PIV, strictjson.encode(["A" * 20000]).encode()))


def test_describing_verifies_nothing() -> None:
    key, claims = describe_evidence(piv(attested(USER, issuer_key=6), key=p256(OTHER_KEY)))
    assert (key, claims["slot"]) == (USER.public_key(), "9a")
    assert describe_evidence(hsm())[1]["object_id"] == 0x1234


GOOD = piv()


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning")
@given(st.data())
def test_an_attestation_with_altered_bytes_raises_nothing_but_its_own_errors(data: st.DataObject) -> None:
    ders = [bytearray(base64.b64decode(text)) for text in strictjson.loads(GOOD.value)]
    der = ders[data.draw(st.integers(0, 1))]
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    altered = strictjson.encode([base64.b64encode(bytes(one)).decode() for one in ders]).encode()
    if altered != GOOD.value:
        with pytest.raises((MalformedError, EvidenceRefusal)):
            verified(replace(GOOD, value=altered), expected_key=None)
