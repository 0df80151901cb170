"""The attestation object (WebAuthn 6.5.4): format, statement, and the authenticator data that it is about."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.authenticator_data import (
    AttestedCredential,
    AuthenticatorData,
    parse_authenticator_data,
)


class AttestationObject(NamedTuple):
    """An attestation object; `credential` is that of its authenticator data."""

    format: str
    statement: Mapping[object, Any]
    authenticator_data: AuthenticatorData
    credential: AttestedCredential


def parse_attestation_object(raw: bytes) -> AttestationObject:
    """Return the attestation object in `raw`.

    Raises:
        MalformedError: not CBOR, other members than its three, or authenticator data without a credential.
    """
    where = "attestationObject"
    try:
        members = canonical_cbor.decode(raw)
    except canonical_cbor.CborError as error:
        raise MalformedError(where, str(error)) from None
    if not isinstance(members, dict) or set(members) != {"fmt", "attStmt", "authData"}:
        raise MalformedError(where, "has not the members fmt, attStmt and authData")
    format_, statement, data = members["fmt"], members["attStmt"], members["authData"]
    if not isinstance(format_, str) or not isinstance(statement, dict) or not isinstance(data, bytes):
        raise MalformedError(where, "a member is of another type")
    authenticator_data = parse_authenticator_data(data)
    if authenticator_data.credential is None:
        raise MalformedError("authenticatorData", "has no attested credential data (AT)")
    return AttestationObject(format_, statement, authenticator_data, authenticator_data.credential)
