"""Members of requests: the right type or CBOR_UNEXPECTED_TYPE, there or MISSING_PARAMETER (CTAP 2.1, section 8.2)."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fido2 import cbor
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.errors import ERR

T = TypeVar("T")
Members = Mapping[object, object]
PUBLIC_KEY = "public-key"


def typed(value: object, kind: type[T]) -> T:
    """Return `value` where it is of just this type: true is no number."""
    if type(value) is not kind:
        raise CtapError(ERR.CBOR_UNEXPECTED_TYPE)
    return value


def optional(members: Members, name: object, kind: type[T]) -> T | None:
    """Return a member, None where there is none."""
    return typed(members[name], kind) if name in members else None


def required(members: Members, name: object, kind: type[T]) -> T:
    """Return a member that has to be there."""
    if name not in members:
        raise CtapError(ERR.MISSING_PARAMETER)
    return typed(members[name], kind)


def unsigned(members: Members, name: object) -> int | None:
    """Return a member that is a number and not negative, None where there is none."""
    value = optional(members, name, int)
    if value is not None and value < 0:
        raise CtapError(ERR.CBOR_UNEXPECTED_TYPE)
    return value


def required_unsigned(members: Members, name: object) -> int:
    """Return a member that has to be there, a number and not negative."""
    value = unsigned(members, name)
    if value is None:
        raise CtapError(ERR.MISSING_PARAMETER)
    return value


def descriptor_id(item: object) -> bytes | None:
    """Return the id in a PublicKeyCredentialDescriptor, None where it is of a type that nobody knows."""
    descriptor: dict[Any, Any] = typed(item, dict)
    credential_id, kind = required(descriptor, "id", bytes), required(descriptor, "type", str)
    if "transports" in descriptor:
        for transport in typed(descriptor["transports"], list):
            typed(transport, str)
    return credential_id if kind == PUBLIC_KEY else None


def encoded(members: Members, name: object) -> bytes:
    """Return a member as the bytes it came in, which were canonical CBOR; none where there is no such member."""
    if name not in members:
        return b""
    value: Any = members[name]
    try:
        return cbor.encode(value)
    except ValueError:  # a null or a float, which no parameter is
        raise CtapError(ERR.CBOR_UNEXPECTED_TYPE) from None
