"""`fidoloop server metadata`: the models of authenticators that the server knows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fidoloop.cli.common import note, printable
from fidoloop.cli.server_common import Home, Json, say, show_rows
from fidoloop.protocol.uaf.metadata_blob import FIDO_SIGNER
from fidoloop.protocol.uaf.status_reports import unacceptable_status
from fidoloop.server.config import FIDO2_METADATA, default_home
from fidoloop.server.environment import system_clock
from fidoloop.server.fido2.models import ModelDirectory, add_model_file, is_model_file
from fidoloop.server.metadata import SERVICE_FILE, MetadataDirectory, add_metadata_file
from fidoloop.server.metadata_import import Imported, import_metadata

app = typer.Typer(no_args_is_help=True, help="Metadata statements of authenticator models.")
_ANY_VERSION = 0xFFFFFFFF
_MOST_SHOWN = 6


@app.command("add")
def metadata_add(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Metadata statements of UAF, FIDO2 or U2F, JSON.")
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check metadata statements and hand them to the server, which takes them up within a second."""
    aaids, names, lines = [], [], []
    for file in files:
        if is_model_file(file):
            model = add_model_file(file, _models_directory(home))
            names.append(model.names[0])
            lines.append(f"added {model.names[0]}: {model.description}")
        else:
            statement = add_metadata_file(file, _directory(home)).statement
            aaids.append(statement.aaid)
            lines.append(f"added {statement.aaid}: {statement.description}")
    if len(lines) > _MOST_SHOWN:
        lines[_MOST_SHOWN - 1 :] = [f"and {len(lines) - _MOST_SHOWN + 1} more: `fidoloop server metadata list`"]
    say(as_json, {"aaids": aaids, "fido2": names}, "\n".join(lines))


@app.command("list")
def metadata_list(
    fido2: Annotated[bool, typer.Option("--fido2", help="Those of FIDO2 and U2F instead of UAF.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the models that the server knows, and those it refuses by their status."""
    if fido2:
        show_rows(as_json, "models", ("name", "description", "refused", "origin"), _fido2_rows(home))
        return
    directory = MetadataDirectory(_directory(home))
    directory.refresh(system_clock())
    today = datetime.now(UTC).date()
    rows: list[dict[str, Any]] = [
        {
            "aaid": entry.statement.aaid,
            "description": entry.statement.description,
            "version": entry.statement.authenticatorVersion,
            "refused": unacceptable_status(entry.status_reports, version=_ANY_VERSION, on=today),
            "origin": "metadata service" if name == SERVICE_FILE else name,
        }
        for name, entry in directory.all()
    ]
    show_rows(as_json, "models", ("aaid", "description", "version", "refused", "origin"), rows)


def _fido2_rows(home: Path | None) -> list[dict[str, Any]]:
    directory = ModelDirectory(_models_directory(home))
    directory.refresh(system_clock())
    today = datetime.now(UTC).date()
    return [
        {
            "name": model.names[0],
            "description": model.description,
            "refused": unacceptable_status(model.entry.statusReports, version=_ANY_VERSION, on=today),
            "origin": "metadata service" if name == SERVICE_FILE else name,
        }
        for name, model in directory.all()
    ]


@app.command("import")
def metadata_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The BLOB of the FIDO metadata service, a JWT.")],
    root: Annotated[
        list[Path],
        typer.Option(metavar="PEM", help="Root certificate that its signer must chain to; may be repeated."),
    ],
    signer: Annotated[
        str,
        typer.Option(metavar="NAME", help="The name in the signer's certificate; empty: any a root vouches for."),
    ] = FIDO_SIGNER,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Verify the metadata service's BLOB and take up its entries in the place of those of the one before.

    A BLOB older than the one before is refused. Statements that were added by `metadata add` stay, and go before.
    """
    now = datetime.now(UTC)
    done = import_metadata(
        file, _directory(home), _models_directory(home), roots=root, expected_signer=signer or None, at=now
    )
    overdue = done.blob.next_update < now.date()
    if overdue:
        note(f"a newer BLOB was to be had from {done.blob.next_update} on: this one may lack revocations")
    members = {
        "no": done.blob.no,
        "nextUpdate": done.blob.next_update.isoformat(),
        "overdue": overdue,
        "added": done.added,
        "replaced": done.replaced,
        "removed": done.removed,
        "skipped": [{"aaid": aaid, "reason": reason} for aaid, reason in done.skipped],
        "fido2": {
            "models": done.models,
            "skipped": [{"name": name, "reason": reason} for name, reason in done.skipped_models],
        },
    }
    say(as_json, members, "\n".join(_report(done)))


def _report(done: Imported) -> list[str]:
    lines = [f"BLOB {done.blob.no}, to be replaced by {done.blob.next_update}"]
    for what, aaids in (("added", done.added), ("replaced", done.replaced), ("removed", done.removed)):
        for aaid in aaids:
            entry = done.blob.entries.get(aaid)
            lines.append(f"{what} {aaid}" + (f": {printable(entry.statement.description)}" if entry else ""))
    lines += [f"skipped {printable(aaid)}: {printable(reason)}" for aaid, reason in done.skipped]
    lines.append(f"FIDO2 and U2F: {done.models} models")
    return lines + [f"skipped {printable(name)}: {printable(reason)}" for name, reason in done.skipped_models]


def _models_directory(home: Path | None) -> Path:
    return (home or default_home()) / FIDO2_METADATA


def _directory(home: Path | None) -> Path:
    return (home or default_home()) / "metadata"
