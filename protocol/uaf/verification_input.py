"""What `fidoloop verify` reads: a response, and beside it what is known of keys, roots, transactions and time."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from cryptography import x509
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.certificates import load_base64_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import UafResponse, UInt16, decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry, read_entry
from fidoloop.protocol.uaf.verify_authentication_response import StoredKey

MAX_INPUT_BYTES = 1 << 20
# 10^11 seconds are the year 5138: a larger number counts milliseconds.
_FIRST_MILLISECONDS = 10**11


class VerificationInput(msgspec.Struct, frozen=True, kw_only=True):
    """A response and what was given with it; None where nothing was given.

    `models` are metadata entries by AAID, and where there is one, its roots count and not `roots`.

    `keys` are the stored keys by (AAID, base64url KeyID), `transactions` the decoded contents asked for, `at` the
    time to judge certificates by; `fc_params_known` is False where fcParams is a stand-in for one not published.
    """

    response: UafResponse
    keys: dict[tuple[str, str], StoredKey] | None = None
    roots: tuple[x509.Certificate, ...] | None = None
    transactions: tuple[bytes, ...] | None = None
    at: datetime | None = None
    models: dict[str, MetadataEntry] | None = None
    fc_params_known: bool = True


class _Registration(msgspec.Struct, frozen=True):
    aaid: str
    keyID: str
    publicKey: str
    sigAlg: UInt16
    keyAlg: UInt16
    signCounter: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0


class _Document(msgspec.Struct, frozen=True):
    registrations: tuple[_Registration, ...] | UnsetType = UNSET
    roots: tuple[str, ...] | UnsetType = UNSET
    transactions: tuple[str, ...] | UnsetType = UNSET
    at: str | int | float | UnsetType = UNSET
    metadata: tuple[dict[str, Any], ...] | UnsetType = UNSET
    fcParamsPublished: bool = True


def parse_verification_input(data: bytes) -> VerificationInput:
    """Return what the JSON text `data` holds.

    It is {"response", "registrations"?, "roots"?: [base64 DER], "metadata"?: [statement or entry],
    "transactions"?: [base64url], "at"?}, where the response is the array of one or its JSON text; that object in an
    array of one; or a response alone, as the array or as the body {"uafResponse"} it was sent in. `at` is ISO 8601
    text (UTC unless it says otherwise) or a number of seconds, or milliseconds, since 1970.

    Raises:
        MalformedError: none of these; `where` is the path into the input.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise MalformedError("$", f"{len(data)} bytes, at most {MAX_INPUT_BYTES} allowed")
    value = strictjson.loads(data)
    where = "$"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "response" in value[0]:
        if len(value) > 1:
            raise MalformedError("$", f"{len(value)} responses, one expected")
        value, where = value[0], "$[0]"
    if isinstance(value, dict):
        for name in ("response", "uafResponse"):
            if name in value:
                return _given(value, _response(value[name], f"{where}.{name}"), where)
    return VerificationInput(response=_response(value, where))


def _response(value: object, where: str) -> UafResponse:
    if isinstance(value, str):
        return decode_response(value, where)
    return strictjson.convert(value, tuple[UafResponse], where)[0]


def _given(value: dict[str, Any], response: UafResponse, where: str) -> VerificationInput:
    document = strictjson.convert(value, _Document, where)
    keys = roots = transactions = None
    if document.registrations is not UNSET:
        stored = [
            _stored_key(registration, f"{where}.registrations[{index}]")
            for index, registration in enumerate(document.registrations)
        ]
        keys = {(key.aaid, key.key_id): key for key in stored}
    if document.roots is not UNSET:
        roots = tuple(
            load_base64_certificate(text, f"{where}.roots[{index}]") for index, text in enumerate(document.roots)
        )
    if document.transactions is not UNSET:
        transactions = tuple(
            base64url.decode_lenient(text, f"{where}.transactions[{index}]")
            for index, text in enumerate(document.transactions)
        )
    return VerificationInput(
        response=response,
        keys=keys,
        roots=roots,
        transactions=transactions,
        models=None if document.metadata is UNSET else _models(document.metadata, f"{where}.metadata"),
        at=None if document.at is UNSET else _time(document.at, f"{where}.at"),
        fc_params_known=document.fcParamsPublished,
    )


def _models(values: tuple[dict[str, Any], ...], where: str) -> dict[str, MetadataEntry]:
    entries = [read_entry(value, f"{where}[{index}]") for index, value in enumerate(values)]
    return {entry.statement.aaid.upper(): entry for entry in entries}


def _stored_key(registration: _Registration, where: str) -> StoredKey:
    key_id = base64url.decode(registration.keyID, f"{where}.keyID", padding_allowed=True)
    return StoredKey(
        owner="",
        aaid=registration.aaid.upper(),
        key_id=base64url.encode(key_id),
        public_key=base64url.decode(registration.publicKey, f"{where}.publicKey", padding_allowed=True),
        public_key_format=registration.keyAlg,
        signature_algorithm=registration.sigAlg,
        sign_counter=registration.signCounter,
    )


def _time(value: str | float, where: str) -> datetime:
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value if abs(value) < _FIRST_MILLISECONDS else value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise MalformedError(where, "neither ISO 8601 nor a time since 1970") from None
