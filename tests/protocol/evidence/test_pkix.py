"""PKIX Evidence: encoder and parser agree, and each check broken once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import SignatureAlgorithmOID
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.keys import sign_with
from fidoloop.protocol.evidence.pkix_structures import (
    PkixElement,
    PkixEvidence,
    PkixValue,
    encode_evidence,
    encode_tbs,
    parse_evidence,
)
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

from ..builders import AT, certificate, p256, rsa2048, spki, to_der
from .builders import (
    DEVICE_KEY,
    NONCE,
    OTHER_KEY,
    OTHER_NONCE,
    PLATFORM,
    ROOT_KEY,
    USER_KEY,
    ak_certificate,
    key_claims,
    pkix,
)
from .verifying import refused, verified

AK, USER = p256(DEVICE_KEY), p256(USER_KEY)
ECDSA = SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string
TRANSACTION: PkixElement = (("nonce", NONCE), ("ak-spki", spki(AK)))
KEY: PkixElement = tuple(key_claims().items())


def signed(
    *elements: tuple[str, PkixElement],
    key: Any = AK,  # noqa: ANN401 - any private key
    chain: tuple[x509.Certificate, ...] = (),
    algorithm: str = ECDSA,
    tbs: bytes | None = None,
) -> Evidence:
    """Returns evidence of these elements, or of the usual ones, signed by the attestation key."""
    raw = tbs if tbs is not None else encode_tbs(elements or (("transaction", TRANSACTION), ("key", KEY)))
    certificate, *rest = chain or (ak_certificate(),)
    return Evidence(EvidenceKind.PKIX, encode_evidence(raw, [(certificate, algorithm, sign_with(key, raw))], rest))


def test_a_simulated_hsm_tells_of_itself_and_its_key() -> None:
    found = verified(pkix())
    assert (found.kind, found.tier, found.source) == (EvidenceKind.PKIX, Tier.ATTESTED, Source.DEVICE)
    assert (found.key, found.signed_by) == (USER.public_key(), "CN=root")
    assert found.claims == {
        **PLATFORM,
        "identifier": ("key-4",),
        "extractable": False,
        "sensitive": True,
        "never_extractable": True,
        "local": True,
        "purpose": ("sign",),
    }


def test_bytes_and_times_are_told_as_text() -> None:
    key = key_claims(expiry=datetime(2030, 1, 2, tzinfo=UTC))
    claims = verified(pkix(platform={"oemid": b"\x01\x02", "uptime": 5}, key=key)).claims
    assert (claims["oemid"], claims["uptime"], claims["expiry"]) == ("0102", 5, "2030-01-02T00:00:00+00:00")


def test_evidence_about_several_keys_is_taken_for_the_expected_one() -> None:
    other: PkixElement = tuple(key_claims(OTHER_KEY, extractable=True).items())
    evidence = signed(("transaction", TRANSACTION), ("key", other), ("key", KEY))
    assert verified(evidence).claims["extractable"] is False
    expected = p256(OTHER_KEY).public_key()
    assert verified(evidence, expected_key=expected).claims["extractable"] is True
    assert refused(evidence, expected_key=None) is EvidenceCheck.KEY
    assert refused(evidence, expected_key=p256(7).public_key()) is EvidenceCheck.KEY


def test_the_order_of_intermediates_does_not_matter() -> None:
    high = certificate("high", p256(6), "root", p256(ROOT_KEY), ca=True, key_cert_sign=True)
    low = certificate("low", p256(7), "high", p256(6), ca=True, key_cert_sign=True)
    ak = ak_certificate(issuer="low", issuer_key=7)
    for rest in ((high, low), (low, high), (low, high, certificate("x", AK, "y", AK))):
        assert verified(signed(chain=(ak, *rest))).signed_by == "CN=root"


def test_a_bare_key_signs_where_it_is_pinned() -> None:
    evidence = without_certificate(pkix())
    assert refused(evidence) is EvidenceCheck.ANCHOR
    assert verified(evidence, anchors=Anchors(keys=(AK.public_key(),))).signed_by == "pinned key"


def test_rsa_attestation_keys_sign_too() -> None:
    evidence = pkix(attestation_key=rsa2048(), certificate=ak_certificate(key=rsa2048()))
    assert verified(evidence).tier is Tier.ATTESTED


def without_certificate(evidence: Evidence) -> Evidence:
    """Returns the evidence with the signer's bare key in place of its certificate."""
    found = parse_evidence(evidence.value)
    block = found.signatures[0]
    tagged = der(0xA1, spki(AK))
    signature = der(0x30, der(0x30, tagged), der(0x30, oid(block.algorithm)), der(0x04, block.value))
    return Evidence(EvidenceKind.PKIX, der(0x30, found.tbs.raw, der(0x30, signature)))


