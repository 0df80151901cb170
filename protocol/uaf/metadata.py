"""Metadata statements 1.1: what an AAID is, and what its attestation must chain to.

FIDO metadata statements 4; digest 9.1.
"""

from typing import Annotated

import msgspec
from cryptography import x509
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificates import load_base64_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, Version
from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.registry import AttestationType, UserVerification

MAX_STATEMENT_BYTES = 262144
UNACCEPTABLE_STATUSES = frozenset(
    {
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
        "REVOKED",
    }
)


class CodeAccuracy(msgspec.Struct, frozen=True, omit_defaults=True):
    """caDesc of a PIN or passcode; blockSlowdown in seconds."""

    base: int
    minLength: int
    maxRetries: int = 0
    blockSlowdown: int = 0


class VerificationMethod(msgspec.Struct, frozen=True, omit_defaults=True):
    """One user verification method and its quality."""

    userVerification: int
    caDesc: CodeAccuracy | UnsetType = UNSET


class MetadataStatement(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A metadata statement 1.1 of a UAF authenticator; roots are base64 DER, none for surrogate attestation."""

    aaid: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}$", max_length=9)]
    description: Annotated[str, Meta(min_length=1, max_length=200)]
    authenticatorVersion: Annotated[int, Meta(ge=0, le=0xFFFF)]
    protocolFamily: str = "uaf"
    upv: Annotated[tuple[Version, ...], Meta(min_length=1)]
    assertionScheme: str
    authenticationAlgorithm: int
    publicKeyAlgAndEncoding: int
    attestationTypes: Annotated[tuple[int, ...], Meta(min_length=1)]
    userVerificationDetails: Annotated[
        tuple[Annotated[tuple[VerificationMethod, ...], Meta(min_length=1)], ...], Meta(min_length=1)
    ]
    keyProtection: int
    isKeyRestricted: bool = True
    isFreshUserVerificationRequired: bool = True
    matcherProtection: int
    attachmentHint: int
    isSecondFactorOnly: bool
    tcDisplay: int
    tcDisplayContentType: str | UnsetType = UNSET
    tcDisplayPNGCharacteristics: tuple[DisplayPngCharacteristics, ...] | UnsetType = UNSET
    attestationRootCertificates: tuple[str, ...]
    icon: str | UnsetType = UNSET


class StatusReport(msgspec.Struct, frozen=True):
    """A status report of the metadata service."""

    status: str


class MetadataEntry(msgspec.Struct, frozen=True):
    """A statement made ready for use: its roots parsed, its policy facts worked out, its statuses beside it."""

    statement: MetadataStatement
    roots: tuple[x509.Certificate, ...]
    model_facts: AuthenticatorFacts
    status_reports: tuple[StatusReport, ...] = ()

    @property
    def unacceptable_status(self) -> str | None:
        """The latest status report, where it is one that forbids use (digest 9.1)."""
        if self.status_reports and self.status_reports[-1].status in UNACCEPTABLE_STATUSES:
            return self.status_reports[-1].status
        return None

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
        MalformedError: larger than 256 KiB, not such a document, a root that is no certificate.
    """
    if len(document) > MAX_STATEMENT_BYTES:
        raise MalformedError(where, f"{len(document)} bytes, at most {MAX_STATEMENT_BYTES} allowed")
    value = strictjson.loads(document, where)
    if isinstance(value, dict) and "metadataStatement" in value:
        entry = strictjson.convert(value, _Entry, where)
    else:
        entry = _Entry(strictjson.convert(value, MetadataStatement, where))
    roots = tuple(
        load_base64_certificate(text, f"{where}.attestationRootCertificates[{index}]")
        for index, text in enumerate(entry.metadataStatement.attestationRootCertificates)
    )
    statement = entry.metadataStatement
    if roots and set(statement.attestationTypes) == {AttestationType.BASIC_SURROGATE}:
        raise MalformedError(
            f"{where}.attestationRootCertificates", "roots for a model with surrogate attestation only"
        )
    return MetadataEntry(statement, roots, _model_facts(statement), entry.statusReports)


def _model_facts(statement: MetadataStatement) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        aaid=statement.aaid.upper(),
        key_ids=frozenset(),
        user_verification=combined_user_verification(statement),
        key_protection=statement.keyProtection,
        matcher_protection=statement.matcherProtection,
        attachment_hint=None,
        tc_display=statement.tcDisplay,
        algorithms=frozenset((statement.authenticationAlgorithm,)),
        assertion_schemes=frozenset((statement.assertionScheme,)),
        attestation_types=frozenset(statement.attestationTypes),
        version=statement.authenticatorVersion,
    )
