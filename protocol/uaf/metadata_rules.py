"""What a metadata statement may not say: what contradicts itself, and what no registry knows.

FIDO metadata statements 4; FIDO registry 3.1 to 3.6; digest 9 and 9.1.
"""

from enum import IntFlag
from typing import TYPE_CHECKING

from msgspec import UNSET

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.metadata_names import known
from fidoloop.protocol.uaf.public_keys import holds
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

if TYPE_CHECKING:
    from fidoloop.protocol.uaf.metadata import MetadataStatement

_IMPLEMENTATIONS = KeyProtection.HARDWARE | KeyProtection.TEE | KeyProtection.SECURE_ELEMENT


def check_statement(statement: "MetadataStatement", where: str) -> None:
    """Refuse a statement that contradicts itself, or names what no registry has.

    Raises:
        MalformedError: `where` is the member's path, `what` the rule.
    """
    if statement.protocolFamily != "uaf":
        raise MalformedError(f"{where}.protocolFamily", "not uaf")
    if statement.assertionScheme != ASSERTION_SCHEME:
        raise MalformedError(f"{where}.assertionScheme", f"not {ASSERTION_SCHEME}")
    if statement.aaguid is not UNSET:
        raise MalformedError(f"{where}.aaguid", "beside an aaid")
    _check_algorithms(statement, where)
    _check_attestation(statement, where)
    _check_user_verification(statement, where)
    _check_key_protection(KeyProtection(statement.keyProtection), f"{where}.keyProtection")
    _check_single_bit(MatcherProtection, statement.matcherProtection, f"{where}.matcherProtection")
    _check_known_bits(AttachmentHint, statement.attachmentHint, f"{where}.attachmentHint")
    if statement.attachmentHint & AttachmentHint.INTERNAL and statement.attachmentHint != AttachmentHint.INTERNAL:
        raise MalformedError(f"{where}.attachmentHint", "internal together with another")
    _check_known_bits(TransactionConfirmationDisplay, statement.tcDisplay, f"{where}.tcDisplay")
    if not statement.tcDisplay and (statement.tcDisplayContentType or statement.tcDisplayPNGCharacteristics):
        raise MalformedError(f"{where}.tcDisplay", "none, though it is said what it shows")


def _check_algorithms(statement: "MetadataStatement", where: str) -> None:
    """Every algorithm and format is of the registry, and for each of one kind there is one of the other."""
    for several, single, found, kind in (
        (statement.authenticationAlgorithms, statement.authenticationAlgorithm, "authenticationAlgorithm", Algorithm),
        (
            statement.publicKeyAlgAndEncodings,
            statement.publicKeyAlgAndEncoding,
            "publicKeyAlgAndEncoding",
            PublicKeyFormat,
        ),
    ):
        if several is not UNSET and single not in several:
            raise MalformedError(f"{where}.{found}", f"not one of the {found}s")
        for value in several or (single,):
            if not known(kind, value):
                raise MalformedError(f"{where}.{found}", f"{value} is not of the registry")
    # Of an algorithm that is not supported it is not known what its keys are; registering such a one is refused.
    rows = [ALGORITHMS[algorithm] for algorithm in statement.algorithms if algorithm in ALGORITHMS]
    if len(rows) < len(statement.algorithms):
        return
    fits = [[holds(key_format, row) for row in rows] for key_format in statement.key_formats]
    if not all(map(any, fits)) or not all(map(any, zip(*fits, strict=True))):
        raise MalformedError(f"{where}.publicKeyAlgAndEncoding", "holds no key of the algorithm")


def _check_attestation(statement: "MetadataStatement", where: str) -> None:
    for kind in statement.attestationTypes:
        if not known(AttestationType, kind):
            raise MalformedError(f"{where}.attestationTypes", f"{kind} is not of the registry")
    if statement.attestationRootCertificates and set(statement.attestationTypes) == {AttestationType.BASIC_SURROGATE}:
        raise MalformedError(
            f"{where}.attestationRootCertificates", "roots for a model with surrogate attestation only"
        )


def _check_user_verification(statement: "MetadataStatement", where: str) -> None:
    """Each method is one of the registry; none at all is not a method beside others."""
    path = f"{where}.userVerificationDetails"
    for methods in statement.userVerificationDetails:
        for method in methods:
            _check_single_bit(UserVerification, method.userVerification, path)
        if len(methods) > 1 and any(method.userVerification == UserVerification.NONE for method in methods):
            raise MalformedError(path, "none together with another method")


def _check_key_protection(value: KeyProtection, where: str) -> None:
    """FIDO registry 3.2: software or hardware; in hardware perhaps a TEE or a secure element; wrapped keys besides."""
    _check_known_bits(KeyProtection, value, where)
    if not value & ~KeyProtection.REMOTE_HANDLE:
        raise MalformedError(where, "does not say where keys are protected")
    if value & KeyProtection.SOFTWARE and value & _IMPLEMENTATIONS:
        raise MalformedError(where, "software together with hardware")
    if value & _IMPLEMENTATIONS and not value & KeyProtection.HARDWARE:
        raise MalformedError(where, "a TEE or secure element without hardware")
    if value & KeyProtection.TEE and value & KeyProtection.SECURE_ELEMENT:
        raise MalformedError(where, "a TEE together with a secure element")


def _check_single_bit(kind: type[IntFlag], value: int, where: str) -> None:
    _check_known_bits(kind, value, where)
    if value.bit_count() != 1:
        raise MalformedError(where, f"{value.bit_count()} values, exactly one expected")


def _check_known_bits(kind: type[IntFlag], value: int, where: str) -> None:
    if value & ~sum(int(bit) for bit in kind):
        raise MalformedError(where, f"0x{value:X} has bits that no registry has")
