from ssl import DER_cert_to_PEM_cert

import pytest

from fidoloop.protocol.certificates import load_certificate, load_pem_certificates
from fidoloop.protocol.errors import MalformedError

from .builders import leaf, to_der

DER = to_der(leaf())
BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")


def test_a_certificate_reads() -> None:
    assert load_certificate(DER) == leaf()


@pytest.mark.parametrize(
    "der",
    [
        b"",
        DER[:-1],
        DER + b"\x00",
        # Version 9, a field that cryptography checks with an error of its own kind.
        DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1),
        # The content of an extension, which it reads on first use.
        DER.replace(
            BASIC_CONSTRAINTS + b"\x01\x01\xff\x04\x02\x30\x00", BASIC_CONSTRAINTS + b"\x01\x01\xff\x04\x02\x31\x00"
        ),
        # A name's text in bytes that are not UTF-8.
        DER.replace(b"\x0c\x04leaf", b"\x0c\x04\xff\xff\xff\xff"),
        # A name's text in a type that is none of text.
        DER.replace(b"\x0c\x04leaf", b"\x03\x04\x00eaf"),
    ],
    ids=["empty", "cut", "trailing", "version", "extension", "name", "type of name"],
)
def test_what_would_fail_later_is_malformed_at_once(der: bytes) -> None:
    assert der != DER
    with pytest.raises(MalformedError, match=r"^root\[1\]: not an X.509"):
        load_certificate(der, "root[1]")
    pem = DER_cert_to_PEM_cert(DER) + DER_cert_to_PEM_cert(der)
    with pytest.raises(MalformedError, match=r"^root\[1\]: not X.509 certificates in PEM"):
        load_pem_certificates(pem.encode(), "root[1]")


def test_certificates_in_pem_read() -> None:
    pem = 2 * DER_cert_to_PEM_cert(DER)
    assert load_pem_certificates(pem.encode()) == [leaf(), leaf()]
    with pytest.raises(MalformedError):
        load_pem_certificates(b"no PEM")
