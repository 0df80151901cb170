"""Signatures as WebAuthn wants them, held against cryptography's encoding."""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fidoloop.authenticator.ctap2.signing import ALGORITHMS, ES256, ES384


@dataclass
class FixedKey:
    raw: bytes

    def sign_digest_raw(self, digest: bytes) -> bytes:
        assert len(digest) == len(self.raw) // 2
        return self.raw


@pytest.mark.parametrize(("algorithm", "size"), [(ES256, 32), (ES384, 48)])
@pytest.mark.parametrize("r", ["01", "7f", "80", "ff", "0080", "00ff" * 3, "7f" * 32, "80" * 32, "ff" * 32])
@pytest.mark.parametrize("s", ["01", "80", "7f" * 31, "ff" * 32])
def test_ecdsa_signatures_are_der(algorithm: int, size: int, r: str, s: str) -> None:
    numbers = [int(number, 16) for number in (r, s)]
    raw = b"".join(number.to_bytes(size, "big") for number in numbers)
    assert ALGORITHMS[algorithm].sign(FixedKey(raw), b"data") == encode_dss_signature(*numbers)
