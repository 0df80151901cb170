import base64
import json
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata_blob import MAX_BLOB_BYTES, MetadataBlob, verify_metadata_blob

from ..builders import (
    AAID,
    AT,
    LEAF_KEY,
    MIDDLE_KEY,
    OTHER_KEY,
    certificate,
    leaf,
    middle,
    p256,
    root,
    statement,
    to_der,
)
from ..signers import key_of, sign

SIGNER = "mds.fidoalliance.org"
SAN = (x509.SubjectAlternativeName([x509.DNSName("www.example"), x509.DNSName(SIGNER)]), False)
ES256 = 0x01


def signer(key: Any = None, **changes: Any) -> x509.Certificate:  # noqa: ANN401 - any private key, any argument
    arguments = {"extension": SAN, **changes}
    return certificate("signer", key or p256(LEAF_KEY), "middle", p256(MIDDLE_KEY), **arguments)


def entry(aaid: str = AAID, **changes: object) -> dict[str, Any]:
    return {
        "aaid": aaid,
        "metadataStatement": statement(aaid=aaid, **changes),
        "statusReports": [{"status": "FIDO_CERTIFIED_L1", "effectiveDate": "2020-01-01"}],
        "timeOfLastStatusChange": "2020-01-01",
    }


PAYLOAD: dict[str, Any] = {
    "legalHeader": "legal",
    "no": 15,
    "nextUpdate": "2026-02-01",
    "entries": [
        entry(),
        {"aaguid": "a" * 32, "metadataStatement": {"protocolFamily": "fido2"}, "statusReports": []},
        {"attestationCertificateKeyIdentifiers": ["b" * 40], "metadataStatement": {}, "statusReports": []},
        entry("abcd#0001"),
    ],
}


def encoded(value: object) -> str:
    return base64url.encode(value if isinstance(value, bytes) else json.dumps(value).encode())


def blob(
    payload: object = PAYLOAD,
    *,
    algorithm: int = ES256,
    key: Any = None,  # noqa: ANN401 - any private key
    chain: tuple[x509.Certificate, ...] | None = None,
    header: dict[str, object] | None = None,
) -> bytes:
    """Returns a BLOB; a header member set to None is left out."""
    key = key or p256(LEAF_KEY)
    members: dict[str, object] = {
        "alg": "ES256",
        "typ": "JWT",
        "x5c": [base64.b64encode(to_der(one)).decode() for one in chain or (signer(key), middle())],
        **(header or {}),
    }
    signed = f"{encoded({n: v for n, v in members.items() if v is not None})}.{encoded(payload)}"
    return f"{signed}.{encoded(sign(algorithm, key, signed.encode()))}".encode()


def verify(data: bytes, **changes: Any) -> MetadataBlob:  # noqa: ANN401 - any argument
    return verify_metadata_blob(data, **{"roots": [root()], "at": AT, **changes})


def refusal(data: bytes, **changes: Any) -> str:  # noqa: ANN401 - any argument
    with pytest.raises(MalformedError) as caught:
        verify(data, **changes)
    return str(caught.value)


def test_the_uaf_entries_of_a_blob_are_read_by_their_aaids() -> None:
    found = verify(blob())
    assert (found.no, found.next_update, found.legal_header) == (15, date(2026, 2, 1), "legal")
    assert set(found.entries) == {AAID, "ABCD#0001"}
    assert found.entries[AAID].roots == (root(),)
    assert found.entries[AAID].status_reports[0].status == "FIDO_CERTIFIED_L1"
    assert (found.unusable, len(found.others)) == ((), 2)


def test_an_entry_that_cannot_be_used_is_named_and_keeps_no_other_back() -> None:
    broken = {**PAYLOAD, "entries": [entry("ABCD#0002", keyProtection=["software", "hardware"]), entry()]}
    found = verify(blob(broken))
    assert set(found.entries) == {AAID}
    assert found.unusable == (
        (
            "ABCD#0002",
            "$.payload.entries[0].metadataStatement.keyProtection: software together with hardware",
        ),
    )


@pytest.mark.parametrize(
    ("alg", "algorithm"), [("ES256", 1), ("ES384", 0x10), ("ES512", 0x11), ("RS256", 8), ("PS256", 3)]
)
def test_every_algorithm_on_the_list_verifies(alg: str, algorithm: int) -> None:
    key = key_of(algorithm)
    assert verify(blob(algorithm=algorithm, key=key, header={"alg": alg})).no == 15


def test_a_name_in_the_signers_certificate_is_demanded_unless_none_is_expected() -> None:
    unnamed = blob(chain=(leaf(), middle()))
    assert "not the certificate of mds.fidoalliance.org" in refusal(unnamed)
    assert verify(unnamed, expected_signer=None).no == 15
    assert "not the certificate of other.example" in refusal(blob(), expected_signer="other.example")