def block_der(found: PkixEvidence) -> bytes:
    """Returns the first signature's block as it stands in evidence."""
    (block, *_) = found.signatures
    sid = der(0x30, der(0xA2, to_der(ak_certificate())))
    return der(0x30, sid, der(0x30, oid(block.algorithm)), der(0x04, block.value))


def named_only(evidence: Evidence) -> Evidence:
    found = parse_evidence(evidence.value)
    block = found.signatures[0]
    sid = der(0x30, der(0xA0, der(0x04, b"an id")))
    signature = der(0x30, sid, der(0x30, oid(block.algorithm)), der(0x04, block.value))
    return Evidence(EvidenceKind.PKIX, der(0x30, found.tbs.raw, der(0x30, signature)))


def oid(text: str) -> bytes:
    return asn1.encode_der(x509.ObjectIdentifier(text))


def der(tag: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    size = len(value)
    if size < 128:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 + len(length))) + length + value


BROKEN: dict[str, tuple[Callable[[], Evidence], EvidenceCheck]] = {
    "another nonce": (lambda: pkix(nonce=OTHER_NONCE), EvidenceCheck.NONCE),
    "no transaction": (lambda: signed(("key", KEY)), EvidenceCheck.NONCE),
    "no nonce": (lambda: signed(("transaction", (("ak-spki", spki(AK)),)), ("key", KEY)), EvidenceCheck.NONCE),
    "not signed": (
        lambda: Evidence(EvidenceKind.PKIX, encode_evidence(parse_evidence(pkix().value).tbs.raw, [])),
        EvidenceCheck.SIGNATURE,
    ),
    "signed by another key": (lambda: pkix(attestation_key=p256(OTHER_KEY)), EvidenceCheck.SIGNATURE),
    "signature of other evidence": (
        lambda: Evidence(
            EvidenceKind.PKIX,
            encode_evidence(
                parse_evidence(pkix().value).tbs.raw,
                [(ak_certificate(), ECDSA, parse_evidence(pkix(platform={"uptime": 1}).value).signatures[0].value)],
            ),
        ),
        EvidenceCheck.SIGNATURE,
    ),
    "names another attestation key": (
        lambda: signed(("transaction", (("nonce", NONCE), ("ak-spki", spki(p256(6))))), ("key", KEY)),
        EvidenceCheck.SIGNATURE,
    ),
    "names one more attestation key": (
        lambda: signed(("transaction", (*TRANSACTION, ("ak-spki", spki(p256(6))))), ("key", KEY)),
        EvidenceCheck.SIGNATURE,
    ),
    "another root": (
        lambda: signed(chain=(certificate("AK", AK, "root", p256(OTHER_KEY)),)),
        EvidenceCheck.ANCHOR,
    ),
    "an identifier only": (lambda: named_only(pkix()), EvidenceCheck.ANCHOR),
    "a signature algorithm that is not the key's": (
        lambda: signed(algorithm=SignatureAlgorithmOID.ECDSA_WITH_SHA384.dotted_string),
        EvidenceCheck.ALGORITHM,
    ),
    "no key usage": (lambda: signed(chain=(ak_certificate(usage=None),)), EvidenceCheck.EXTENSION),
    "not for signatures": (lambda: signed(chain=(ak_certificate(usage=False),)), EvidenceCheck.EXTENSION),
    "no extended key usage": (lambda: signed(chain=(ak_certificate(purpose=""),)), EvidenceCheck.EXTENSION),
    "for TLS": (lambda: signed(chain=(ak_certificate(purpose="1.3.6.1.5.5.7.3.1"),)), EvidenceCheck.EXTENSION),
    "about no key": (lambda: signed(("transaction", TRANSACTION)), EvidenceCheck.KEY),
    "about another key": (lambda: pkix(key=key_claims(OTHER_KEY)), EvidenceCheck.KEY),
    "about the key twice": (
        lambda: signed(
            ("transaction", TRANSACTION), ("key", KEY), ("key", tuple(key_claims(identifier="again").items()))
        ),
        EvidenceCheck.KEY,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_pkix_evidence_that_breaks_one_check_is_refused(case: str) -> None:
    evidence, check = BROKEN[case]
    assert refused(evidence()) is check


def test_a_key_that_is_not_told_is_refused() -> None:
    evidence = signed(("transaction", TRANSACTION), ("key", (("identifier", "a"), ("local", True))))
    assert refused(evidence, expected_key=None) is EvidenceCheck.KEY


def test_an_attested_key_of_another_kind_is_refused() -> None:
    odd = ec.derive_private_key(7, ec.SECP521R1())
    evidence = pkix(key=key_claims(spki=spki(odd)))
    assert refused(evidence, expected_key=None) is EvidenceCheck.ALGORITHM
    assert refused(pkix(key=key_claims(spki=b"\x30\x00")), expected_key=None) is EvidenceCheck.ALGORITHM


def test_validity_is_held_against_the_given_time() -> None:
    assert refused(pkix(), at=AT + timedelta(days=2)) is EvidenceCheck.VALIDITY


def claim(number: str, value: bytes = b"") -> bytes:
    return der(0x30, oid(f"{oids.EVIDENCE}.1.{number}"), value)


def element(number: int, *claims: bytes) -> bytes:
    return der(0x30, oid(f"{oids.EVIDENCE}.0.{number}"), der(0x30, *claims))


def tbs(*elements: bytes, version: bytes = b"\x02\x01\x01") -> bytes:
    return der(0x30, version, der(0x30, *elements))


SPKI = claim("2.1", der(0x04, spki(USER)))
FIVE = b"\x02\x01\x05"
USUAL = (
    element(0, claim("0.0", der(0x04, NONCE)), claim("0.2", der(0x04, spki(AK)))),
    element(2, claim("2.0", der(0x0C, b"one")), SPKI),
)
UNKNOWN_CLAIM = der(0x30, oid("1.2.3.4"), der(0x30, b"\x02\x01\x05"))
BARE_UNKNOWN_CLAIM = der(0x30, oid("1.2.3.4"))
UNKNOWN_ELEMENT = der(0x30, oid("1.2.3.4"), der(0x30, UNKNOWN_CLAIM))


@pytest.mark.parametrize(
    "elements",
    [
        USUAL,
        (*USUAL, UNKNOWN_ELEMENT),
        (*USUAL, element(1, UNKNOWN_CLAIM, BARE_UNKNOWN_CLAIM)),
        (USUAL[0], element(2, *[claim("2.0", der(0x0C, text)) for text in (b"1", b"2")], SPKI)),
    ],
    ids=["usual", "unknown element", "unknown claims", "two identifiers"],
)
def test_what_is_unknown_is_passed_over(elements: tuple[bytes, ...]) -> None:
    assert verified(signed(tbs=tbs(*elements))).key == USER.public_key()


MALFORMED = {
    "version 2": tbs(*USUAL, version=b"\x02\x01\x02"),
    "no elements": tbs(),
    "an element without claims": tbs(*USUAL, element(1)),
    "two transactions": tbs(*USUAL, USUAL[0]),
    "two platforms": tbs(*USUAL, element(1, claim("1.8", FIVE)), element(1, claim("1.8", FIVE))),
    "a claim twice": tbs(*USUAL, element(1, claim("1.8", FIVE), claim("1.8", FIVE))),
    "a claim of another element": tbs(*USUAL, element(1, claim("2.5", b"\x01\x01\xff"))),
    "a key without identifier": tbs(USUAL[0], element(2, SPKI)),
    "two keys of one identifier": tbs(USUAL[0], USUAL[1], USUAL[1]),
    "a claim of another type": tbs(*USUAL, element(1, claim("1.8", b"\x0c\x01a"))),
    "a claim without its value": tbs(*USUAL, element(1, claim("1.8"))),
    "a claim with two values": tbs(*USUAL, element(1, claim("1.8", FIVE * 2))),
    "a boolean that is not DER": tbs(*USUAL, element(1, claim("1.10", b"\x01\x01\x01"))),
    "an integer that is not the shortest": tbs(*USUAL, element(1, claim("1.8", b"\x02\x02\x00\x05"))),
    "text that is not UTF-8": tbs(*USUAL, element(1, claim("1.0", b"\x0c\x01\xff"))),
    "a time that is none": tbs(*USUAL, element(0, claim("0.1", b"\x18\x0120"))),
    "too many purposes": tbs(
        USUAL[0],
        element(2, claim("2.0", der(0x0C, b"one")), claim("2.7", der(0x30, *[oid(f"{oids.EVIDENCE}.2.4")] * 17))),
    ),
    "too many elements": tbs(*[UNKNOWN_ELEMENT] * 17),
    "too many claims": tbs(element(1, *[BARE_UNKNOWN_CLAIM] * 65)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_evidence_that_is_not_as_the_draft_has_it_is_malformed(case: str) -> None:
    with pytest.raises(MalformedError):
        verified(signed(tbs=MALFORMED[case]))


def test_nothing_may_follow_and_no_certificate_be_too_many() -> None:
    good = pkix().value
    many = [certificate("x", AK, "y", AK)] * 7
    for bad in (good + b"\0", good[:-1], b"", b"\x30\x00", encode_evidence(parse_evidence(good).tbs.raw, [], many)):
        with pytest.raises(MalformedError):
            verified(Evidence(EvidenceKind.PKIX, bad))


def test_five_signatures_are_too_many() -> None:
    found = parse_evidence(pkix().value)
    block = (ak_certificate(), ECDSA, found.signatures[0].value)
    assert verified(Evidence(EvidenceKind.PKIX, encode_evidence(found.tbs.raw, [block] * 4))).tier is Tier.ATTESTED
    with pytest.raises(MalformedError):
        verified(Evidence(EvidenceKind.PKIX, der(0x30, found.tbs.raw, der(0x30, *[block_der(found)] * 5))))


def test_one_signature_that_does_not_verify_spoils_the_others() -> None:
    found = parse_evidence(pkix().value)
    good, bad = found.signatures[0].value, parse_evidence(pkix(nonce=OTHER_NONCE).value).signatures[0].value
    blocks = [(ak_certificate(), ECDSA, value) for value in (good, bad)]
    assert refused(Evidence(EvidenceKind.PKIX, encode_evidence(found.tbs.raw, blocks))) is EvidenceCheck.SIGNATURE


def test_a_nonce_of_another_size_is_refused_when_evidence_is_made() -> None:
    with pytest.raises(ValueError, match="8 to 32 bytes"):
        pkix(nonce=b"short")


def test_describing_verifies_nothing() -> None:
    key, claims = describe_evidence(pkix(attestation_key=p256(OTHER_KEY)))
    assert (key, claims["hwserial"]) == (USER.public_key(), "0001")


texts = st.text(st.characters(codec="utf-8"), max_size=20)
values: dict[str, st.SearchStrategy[PkixValue]] = {
    "vendor": texts,
    "oemid": st.binary(max_size=20),
    "uptime": st.integers(-(2**63), 2**63),
    "fipsboot": st.booleans(),
    "swversion": texts,
}


@given(st.fixed_dictionaries({}, optional=values), st.lists(st.sampled_from(["sign", "derive", "wrap"]), max_size=3))
def test_what_was_encoded_is_what_is_read(platform: dict[str, PkixValue], purposes: list[str]) -> None:
    given_elements: tuple[tuple[str, PkixElement], ...] = (
        ("platform", tuple(platform.items()) or (("uptime", 1),)),
        ("key", (("identifier", "a"), ("purpose", tuple(purposes)))),
    )
    raw = encode_tbs(given_elements)
    found = parse_evidence(encode_evidence(raw, []))
    assert found.tbs.elements == given_elements
    assert found.tbs.raw == raw


GOOD = pkix().value


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning")
@given(st.data())
def test_altered_bytes_raise_nothing_but_the_errors_of_evidence(data: st.DataObject) -> None:
    raw = bytearray(GOOD)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedError, EvidenceRefusal)):
        verified(Evidence(EvidenceKind.PKIX, bytes(raw)))
