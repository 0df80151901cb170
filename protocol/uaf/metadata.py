"""Metadata statements, of version 1.1 and of the metadata service 3: what an AAID is, what its attestation chains to.

FIDO metadata statements 4; digest 9.1, 9.2.
"""

from datetime import date
from typing import Annotated

import msgspec
from cryptography import x509
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificates import load_base64_certificates
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.android_key_attestation import load_key_attestation_roots
from fidoloop.protocol.uaf.extensions import ANDROID_KEY_ATTESTATION
from fidoloop.protocol.uaf.match_criteria import AuthenticatorFacts, NonEmptyInts, UInt16, UInt32
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, Version
from fidoloop.protocol.uaf.metadata_names import in_numbers
from fidoloop.protocol.uaf.metadata_rules import check_statement
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.status_reports import StatusReport, unacceptable_status

MAX_STATEMENT_BYTES = 262144


class CodeAccuracy(msgspec.Struct, frozen=True, omit_defaults=True):
    """caDesc of a PIN or passcode; blockSlowdown in seconds."""

    base: int
    minLength: int
    maxRetries: int = 0
    blockSlowdown: int = 0


class VerificationMethod(msgspec.Struct, frozen=True, omit_defaults=True):
    """One user verification method and its quality."""

    userVerification: UInt32
    caDesc: CodeAccuracy | UnsetType = UNSET


class SupportedExtension(msgspec.Struct, frozen=True):
    """An extension that a model knows; what `data` means is the extension's own."""

    id: Annotated[str, Meta(min_length=1, max_length=32)]
    data: str | UnsetType = UNSET
    fail_if_unknown: bool = False