def test_a_blob_older_than_the_one_known_is_refused() -> None:
    assert verify(blob(), lowest_no=15).no == 15
    assert "15 is older than 16" in refusal(blob(), lowest_no=16)


EXPIRED = (AT - timedelta(days=2), AT - timedelta(seconds=1))
GOOD = blob()
HEADER, BODY, SIGNATURE = GOOD.decode().split(".")
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "1 parts"),
    "two parts": (f"{HEADER}.{BODY}".encode(), "2 parts"),
    "four parts": (GOOD + b".", "4 parts"),
    "not ASCII": (b"\xff" + GOOD, "not ASCII"),
    "not base64url": (b"*" + GOOD, r"$.header"),
    "long header": (f"{'A' * 65540}.{BODY}.{SIGNATURE}".encode(), "more than 65536"),
    "header not JSON": (f"{encoded(b'x')}.{BODY}.{SIGNATURE}".encode(), "$.header: not JSON"),
    "no alg": (blob(header={"alg": None}), "alg"),
    "alg none": (blob(header={"alg": "none"}), "$.header.alg: 'none' is none of"),
    "alg HS256": (blob(header={"alg": "HS256"}), "$.header.alg"),
    "alg of another key": (blob(header={"alg": "RS256"}), "$.signature: the algorithm is of RSA"),
    "alg of another curve": (blob(header={"alg": "ES384"}), "$.signature: the algorithm's curve"),
    "crit": (blob(header={"crit": ["b64"]}), "$.header.crit"),
    "no chain": (blob(header={"x5c": None}), "x5c"),
    "empty chain": (blob(header={"x5c": []}), "x5c"),
    "long chain": (blob(chain=(signer(),) * 7), "x5c"),
    "no certificate": (blob(header={"x5c": ["AAAA"]}), "$.header.x5c[0]: not an X.509"),
    "not base64": (blob(header={"x5c": ["*"]}), "$.header.x5c[0]: not base64"),
    "another root": (
        blob(chain=(certificate("signer", p256(LEAF_KEY), "signer", p256(LEAF_KEY), ca=True, extension=SAN),)),
        "does not end in a root",
    ),
    "intermediate missing": (blob(chain=(signer(),)), "does not end in a root"),
    "expired": (blob(chain=(signer(valid=EXPIRED), middle())), "outside its validity"),
    "signed by another key": (blob(key=p256(OTHER_KEY), chain=(signer(), middle())), "$.signature: the signature does"),
    "signature cut": (GOOD[:-4], "$.signature"),
    "signature of another payload": (f"{HEADER}.{encoded({})}.{SIGNATURE}".encode(), "$.signature: the signature does"),
    "payload not JSON": (blob(b"x"), "$.payload: not JSON"),
    "payload a list": (blob([]), "$.payload"),
    "no number": (blob({**PAYLOAD, "no": -1}), "$.payload.no"),
    "no date": (blob({**PAYLOAD, "nextUpdate": "soon"}), "$.payload.nextUpdate"),
    "entries no list": (blob({**PAYLOAD, "entries": {}}), "$.payload.entries"),
    "entry no object": (blob({**PAYLOAD, "entries": [1]}), "$.payload.entries[0]"),
    "one AAID twice": (blob({**PAYLOAD, "entries": [entry(), entry(AAID.lower())]}), "entries[1].aaid: stands in two"),
    "one AAID twice, once unusable": (
        blob({**PAYLOAD, "entries": [entry(keyProtection=0), entry()]}),
        "entries[1].aaid: stands in two",
    ),
    "duplicate member": (blob(b'{"no":1,"no":2}'), "duplicate member"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_blob_that_breaks_a_rule_is_refused_whole(case: str) -> None:
    data, reason = REFUSED[case]
    assert reason in refusal(data)


def test_an_entry_of_another_aaid_than_its_statement_is_unusable() -> None:
    found = verify(blob({**PAYLOAD, "entries": [{**entry(), "aaid": "ABCD#0009"}]}))
    assert (dict(found.entries), found.unusable[0][0]) == ({}, "ABCD#0009")


def test_a_signing_key_of_a_kind_not_supported_is_refused() -> None:
    k1 = ec.derive_private_key(77, ec.SECP256K1())
    assert "$.signature" in refusal(blob(key=k1, algorithm=0x05, chain=(signer(k1), middle())))


def test_more_bytes_than_any_blob_has_are_refused() -> None:
    assert "at most" in refusal(bytes(MAX_BLOB_BYTES + 1))


def test_a_root_is_known_by_its_key_and_not_by_its_name() -> None:
    impostor = certificate("root", p256(OTHER_KEY), "root", p256(OTHER_KEY), ca=True)
    assert "does not end in a root" in refusal(blob(), roots=[impostor])


@given(st.data())
def test_no_altered_blob_is_accepted(data: st.DataObject) -> None:
    raw = bytearray(GOOD)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda value: value != GOOD[at]))
    with pytest.raises(MalformedError):
        verify(bytes(raw))
