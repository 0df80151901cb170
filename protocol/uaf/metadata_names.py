"""Statements of the metadata service 3 as those of version 1.1: names become numbers, lists of bits one number.

Digest 9.2. What is a number already stays one: both spellings are met in one statement.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.registry import (
    ASSERTION_SCHEME,
    Algorithm,
    AttachmentHint,
    AttestationType,
    KeyProtection,
    MatcherProtection,
    PublicKeyFormat,
    TransactionConfirmationDisplay,
    UserVerification,
)

SCHEMA = 3

_ALGORITHMS = {algorithm.name.lower(): int(algorithm) for algorithm in Algorithm}
_KEY_FORMATS = {key_format.name.lower(): int(key_format) for key_format in PublicKeyFormat}
_ATTESTATION_TYPES = {kind.name.lower(): int(kind) for kind in AttestationType}
_FLAGS: Mapping[str, Mapping[str, int]] = {
    "keyProtection": {str(bit.name).lower(): int(bit) for bit in KeyProtection},
    "matcherProtection": {str(bit.name).lower(): int(bit) for bit in MatcherProtection},
    "attachmentHint": {str(bit.name).lower(): int(bit) for bit in AttachmentHint},
    "tcDisplay": {str(bit.name).lower(): int(bit) for bit in TransactionConfirmationDisplay},
}
# Where the registry of today says _INTERNAL, that of UAF 1.1 says nothing: both are read.
_NOT_INTERNAL = (UserVerification.NONE, UserVerification.ALL)
_METHODS = {str(bit.name).lower(): int(bit) for bit in UserVerification} | {
    f"{str(bit.name).lower()}_internal": int(bit)
    for bit in UserVerification
    if bit not in _NOT_INTERNAL and not str(bit.name).endswith("_EXTERNAL")
}
_LISTS: Mapping[str, Mapping[str, int]] = {
    "authenticationAlgorithms": _ALGORITHMS,
    "publicKeyAlgAndEncodings": _KEY_FORMATS,
    "attestationTypes": _ATTESTATION_TYPES,
}
_SINGLE = {"authenticationAlgorithms": "authenticationAlgorithm", "publicKeyAlgAndEncodings": "publicKeyAlgAndEncoding"}


def in_numbers(statement: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `statement` with numbers for names, and what version 1.1 has and version 3 has not at its usual value.

    Raises:
        MalformedError: a name that no registry has.
    """
    found = dict(statement)
    for member, names in _LISTS.items():
        if isinstance(found.get(member), list):
            found[member] = _each(
                found[member], f"{where}.{member}", lambda name, path, names=names: _number(name, names, path)
            )
    for member, names in _FLAGS.items():
        if isinstance(found.get(member), list):
            bits = _each(found[member], f"{where}.{member}", lambda name, path, names=names: _number(name, names, path))
            found[member] = _joined(bits, f"{where}.{member}")
    if isinstance(found.get("userVerificationDetails"), list):
        path = f"{where}.userVerificationDetails"
        found["userVerificationDetails"] = _each(
            found["userVerificationDetails"], path, lambda methods, at: _each(methods, at, _method)
        )
    for several, single in _SINGLE.items():
        values = found.get(several)
        if single not in found and isinstance(values, list) and values:
            found[single] = values[0]
    if found.get("schema") == SCHEMA:
        defaults = {"assertionScheme": ASSERTION_SCHEME, "isSecondFactorOnly": False, "tcDisplay": 0}
        found = defaults | found
    return found


def _each(values: Any, where: str, convert: Callable[..., Any]) -> Any:  # noqa: ANN401 - JSON not yet typed
    """Return a list converted item by item; anything else as it is, for the typed reading to refuse."""
    if not isinstance(values, list):
        return values
    return [convert(value, f"{where}[{index}]") for index, value in enumerate(values)]


def _number(value: object, names: Mapping[str, int], where: str) -> object:
    if not isinstance(value, str):
        return value
    if value not in names:
        raise MalformedError(where, f"{value[:40]!r} is no name of the registry")
    return names[value]


def _joined(bits: list[Any], where: str) -> int:
    joined = 0
    for bit in bits:
        if type(bit) is not int:
            raise MalformedError(where, "neither names nor numbers")
        joined |= bit
    return joined


def _method(value: object, where: str) -> object:
    if not isinstance(value, dict) or "userVerificationMethod" not in value:
        return value
    method = _number(value["userVerificationMethod"], _METHODS, f"{where}.userVerificationMethod")
    return {**value, "userVerification": method}


def known(kind: type[IntEnum], value: int) -> bool:
    """Tell whether a registry has `value`."""
    return value in kind.__members__.values()
