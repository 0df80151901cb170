"""Takes up the public metadata of the FIDO metadata service: a BLOB verified once, kept in a file per protocol."""

import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography import x509

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificates import load_pem_certificates
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, MetadataStatement
from fidoloop.protocol.uaf.metadata_blob import MAX_BLOB_BYTES, MetadataBlob, verify_metadata_blob
from fidoloop.protocol.uaf.status_reports import StatusReport
from fidoloop.protocol.webauthn.models import ModelEntry, read_models
from fidoloop.server.errors import ConfigError
from fidoloop.server.metadata import SERVICE_FILE, read_metadata_file


class KeptEntry(msgspec.Struct, frozen=True):
    """One model as it is kept: what verifying takes, in the numbers of version 1.1."""

    aaid: str
    metadataStatement: MetadataStatement
    statusReports: tuple[StatusReport, ...]


class KeptBlob(msgspec.Struct, frozen=True):
    """What is kept of a BLOB."""

    no: int
    nextUpdate: date
    entries: tuple[KeptEntry, ...]


class KeptModels(msgspec.Struct, frozen=True):
    """What is kept of the FIDO2 and U2F models of a BLOB."""

    no: int
    nextUpdate: date
    entries: tuple[ModelEntry, ...]


class _Known(msgspec.Struct, frozen=True):
    no: int = 0


class Imported(NamedTuple):
    """What an import did; the AAIDs are in upper case. `skipped` has the AAID and why.

    `models` is how many of FIDO2 and U2F there are, `skipped_models` those that cannot be used, and why.
    """

    blob: MetadataBlob
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    models: int
    skipped_models: tuple[tuple[str, str], ...]


def import_metadata(
    source: Path,
    directory: Path,
    models_directory: Path,
    *,
    roots: Sequence[Path],
    expected_signer: str | None,
    at: datetime,
) -> Imported:
    """Verify the BLOB in `source` by the certificates in the PEM files `roots`, and keep its entries.

    Those of UAF go to `directory`, those of FIDO2 and U2F to `models_directory`, and replace those of the BLOB before,
    each in one step; what the operator added himself stays, and goes before.

    Raises:
        ConfigError: a file cannot be read.
        MalformedError: the BLOB does not verify, or is older than the one before. Then nothing has changed.
    """
    target = directory / SERVICE_FILE
    there = target.exists()
    lowest_no = strictjson.decode(target.read_bytes(), _Known, str(target)).no if there else 0
    before = read_metadata_file(target) if there else []
    blob = verify_metadata_blob(
        _read(source, MAX_BLOB_BYTES),
        roots=[certificate for path in roots for certificate in _certificates(path)],
        at=at,
        expected_signer=expected_signer,
        lowest_no=lowest_no,
    )
    models, unusable = read_models(blob.others, "$.payload.entries")
    kept = KeptModels(blob.no, blob.next_update, tuple(model.entry for model in models))
    # The UAF entries last: their number says which BLOB is known.
    _replace(models_directory / SERVICE_FILE, strictjson.encode(kept).encode("utf-8"))
    _replace(target, strictjson.encode(_kept(blob)).encode("utf-8"))
    old = {entry.statement.aaid.upper() for entry in before}
    return Imported(
        blob,
        tuple(sorted(blob.entries.keys() - old)),
        tuple(sorted(blob.entries.keys() & old)),
        tuple(sorted(old - blob.entries.keys())),
        blob.unusable,
        len(models),
        tuple(unusable),
    )


def _kept(blob: MetadataBlob) -> KeptBlob:
    def kept(aaid: str, entry: MetadataEntry) -> KeptEntry:
        return KeptEntry(aaid, entry.statement, entry.status_reports)

    return KeptBlob(blob.no, blob.next_update, tuple(kept(aaid, blob.entries[aaid]) for aaid in sorted(blob.entries)))


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return load_pem_certificates(_read(path, 1 << 20))
    except ValueError:
        raise ConfigError(f"{path}: holds no certificate in PEM") from None


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > most_bytes:
        raise MalformedError(str(path), f"more than {most_bytes} bytes")
    return data


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step: whoever reads it sees the old one or the new one, after a crash too."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_suffix(".new")
    with staged.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
