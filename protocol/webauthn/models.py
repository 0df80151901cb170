"""What the metadata service says of FIDO2 and U2F authenticators (FIDO metadata service 3.1; metadata statements 4)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from cryptography import x509
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificates import load_base64_certificates
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.status_reports import StatusReport

_AAGUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_KEY_ID = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)


class ModelStatement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of a metadata statement that a relying party looks at; roots are base64 DER."""

    description: Annotated[str, Meta(min_length=1, max_length=200)]
    protocolFamily: str
    attestationTypes: tuple[str, ...]
    attestationRootCertificates: tuple[str, ...]
    aaguid: str | UnsetType = UNSET
    attestationCertificateKeyIdentifiers: tuple[str, ...] | UnsetType = UNSET


class ModelEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the BLOB, or what is kept of it."""

    metadataStatement: ModelStatement
    aaguid: str | UnsetType = UNSET
    attestationCertificateKeyIdentifiers: tuple[str, ...] | UnsetType = UNSET
    statusReports: tuple[StatusReport, ...] = ()


class AuthenticatorModel(msgspec.Struct, frozen=True):
    """One model: an AAGUID in lower-case hexadecimal, or the SHA-1 key identifiers of its U2F certificates."""

    names: tuple[str, ...]
    entry: ModelEntry
    roots: tuple[x509.Certificate, ...]

    @property
    def description(self) -> str:
        """What people call it."""
        return self.entry.metadataStatement.description

    @property
    def attestation_types(self) -> frozenset[str]:
        """The types of its attestation, basic_full and so on."""
        return frozenset(self.entry.metadataStatement.attestationTypes)


class ModelLookup(Protocol):
    """Finds models by AAGUID (32 hexadecimal digits) or key identifier (40)."""

    def get(self, name: str) -> AuthenticatorModel | None:
        """Return the model of this name, None where there is none."""
        ...


def read_models(
    values: Sequence[Mapping[str, Any]], where: str = "$"
) -> tuple[list[AuthenticatorModel], list[tuple[str, str]]]:
    """Return the models among the entries of a BLOB, and the names of those that cannot be used, with the reason.

    Entries of other protocols are passed over.
    """
    models, unusable = [], []
    for index, value in enumerate(values):
        if not is_model(value):
            continue
        try:
            models.append(read_model(value, f"{where}[{index}]"))
        except MalformedError as error:
            unusable.append((_label(value), str(error)))
    return models, unusable


def is_model(value: object) -> bool:
    """Tell whether a JSON value is an entry, or a bare statement, of FIDO2 or U2F."""
    if not isinstance(value, dict) or "aaid" in value:
        return False
    statement = value.get("metadataStatement", value)
    return (
        "aaguid" in value or "attestationCertificateKeyIdentifiers" in value or _family(statement) in ("fido2", "u2f")
    )


def read_model(value: object, where: str = "$") -> AuthenticatorModel:
    """Return the model in parsed JSON: an entry, or a bare statement.

    Raises:
        MalformedError: no such entry, of neither FIDO2 nor U2F, without a name, or with a root that is no certificate.
    """
    wrapped = isinstance(value, dict) and "metadataStatement" in value
    entry = strictjson.convert(value if wrapped else {"metadataStatement": value}, ModelEntry, where)
    statement = entry.metadataStatement
    names = tuple(_names(entry, where))
    if statement.protocolFamily not in ("fido2", "u2f"):
        raise MalformedError(f"{where}.metadataStatement.protocolFamily", "neither fido2 nor u2f")
    path = f"{where}.metadataStatement.attestationRootCertificates"
    return AuthenticatorModel(names, entry, load_base64_certificates(statement.attestationRootCertificates, path))


def _names(entry: ModelEntry, where: str) -> Iterable[str]:
    aaguids = {_digits(found) for found in (entry.aaguid, entry.metadataStatement.aaguid) if found is not UNSET}
    if len(aaguids) > 1:
        raise MalformedError(f"{where}.aaguid", "is not the statement's")
    for aaguid in aaguids:
        if not _AAGUID.fullmatch(aaguid) or int(aaguid, 16) == 0:
            raise MalformedError(f"{where}.aaguid", "not an AAGUID")
    keys = entry.attestationCertificateKeyIdentifiers
    if keys is UNSET:
        keys = entry.metadataStatement.attestationCertificateKeyIdentifiers
    found = [] if keys is UNSET else [key.lower() for key in keys]
    if not all(_KEY_ID.fullmatch(key) for key in found):
        raise MalformedError(f"{where}.attestationCertificateKeyIdentifiers", "not SHA-1 in hexadecimal")
    if not aaguids and not found:
        raise MalformedError(where, "names neither an AAGUID nor key identifiers")
    return [*aaguids, *found]


def _digits(aaguid: str) -> str:
    return aaguid.replace("-", "").lower()


def _family(statement: object) -> object:
    return statement.get("protocolFamily") if isinstance(statement, dict) else None


def _label(value: Mapping[str, Any]) -> str:
    return str(value.get("aaguid") or value.get("attestationCertificateKeyIdentifiers"))[:60]
