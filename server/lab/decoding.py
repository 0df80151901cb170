"""What was kept of a message, made readable: numbers by their names, assertions byte by byte, what WebAuthn signs."""

from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.dissect import dissect_assertion
from fidoloop.protocol.uaf.registry import (
    Algorithm,
    AttachmentHint,
    AttestationType,
    KeyProtection,
    MatcherProtection,
    TransactionConfirmationDisplay,
    UserVerification,
)
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode
from fidoloop.protocol.webauthn.attestation_object import parse_attestation_object
from fidoloop.protocol.webauthn.authenticator_data import AuthenticatorData, Flags, parse_authenticator_data
from fidoloop.server.lab.redaction import Json
from fidoloop.server.lab.stories import Change, Entry, Message

_NUMBERS: Final[Mapping[str, type[IntEnum] | type[IntFlag]]] = {
    "statusCode": StatusCode,
    "uafStatusCode": StatusCode,
    "asmStatusCode": AsmStatus,
    "clientErrorCode": ClientError,
    "userVerification": UserVerification,
    "keyProtection": KeyProtection,
    "matcherProtection": MatcherProtection,
    "attachmentHint": AttachmentHint,
    "tcDisplay": TransactionConfirmationDisplay,
    "authenticationAlgorithms": Algorithm,
    "attestationTypes": AttestationType,
}
"""Members whose numbers have names."""


def readable(entry: Entry) -> Json:
    """Return an entry of a story as JSON: codes named, bytes taken apart."""
    shown = msgspec.to_builtins(entry)
    if isinstance(entry, Message):
        return shown | {"request": _made_readable("", entry.request), "answer": _made_readable("", entry.answer)}
    return {name: _named(name, value) for name, value in shown.items()} if isinstance(entry, Change) else shown


def _made_readable(name: str, value: Json) -> Json:
    if isinstance(value, list):
        return [_made_readable(name, entry) for entry in value]
    if isinstance(value, dict):
        return {member: _made_readable(member, inner) for member, inner in value.items()}
    if isinstance(value, str) and name in _BYTES:
        return _taken_apart(_BYTES[name], value)
    return _named(name, value)


def _named(name: str, value: Json) -> Json:
    """Return a number with its name behind it, as dissected assertions have theirs: `1200 OK`."""
    names = _NUMBERS.get(name)
    if names is None or not isinstance(value, int):
        return value
    try:
        found = names(value).name
    except ValueError:
        return value
    return f"{value} {found}" if found else value


def _taken_apart(parse: Callable[[bytes], Json], text: str) -> Json:
    """Return what the bytes of `text` are made of, or the text where they are not what they should be."""
    try:
        return parse(base64url.decode(text, padding_allowed=True))
    except MalformedError:
        return text


def _assertion(data: bytes) -> Json:
    return msgspec.to_builtins(dissect_assertion(data))


def _attestation(data: bytes) -> Json:
    found = parse_attestation_object(data)
    return {"fmt": found.format, "authData": _signed(found.authenticator_data)}


def _authenticator_data(data: bytes) -> Json:
    return _signed(parse_authenticator_data(data))


def _signed(data: AuthenticatorData) -> Json:
    names = [str(flag.name) for flag in Flags if data.flags & flag]
    shown: dict[str, Json] = {
        "rpIdHash": data.rp_id_hash.hex(),
        "flags": f"{data.flags:#04x} {'|'.join(names)}".rstrip(),
        "signCount": data.sign_count,
    }
    if data.credential is not None:
        shown |= {"aaguid": data.credential.aaguid.hex(), "credentialId": base64url.encode(data.credential.id)}
    return shown


def _text(data: bytes) -> Json:
    """Return the text of a transaction; a picture of one stays as it is."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("content", "no text") from None


_BYTES: Final[Mapping[str, Callable[[bytes], Json]]] = {
    "assertion": _assertion,
    "attestationObject": _attestation,
    "authenticatorData": _authenticator_data,
    "content": _text,
}
"""Members that are base64url of bytes with a form."""
