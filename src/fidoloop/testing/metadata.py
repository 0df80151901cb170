"""Metadata statements of the models under test, put where the server looks."""

import fcntl
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from fidoloop.api.phone import MetadataStatement
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.server.watched_files import RELOAD_MILLIS
from fidoloop.testing.server import Publish


def publish(directory: Path, statements: Iterable[MetadataStatement]) -> None:
    """Write `statements` into a directory that a server reads, one file per AAID.

    Attestation roots that a statement of the same AAID has already stay: several tokens, and several processes of one
    test run, are of one model.

    Raises:
        OSError: the directory cannot be written; MalformedError: it holds other things under these names.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for statement in statements:
            path = directory / f"{statement.aaid.replace('#', '-')}.json"
            roots = statement.attestationRootCertificates
            known = parse_metadata(path.read_bytes()).statement.attestationRootCertificates if path.exists() else ()
            merged = msgspec.structs.replace(
                statement, attestationRootCertificates=tuple(dict.fromkeys((*known, *roots)))
            )
            staged = path.with_suffix(".new")
            staged.write_text(strictjson.encode(merged), encoding="utf-8")
            staged.replace(path)


def publishing(directory: Path | None) -> Publish:
    """Return what publishes to a server that reads `directory` while it runs; None: it knows the models already."""

    def publish_and_wait(statements: Sequence[MetadataStatement]) -> None:
        if directory is None:
            return
        publish(directory, statements)
        # A server looks again at the first request after this: what it saw before is good no longer.
        time.sleep(RELOAD_MILLIS / 1000)

    return publish_and_wait
