"""Parameters of makeCredential and getAssertion, read and held against the limits (CTAP 2.1, sections 6.1.1, 6.2.1)."""

from typing import Any

import msgspec
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.limits import MAX_LIST, MAX_NAME, MAX_RP_ID, MAX_USER_ID
from fidoloop.authenticator.ctap2.members import (
    PUBLIC_KEY,
    Members,
    descriptor_id,
    optional,
    required,
    typed,
    unsigned,
)

HASH_BYTES = 32


class User(msgspec.Struct, frozen=True):
    """PublicKeyCredentialUserEntity, its names cut to what is kept."""

    user_id: bytes
    name: str | None = None
    display_name: str | None = None


class Options(msgspec.Struct, frozen=True):
    """Known options; None where absent."""

    resident: bool | None = None
    user_presence: bool | None = None
    user_verification: bool | None = None


_NO_OPTIONS = Options()


class MakeCredentialRequest(msgspec.Struct, frozen=True):
    """`algorithms` are the COSE numbers of public-key entries; `exclude` ids of that type."""

    client_data_hash: bytes
    rp_id: str
    user: User
    algorithms: list[int]
    exclude: list[bytes]
    extensions: Members
    options: Options
    auth_parameter: bytes | None
    auth_protocol: int | None
    enterprise_attestation: int | None


class GetAssertionRequest(msgspec.Struct, frozen=True):
    """`allow` is empty where there was no list; `listed` tells whether there was one with anything in it."""

    rp_id: str
    client_data_hash: bytes
    allow: list[bytes]
    listed: bool
    extensions: Members
    options: Options
    auth_parameter: bytes | None
    auth_protocol: int | None


def read_make_credential(members: Members) -> MakeCredentialRequest:
    """Read the parameters. Raises CtapError."""
    client_data_hash = _client_data_hash(members, 0x01)
    rp: dict[Any, Any] = required(members, 0x02, dict)
    rp_id = _rp_id(required(rp, "id", str))
    _texts(rp, "name", "icon")
    user = read_user(required(members, 0x03, dict))
    algorithms = [_algorithm(item) for item in required(members, 0x04, list)]
    return MakeCredentialRequest(
        client_data_hash=client_data_hash,
        rp_id=rp_id,
        user=user,
        algorithms=[algorithm for algorithm in algorithms if algorithm is not None],
        exclude=_descriptors(optional(members, 0x05, list)),
        extensions=_extensions(members, 0x06),
        options=_options(members, 0x07),
        auth_parameter=optional(members, 0x08, bytes),
        auth_protocol=unsigned(members, 0x09),
        enterprise_attestation=unsigned(members, 0x0A),
    )


def read_get_assertion(members: Members) -> GetAssertionRequest:
    """Read the parameters. Raises CtapError."""
    listed = optional(members, 0x03, list)
    return GetAssertionRequest(
        rp_id=_rp_id(required(members, 0x01, str)),
        client_data_hash=_client_data_hash(members, 0x02),
        allow=_descriptors(listed),
        listed=bool(listed),
        extensions=_extensions(members, 0x04),
        options=_options(members, 0x05),
        auth_parameter=optional(members, 0x06, bytes),
        auth_protocol=unsigned(members, 0x07),
    )


def read_user(entity: Members) -> User:
    """Read a PublicKeyCredentialUserEntity. Raises CtapError."""
    user_id = required(entity, "id", bytes)
    if not 1 <= len(user_id) <= MAX_USER_ID:
        raise CtapError(ERR.INVALID_LENGTH)
    _texts(entity, "icon")
    return User(user_id, _cut(optional(entity, "name", str)), _cut(optional(entity, "displayName", str)))


def _client_data_hash(members: Members, name: int) -> bytes:
    value = required(members, name, bytes)
    if len(value) != HASH_BYTES:
        raise CtapError(ERR.INVALID_LENGTH)
    return value


def _rp_id(rp_id: str) -> str:
    if not 1 <= len(rp_id.encode()) <= MAX_RP_ID:
        raise CtapError(ERR.INVALID_LENGTH)
    return rp_id


def _texts(entity: Members, *names: str) -> None:
    for name in names:
        optional(entity, name, str)


def _cut(name: str | None) -> str | None:
    """Cut a name to the bytes that are kept, between characters."""
    return None if name is None else name.encode()[:MAX_NAME].decode(errors="ignore")


def _algorithm(item: object) -> int | None:
    parameters: dict[Any, Any] = typed(item, dict)
    kind, algorithm = required(parameters, "type", str), required(parameters, "alg", int)
    return algorithm if kind == PUBLIC_KEY else None


def _descriptors(items: list[object] | None) -> list[bytes]:
    if items is None:
        return []
    if len(items) > MAX_LIST:
        raise CtapError(ERR.LIMIT_EXCEEDED)
    found = [descriptor_id(item) for item in items]
    return [credential_id for credential_id in found if credential_id is not None]


def _extensions(members: Members, name: int) -> Members:
    if name not in members:
        return {}
    found: dict[Any, Any] = typed(members[name], dict)
    for identifier in found:
        typed(identifier, str)
    return found


def _options(members: Members, name: int) -> Options:
    if name not in members:
        return _NO_OPTIONS
    found: dict[Any, Any] = typed(members[name], dict)
    for identifier in found:
        typed(identifier, str)
    return Options(optional(found, "rk", bool), optional(found, "up", bool), optional(found, "uv", bool))
