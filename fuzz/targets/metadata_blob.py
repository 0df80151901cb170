"""The metadata service's BLOB."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata_blob import MetadataBlob, verify_metadata_blob
from fidoloop.protocol.webauthn.models import read_models
from fuzz.properties import accepted, outcome, split

MAX_BYTES = 1 << 15
AT = datetime(2026, 1, 1, tzinfo=UTC)
DICTIONARY = (
    b'"alg"', b'"ES256"', b'"x5c"', b'"crit"', b'"no"', b'"nextUpdate"', b'"2027-01-01"', b'"entries"', b'"aaid"',
    b'"metadataStatement"', b'"statusReports"', b'"status"', b'"legalHeader"', b'"aaguid"', b'"REVOKED"', b"\n\n",
    b'"attestationRootCertificates"', b'"userVerificationDetails"', b'"schema"', b'"authenticationAlgorithms"',
)  # fmt: skip


@cache
def _root() -> x509.Certificate:
    from tests.protocol.builders import root

    return root()


def check(data: bytes) -> None:
    """A BLOB as it is; and header and payload, an empty line between, signed by the certificate of the examples.

    What is accepted has a usable entry or a reason for each AAID, and no BLOB is accepted that is older than known.
    """
    from tests.protocol.builders import LEAF_KEY, p256

    header, payload = split(data, 2)
    text = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    r, s = decode_dss_signature(p256(LEAF_KEY).sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    signed = f"{text}.{base64url.encode(r.to_bytes(32) + s.to_bytes(32))}".encode()
    for blob in (data, signed):
        found = accepted(partial(_verified, blob), MalformedError)
        if found is not None:
            assert all(aaid == aaid.upper() for aaid in found.entries)
            assert isinstance(outcome(partial(_verified, blob, found.no + 1), MalformedError), MalformedError)
            outcome(partial(read_models, found.others), MalformedError)


def _verified(blob: bytes, lowest_no: int = 0) -> MetadataBlob:
    return verify_metadata_blob(blob, roots=(_root(),), at=AT, expected_signer=None, lowest_no=lowest_no)


def seeds() -> Iterator[bytes]:
    """Yield a BLOB, and header and payload of it."""
    from tests.protocol.uaf.test_metadata_blob import PAYLOAD, blob

    whole = blob()
    yield whole
    header, _, rest = whole.decode().partition(".")
    yield base64url.decode(header) + b"\n\n" + base64url.decode(rest.partition(".")[0])
    small = {**PAYLOAD, "entries": [{"aaguid": "a" * 32, "metadataStatement": {"protocolFamily": "fido2"}}]}
    yield base64url.decode(header) + b"\n\n" + strictjson.encode(small).encode()
