"""Authenticator data held against python-fido2's reader (WebAuthn 6.1)."""

import pytest
from fido2.webauthn import AuthenticatorData

from fidoloop.protocol.ctap.authenticator_data import (
    USER_PRESENT,
    USER_VERIFIED,
    encode_attested_credential,
    encode_authenticator_data,
)

HASH = bytes(range(32))
KEY = {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}


@pytest.mark.parametrize("extensions", [None, {}, {"credProtect": 2}])
@pytest.mark.parametrize("attested", [False, True])
def test_python_fido2_reads_what_is_written(attested: bool, extensions: dict[str, int] | None) -> None:
    credential = encode_attested_credential(b"a" * 16, b"an id", KEY) if attested else b""
    data = AuthenticatorData(
        encode_authenticator_data(
            HASH, USER_PRESENT | USER_VERIFIED, 2**32 - 1, attested_credential=credential, extensions=extensions
        )
    )
    assert (data.rp_id_hash, data.counter) == (HASH, 2**32 - 1)
    assert data.is_user_present()
    assert data.is_user_verified()
    assert data.extensions == (extensions or None)
    assert data.is_attested() is attested
    if data.credential_data is not None:
        assert (data.credential_data.aaguid, data.credential_data.credential_id) == (b"a" * 16, b"an id")
        assert data.credential_data.public_key == KEY
