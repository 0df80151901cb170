"""`fidoloop server backup` and `restore`: the server's state in one file."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fidoloop.cli.common import note
from fidoloop.cli.server_common import Home, Json, say
from fidoloop.server.archive import BackupError, Manifest
from fidoloop.server.backup import back_up
from fidoloop.server.config import default_home, load_config
from fidoloop.server.home_lock import using_home
from fidoloop.server.restore import end_open_in
from fidoloop.server.restore import restore as restore_backup

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(
    file: _File,
    with_tls_keys: Annotated[
        bool,
        typer.Option(
            "--with-tls-keys",
            help="Private keys too: the lab CA's, the server's, those that sign tokens and attestations.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it is there.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the state to a file, while the server runs: database, fidoloop.toml, policies and metadata.

    Settings from the environment and the command line are not in it, nor certificate files that lie elsewhere, nor a
    database of PostgreSQL, whose backup is pg_dump.
    """
    if file.exists() and not force:
        raise BackupError(f"{file} is there already (--force replaces it)")
    directory = home or default_home()
    config = load_config(directory, fallback_base_url="https://localhost")
    with using_home(directory):
        manifest = back_up(config, file, with_tls_keys=with_tls_keys, at=datetime.now(UTC))
    if not manifest.has_database:
        note("the database is PostgreSQL and not in it: pg_dump is its backup")
    size = file.stat().st_size
    holds = "database" if manifest.has_database else "home"
    text = f"{file}: {len(manifest.files)} files, {size} bytes; it holds what the {holds} does: keep it as well"
    say(as_json, _members(manifest) | {"size": size}, text)


def restore(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The backup.", show_default=False)] = None,
    database_only: Annotated[
        bool,
        typer.Option(
            "--database-only",
            help="No FILE: end what was open in a database that pg_restore, or a copy of its file, has brought back.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Put a state that is there aside and take its place.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a backup the state of a home directory whose server is stopped; what was open in it ends.

    That is: tokens and requests, browsers' log-ins, OAuth codes and tokens. The backup is checked before anything
    changes, and takes its place as a whole.

    PostgreSQL: restore the home by FILE and the database by pg_restore, then run this with --database-only, before any
    server starts on it, on whatever node. It may be run again.
    """
    directory = home or default_home()
    if database_only:
        if file is not None or force:
            raise typer.BadParameter("--database-only is for a database that is restored already: no FILE, no --force")
        _end_open(directory, as_json=as_json)
        return
    if file is None:
        raise typer.BadParameter("name the FILE to restore, or give --database-only")
    done = asyncio.run(restore_backup(directory, file, force=force, at=datetime.now(UTC)))
    manifest = done.manifest
    if manifest.has_database:
        _warn(manifest.created)
    if not any(entry.name.startswith("tls/") for entry in manifest.files):
        note("no TLS keys were in the backup: without --tls-cert the lab CA stays that of the home, or is a new one")
    if not manifest.has_database:
        note("the database is PostgreSQL's: after pg_restore run `fidoloop server restore --database-only`")
    text = f"restored {directory} as of {manifest.created}"
    if done.replaced is not None:
        text += f"; what was there before is in {done.replaced}"
    say(as_json, _members(manifest) | {"replaced": done.replaced and str(done.replaced)}, text)


def _end_open(home: Path, *, as_json: bool) -> None:
    ended = asyncio.run(end_open_in(home, at=datetime.now(UTC)))
    _warn("the backup")
    text = f"ended: {ended.sessions} tokens and requests, {ended.oauth} of OAuth, {ended.web} of browsers"
    say(as_json, {"ended": ended._asdict()}, text)


def _warn(since: str) -> None:
    note(f"what was revoked or disabled after {since} is not any more: see to it")


def _members(manifest: Manifest) -> dict[str, Any]:
    return {
        "created": manifest.created,
        "fidoloop": manifest.fidoloop,
        "files": [entry.name for entry in manifest.files],
    }
