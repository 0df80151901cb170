"""TPM2_Certify: the structures, and each check broken once."""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.tpm import attestation_key
from fidoloop.protocol.evidence.tpm_structures import parse_certify_info, parse_public, parse_signature
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

from ..builders import certificate, p256, rsa2048, to_der
from .builders import (
    AK_ATTRIBUTES,
    DEVICE_KEY,
    KEY_ATTRIBUTES,
    OTHER_KEY,
    OTHER_NONCE,
    ROOT_KEY,
    STAYS,
    USER_KEY,
    Certified,
    tpm2b,
    tpm_name,
    tpm_public,
    tpm_qualified_name,
    tpm_signature,
)
from .verifying import refused, verified

USER, AK = p256(USER_KEY), p256(DEVICE_KEY)
PINNED = Anchors(keys=(AK.public_key(),))
CERTIFIED = Certified()
SIGN_ENCRYPT, RESTRICTED, DECRYPT = 1 << 18, 1 << 16, 1 << 17


def x5c(*arguments: Any, **keywords: Any) -> str:  # noqa: ANN401 - arguments of `certificate`
    return base64.b64encode(to_der(certificate(*arguments, **keywords))).decode()


AK_CERTIFICATE = x5c("AK", AK, "root", p256(ROOT_KEY))


def test_a_pinned_attestation_key_attests_a_key_that_stays_in_its_tpm() -> None:
    found = verified(CERTIFIED.evidence(), anchors=PINNED)
    assert (found.kind, found.tier, found.source) == (EvidenceKind.TPM, Tier.ATTESTED, Source.DEVICE)
    assert (found.key, found.signed_by) == (USER.public_key(), "pinned key")
    assert found.claims == {
        "name": tpm_name(CERTIFIED.public).hex(),
        "attributes": ("fixed_tpm", "fixed_parent", "sensitive_data_origin", "user_with_auth", "sign_encrypt"),
        "firmware": "2019102300163636",
        "reset_count": 3,
        "restart_count": 1,
        "local": True,
        "never_extractable": True,
        "ak_hierarchy": "endorsement",
    }


@pytest.mark.parametrize(("handle", "name"), [(0x40000001, "owner"), (0x4000000C, "platform")])
def test_the_hierarchy_of_the_attestation_key_is_told(handle: int, name: str) -> None:
    signer = tpm_qualified_name(CERTIFIED.ak_public, handle)
    assert verified(CERTIFIED.with_(signer=signer).evidence(), anchors=PINNED).claims["ak_hierarchy"] == name


def test_an_attestation_key_is_vouched_for_by_its_certificate() -> None:
    assert verified(CERTIFIED.with_(ak_chain=(AK_CERTIFICATE,)).evidence()).signed_by == "CN=root"


@pytest.mark.parametrize("key", [rsa2048(), ec.derive_private_key(77, ec.SECP384R1())], ids=["rsa2048", "p384"])
def test_keys_of_every_kind_are_attested(key: Any) -> None:  # noqa: ANN401 - any private key
    evidence = CERTIFIED.with_(key=key, public=tpm_public(key)).evidence()
    assert verified(evidence, anchors=PINNED, expected_key=key.public_key()).key == key.public_key()


@pytest.mark.parametrize("algorithm", [0x14, 0x16], ids=["rsassa", "rsapss"])
def test_an_rsa_attestation_key_signs_in_two_ways(algorithm: int) -> None:
    key = rsa2048()
    certified = CERTIFIED.with_(ak=key, ak_public=tpm_public(key, AK_ATTRIBUTES))
    how = padding.PKCS1v15() if algorithm == 0x14 else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = algorithm.to_bytes(2) + b"\x00\x0b" + tpm2b(key.sign(certified.attest, how, hashes.SHA256()))
    evidence = certified.with_(signature=signature).evidence()
    assert verified(evidence, anchors=Anchors(keys=(key.public_key(),))).tier is Tier.ATTESTED


def with_attributes(attributes: int) -> Certified:
    return CERTIFIED.with_(public=tpm_public(USER, attributes))


def with_ak_attributes(attributes: int) -> Certified:
    return CERTIFIED.with_(ak_public=tpm_public(AK, attributes))