class MetadataStatement(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A metadata statement of a UAF authenticator; roots are base64 DER, none for surrogate attestation.

    Members are those of version 1.1; version 3 says several algorithms and key formats, of which the first stands
    under the name of 1.1 too.
    """

    schema: int | UnsetType = UNSET
    aaid: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}$", max_length=9)]
    description: Annotated[str, Meta(min_length=1, max_length=200)]
    authenticatorVersion: Annotated[int, Meta(ge=0, le=0xFFFF)]
    protocolFamily: str = "uaf"
    upv: Annotated[tuple[Version, ...], Meta(min_length=1)]
    assertionScheme: str
    authenticationAlgorithm: int
    authenticationAlgorithms: NonEmptyInts | UnsetType = UNSET
    publicKeyAlgAndEncoding: int
    publicKeyAlgAndEncodings: NonEmptyInts | UnsetType = UNSET
    attestationTypes: Annotated[tuple[int, ...], Meta(min_length=1)]
    userVerificationDetails: Annotated[
        tuple[Annotated[tuple[VerificationMethod, ...], Meta(min_length=1)], ...], Meta(min_length=1)
    ]
    keyProtection: UInt16
    isKeyRestricted: bool = True
    isFreshUserVerificationRequired: bool = True
    matcherProtection: UInt16
    attachmentHint: UInt32
    isSecondFactorOnly: bool
    tcDisplay: UInt16
    tcDisplayContentType: str | UnsetType = UNSET
    tcDisplayPNGCharacteristics: tuple[DisplayPngCharacteristics, ...] | UnsetType = UNSET
    attestationRootCertificates: tuple[str, ...]
    icon: str | UnsetType = UNSET
    aaguid: str | UnsetType = UNSET
    supportedExtensions: tuple[SupportedExtension, ...] | UnsetType = UNSET

    @property
    def algorithms(self) -> tuple[int, ...]:
        """ALG_SIGN of the keys this model makes."""
        return self.authenticationAlgorithms or (self.authenticationAlgorithm,)

    @property
    def key_formats(self) -> tuple[int, ...]:
        """ALG_KEY in which it hands them out."""
        return self.publicKeyAlgAndEncodings or (self.publicKeyAlgAndEncoding,)


class MetadataEntry(msgspec.Struct, frozen=True):
    """A statement made ready for use: its roots parsed, its policy facts worked out, its statuses beside it.

    `key_attestation_roots` is None where the model does not support Android's key attestation, or names no roots.
    """

    statement: MetadataStatement
    roots: tuple[x509.Certificate, ...]
    model_facts: AuthenticatorFacts
    key_attestation_roots: tuple[x509.Certificate, ...] | None = None
    status_reports: tuple[StatusReport, ...] = ()

    def check_status(self, *, version: int, on: date | None) -> None:
        """Refuse an authenticator of `version` where a status report in force on the day `on` forbids its use.

        Raises:
            UafRefusal: REVOKED_AUTHENTICATOR.
        """
        status = unacceptable_status(self.status_reports, version=version, on=on)
        if status is not None:
            raise UafRefusal(StatusCode.REVOKED_AUTHENTICATOR, f"{self.statement.aaid}: {status}")

    def facts(self, *, key_id: str, version: int, attestation_type: int | None = None) -> AuthenticatorFacts:
        """Return what a policy sees of an assertion by this model; attachment hints never decide on the server."""
        model = self.model_facts
        return AuthenticatorFacts(
            model.aaid,
            frozenset((key_id,)),
            model.user_verification,
            model.key_protection,
            model.matcher_protection,
            None,
            model.tc_display,
            model.algorithms,
            model.assertion_schemes,
            model.attestation_types if attestation_type is None else frozenset((attestation_type,)),
            version,
        )


class _Entry(msgspec.Struct, frozen=True):
    metadataStatement: MetadataStatement
    aaid: str | UnsetType = UNSET
    statusReports: tuple[StatusReport, ...] = ()


def combined_user_verification(statement: MetadataStatement) -> int:
    """Return the statement's userVerificationDetails as one bit field (digest section 2).

    Several alternatives of which one needs several methods cannot be said in one field: then it is 0, which
    only an AAID list matches.
    """
    alternatives = statement.userVerificationDetails
    if len(alternatives) == 1:
        methods = alternatives[0]
        combined = 0
        for method in methods:
            combined |= method.userVerification
        return combined | UserVerification.ALL if len(methods) > 1 else combined
    if any(len(methods) > 1 for methods in alternatives):
        return 0
    combined = 0
    for methods in alternatives:
        combined |= methods[0].userVerification
    return combined


def parse_metadata(document: bytes, where: str = "$") -> MetadataEntry:
    """Return the entry in `document`: a bare statement, or {"metadataStatement", "statusReports"}.

    Raises:
        MalformedError: larger than 256 KiB, not such a document, a statement that contradicts itself, a root that
            is no certificate.
    """
    if len(document) > MAX_STATEMENT_BYTES:
        raise MalformedError(where, f"{len(document)} bytes, at most {MAX_STATEMENT_BYTES} allowed")
    return read_entry(strictjson.loads(document, where), where)


def read_entry(value: object, where: str) -> MetadataEntry:
    """Return the entry in parsed JSON, as `parse_metadata`.

    Raises:
        MalformedError: as `parse_metadata`.
    """
    wrapped = isinstance(value, dict) and "metadataStatement" in value
    path = f"{where}.metadataStatement" if wrapped else where
    members = value if isinstance(value, dict) and wrapped else {"metadataStatement": value}
    statement = members["metadataStatement"]
    if not isinstance(statement, dict):
        raise MalformedError(path, "not a metadata statement")
    entry = strictjson.convert({**members, "metadataStatement": in_numbers(statement, path)}, _Entry, where)
    found = entry.metadataStatement
    if entry.aaid is not UNSET and entry.aaid.upper() != found.aaid.upper():
        raise MalformedError(f"{where}.aaid", "is not the statement's")
    check_statement(found, path)
    roots = load_base64_certificates(found.attestationRootCertificates, f"{path}.attestationRootCertificates")
    return MetadataEntry(
        found, roots, _model_facts(found), _key_attestation_roots(found, path), status_reports=entry.statusReports
    )


def _key_attestation_roots(statement: MetadataStatement, where: str) -> tuple[x509.Certificate, ...] | None:
    for index, extension in enumerate(statement.supportedExtensions or ()):
        if extension.id == ANDROID_KEY_ATTESTATION and extension.data:
            return load_key_attestation_roots(extension.data, f"{where}.supportedExtensions[{index}].data")
    return None


def _model_facts(statement: MetadataStatement) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        aaid=statement.aaid.upper(),
        key_ids=frozenset(),
        user_verification=combined_user_verification(statement),
        key_protection=statement.keyProtection,
        matcher_protection=statement.matcherProtection,
        attachment_hint=None,
        tc_display=statement.tcDisplay,
        algorithms=frozenset(statement.algorithms),
        assertion_schemes=frozenset((statement.assertionScheme,)),
        attestation_types=frozenset(statement.attestationTypes),
        version=statement.authenticatorVersion,
    )
