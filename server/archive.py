"""What a backup is: a tar file, gzipped, of a manifest and the files that it names with their digests."""

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.errors import ServerError
from fidoloop.server.settings.layers import FILE_NAME

FORMAT = 1
DATABASE = "server.sqlite"
MANIFEST = "manifest.json"
DIRECTORIES = ("policies", "metadata", "fido2-metadata", "oauth", "tls")
MAX_MANIFEST_BYTES = 1 << 22
_CHUNK = 1 << 20
_NAMES = re.compile(
    rf"{re.escape(DATABASE)}|{re.escape(FILE_NAME)}|(policies|metadata|fido2-metadata|oauth)/[^/\x00]+\.json"
    r"|tls/[a-z]+\.(pem|key)|oauth/[0-9A-Za-z-]+\.pem"
)


class BackupError(ServerError):
    """A file is no backup, is damaged, or cannot be restored there."""

    code = "backup"


class FileEntry(msgspec.Struct, frozen=True):
    """One file; `sha256` is in hexadecimal."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds; `schema` is the number of the database's last migration, `created` ISO 8601 in UTC.

    Without a database, where that is PostgreSQL, `schema` is the last migration that the version of `fidoloop` knows.
    """

    format: int
    fidoloop: str
    created: str
    schema: int
    files: tuple[FileEntry, ...]

    @property
    def has_database(self) -> bool:
        """Whether the database is in it: none is where the server's is PostgreSQL."""
        return any(entry.name == DATABASE for entry in self.files)


def describe(path: Path, name: str) -> FileEntry:
    """Return the entry of the file at `path` under `name`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(name, path.stat().st_size, digest)


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """Open a backup for `extract`. Raises BackupError."""
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield _manifest(archive, path), archive
            # The checksum is behind the archive's end: it covers what no digest does.
            while stream.read(_CHUNK):
                continue
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise BackupError(f"{path}: damaged, or no backup ({error})") from None


def extract(manifest: Manifest, archive: tarfile.TarFile, directory: Path) -> None:
    """Write every file of a backup below the empty `directory`, its digest checked. Raises BackupError."""
    awaited = {entry.name: entry for entry in manifest.files}
    while (member := archive.next()) is not None:
        entry = awaited.pop(member.name, None)
        source = archive.extractfile(member) if member.isreg() else None
        if entry is None or source is None:
            raise BackupError(f"{member.name[:80]!r} is not in the manifest")
        if member.size != entry.size:
            raise BackupError(f"{entry.name} has {member.size} bytes, the manifest says {entry.size}")
        target = directory / entry.name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if _copy(source, target) != entry.sha256:
            raise BackupError(f"{entry.name} is damaged: its digest is not that of the manifest")
    if awaited:
        raise BackupError(f"{next(iter(awaited))} is missing")


def _manifest(archive: tarfile.TarFile, path: Path) -> Manifest:
    member = archive.next()
    source = archive.extractfile(member) if member is not None and member.name == MANIFEST and member.isreg() else None
    if source is None or member is None or member.size > MAX_MANIFEST_BYTES:
        raise BackupError(f"{path}: no backup: it does not begin with {MANIFEST}")
    try:
        manifest = strictjson.decode(source.read(), Manifest)
    except MalformedError as error:
        raise BackupError(f"{path}: {MANIFEST}: {error}") from None
    if manifest.format != FORMAT:
        raise BackupError(f"{path}: of format {manifest.format}, by fidoloop {manifest.fidoloop}; known is {FORMAT}")
    names = [entry.name for entry in manifest.files]
    wrong = next((name for name in names if not _NAMES.fullmatch(name) or names.count(name) > 1), None)
    if wrong is not None:
        raise BackupError(f"{path}: {MANIFEST}: {wrong!r}")
    return manifest


def _copy(source: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        # Certificates are for everybody, all else is the owner's.
        target.chmod(0o644 if target.suffix == ".pem" else 0o600)
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