BROKEN: dict[str, tuple[Callable[[], Certified], EvidenceCheck]] = {
    "another nonce": (lambda: CERTIFIED.with_(nonce=OTHER_NONCE), EvidenceCheck.NONCE),
    "no nonce": (lambda: CERTIFIED.with_(nonce=b""), EvidenceCheck.NONCE),
    "the nonce and more": (lambda: CERTIFIED.with_(nonce=CERTIFIED.nonce + b"\0"), EvidenceCheck.NONCE),
    "another attestation key": (
        lambda: CERTIFIED.with_(ak=p256(OTHER_KEY), ak_public=tpm_public(p256(OTHER_KEY), AK_ATTRIBUTES)),
        EvidenceCheck.ANCHOR,
    ),
    "signed by another key than named": (lambda: CERTIFIED.with_(ak=p256(OTHER_KEY)), EvidenceCheck.SIGNATURE),
    "signed by the attested key": (lambda: CERTIFIED.with_(ak=USER), EvidenceCheck.SIGNATURE),
    "signature of another statement": (
        lambda: CERTIFIED.with_(signature=CERTIFIED.with_(safe=0).signed()),
        EvidenceCheck.SIGNATURE,
    ),
    "signature of another kind than the key": (
        lambda: CERTIFIED.with_(signature=b"\x00\x14\x00\x0b" + tpm2b(bytes(256))),
        EvidenceCheck.ALGORITHM,
    ),
    "a statement of another signer": (
        lambda: CERTIFIED.with_(signer=tpm_qualified_name(tpm_public(AK, KEY_ATTRIBUTES))),
        EvidenceCheck.ATTRIBUTES,
    ),
    "an attestation key of the null hierarchy": (
        lambda: CERTIFIED.with_(signer=tpm_qualified_name(CERTIFIED.ak_public, 0x40000007)),
        EvidenceCheck.ATTRIBUTES,
    ),
    "name of another key": (
        lambda: CERTIFIED.with_(name=tpm_name(tpm_public(p256(OTHER_KEY)))),
        EvidenceCheck.KEY,
    ),
    "name of the key with other attributes": (
        lambda: CERTIFIED.with_(name=tpm_name(tpm_public(USER, KEY_ATTRIBUTES & ~2))),
        EvidenceCheck.KEY,
    ),
    "about another key": (
        lambda: CERTIFIED.with_(public=tpm_public(p256(OTHER_KEY))),
        EvidenceCheck.KEY,
    ),
    **{
        f"a key that is not {name}": (
            partial(with_attributes, KEY_ATTRIBUTES & ~(1 << bit)),
            EvidenceCheck.ATTRIBUTES,
        )
        for bit, name in ((1, "fixedTPM"), (4, "fixedParent"), (5, "sensitiveDataOrigin"))
    },
    **{
        f"an attestation key of attributes {attributes:06x}": (
            partial(with_ak_attributes, attributes),
            EvidenceCheck.ATTRIBUTES,
        )
        for attributes in (
            AK_ATTRIBUTES & ~RESTRICTED,
            AK_ATTRIBUTES & ~SIGN_ENCRYPT,
            AK_ATTRIBUTES | DECRYPT,
            AK_ATTRIBUTES & ~2,
            AK_ATTRIBUTES & ~16,
            AK_ATTRIBUTES & ~32,
        )
    },
}


@pytest.mark.parametrize("case", BROKEN)
def test_tpm_evidence_that_breaks_one_check_is_refused(case: str) -> None:
    certified, check = BROKEN[case]
    assert refused(certified().evidence(), anchors=PINNED) is check


@pytest.mark.parametrize(
    ("chain", "check"),
    [
        ((), EvidenceCheck.ANCHOR),
        ((x5c("AK", p256(OTHER_KEY), "root", p256(ROOT_KEY)),), EvidenceCheck.ANCHOR),
        ((x5c("AK", AK, "root", p256(OTHER_KEY)),), EvidenceCheck.ANCHOR),
        ((x5c("AK", AK, "root", p256(ROOT_KEY), ca=True),), EvidenceCheck.CA),
        ((x5c("AK", AK, "CA", p256(6)), x5c("CA", p256(6), "root", p256(ROOT_KEY))), EvidenceCheck.CA),
    ],
    ids=["none", "another key's", "another issuer's", "a CA", "by no CA"],
)
def test_an_attestation_key_needs_a_pin_or_a_chain(chain: tuple[str, ...], check: EvidenceCheck) -> None:
    assert refused(CERTIFIED.with_(ak_chain=chain).evidence()) is check


def without_ak(**changes: object) -> Evidence:
    members = strictjson.loads(CERTIFIED.evidence().value) | changes
    return Evidence(EvidenceKind.TPM, strictjson.encode(members).encode())


MALFORMED: dict[str, Callable[[], Evidence]] = {
    "not JSON": lambda: Evidence(EvidenceKind.TPM, b"{"),
    "a member too many": lambda: without_ak(more=1),
    "not base64url": lambda: without_ak(attest="?"),
    "seven certificates": lambda: without_ak(ak_chain=[AK_CERTIFICATE] * 7),
    "another magic": lambda: CERTIFIED.with_(magic=b"\xffTCH").evidence(),
    "a quote": lambda: CERTIFIED.with_(kind=0x8018).evidence(),
    "safe is neither": lambda: CERTIFIED.with_(safe=2).evidence(),
    "bytes after": lambda: CERTIFIED.with_(trailing=b"\0").evidence(),
    "a buffer too long": lambda: CERTIFIED.with_(nonce=bytes(1025)).evidence(),
    "another signature scheme": lambda: CERTIFIED.with_(
        signature=tpm_signature(AK, CERTIFIED.attest, algorithm=0x1B)
    ).evidence(),
    "a signature over SHA-1": lambda: CERTIFIED.with_(
        signature=tpm_signature(AK, CERTIFIED.attest, digest=0x04)
    ).evidence(),
    "bytes after the signature": lambda: CERTIFIED.with_(signature=CERTIFIED.signed() + b"\0").evidence(),
    "reserved attributes": lambda: CERTIFIED.with_(public=tpm_public(USER, KEY_ATTRIBUTES | 1)).evidence(),
    "name by SHA-1": lambda: CERTIFIED.with_(public=tpm_public(USER, name_algorithm=4)).evidence(),
    "an unknown curve": lambda: CERTIFIED.with_(public=tpm_public(USER, curve=5)).evidence(),
    "off the curve": lambda: CERTIFIED.with_(public=tpm_public(USER)[:-1] + b"\0").evidence(),
    "a kdf": lambda: CERTIFIED.with_(public=tpm_public(USER, kdf=b"\x00\x07\x00\x0b")).evidence(),
    "another kind of key": lambda: CERTIFIED.with_(public=b"\x00\x08" + CERTIFIED.public[2:]).evidence(),
    "an RSA key of another size": lambda: CERTIFIED.with_(
        public=tpm_public(rsa2048()).replace(b"\x08\x00\x00\x00\x00\x00", b"\x04\x00\x00\x00\x00\x00")
    ).evidence(),
    "an RSA key that is none": lambda: CERTIFIED.with_(
        public=tpm_public(rsa2048()).replace(b"\x08\x00\x00\x00\x00\x00", b"\x08\x00\x00\x00\x00\x02")
    ).evidence(),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_structure_that_is_not_as_the_specification_has_it_is_malformed(case: str) -> None:
    with pytest.raises(MalformedError):
        verified(MALFORMED[case](), anchors=PINNED)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"symmetric": b"\x00\x06\x00\x80\x00\x43"}, True),
        ({"scheme": b"\x00\x18\x00\x0b"}, True),
        ({"scheme": b"\x00\x19\x00\x0c"}, True),
        ({"scheme": b"\x00\x18\x00\x04"}, False),
        ({"scheme": b"\x00\x1a\x00\x0b\x00\x00"}, False),
        ({"symmetric": b"\x00\x25"}, False),
    ],
)
def test_parameters_of_a_public_area(options: dict[str, bytes], expected: bool) -> None:
    public = tpm_public(USER, **options)  # type: ignore[arg-type]
    if expected:
        assert parse_public(public).key == USER.public_key()
    else:
        with pytest.raises(MalformedError):
            parse_public(public)


def test_every_shorter_structure_is_cut() -> None:
    for parse, whole in (
        (parse_public, CERTIFIED.public),
        (parse_public, tpm_public(rsa2048())),
        (parse_certify_info, CERTIFIED.attest),
        (parse_signature, CERTIFIED.signed()),
    ):
        for size in range(len(whole)):
            with pytest.raises(MalformedError):
                parse(whole[:size])


def test_who_wants_to_pin_the_attestation_key_can_read_it() -> None:
    assert attestation_key(CERTIFIED.evidence()) == AK.public_key()


def test_describing_verifies_nothing() -> None:
    key, claims = describe_evidence(CERTIFIED.with_(signature=b"\x00\x18\x00\x0b\x00\x00\x00\x00").evidence())
    assert (key, claims["local"]) == (USER.public_key(), True)


@given(st.sampled_from(["attest", "signature", "public", "ak_public"]), st.data())
def test_altered_bytes_raise_nothing_but_the_errors_of_evidence(member: str, data: st.DataObject) -> None:
    members = strictjson.loads(GOOD.value)
    raw = bytearray(base64url.decode(members[member]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    members[member] = base64url.encode(bytes(raw))
    with pytest.raises((MalformedError, EvidenceRefusal)):
        verified(Evidence(EvidenceKind.TPM, strictjson.encode(members).encode()), anchors=PINNED)


GOOD = CERTIFIED.evidence()
assert STAYS & KEY_ATTRIBUTES == STAYS
