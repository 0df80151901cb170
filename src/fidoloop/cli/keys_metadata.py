"""`fidoloop keys metadata`: the metadata statements of the models a phone is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from fidoloop.authenticator.ctap2.metadata import fido_card_statements
from fidoloop.authenticator.models import Form, card_statements, token_statements
from fidoloop.cli.common import FormOption, Json, Verification, check_form, show
from fidoloop.cli.key_store import Uri, open_store
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.metadata import MetadataStatement

MetadataDirectory = Annotated[Path | None, typer.Option("--metadata", metavar="DIR", help="Write metadata here.")]
VerificationOption = Annotated[
    Verification, typer.Option("--uv", help="How the phone with this token verifies its user.")
]


def metadata(
    uri: Uri,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write one JSON file per model.")] = Path(),
    verification: VerificationOption = Verification.PIN,
    form: FormOption = Form.FIRST_FACTOR,
    uaf_card: Annotated[
        bool, typer.Option("--uaf-card", help="Of a virtual UAF card with its keys in this token, instead.")
    ] = False,
    fido_card: Annotated[
        bool,
        typer.Option("--fido-card", help="Of FIDO2 cards with their keys in this token, instead."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Export the metadata statements of the models a phone with this token is."""
    check_form(form, verification)
    with open_store(uri) as store:
        if fido_card:
            written = [_write_fido2(statement, out) for statement in fido_card_statements(store)]
        else:
            statements = card_statements(store) if uaf_card else token_statements(store, verification.method, form)
            written = write_statements(statements, out)
    show({"metadata": [str(path) for path in written]}, said_of(written), as_json=as_json)


def said_of(written: Sequence[Path]) -> str:
    """Return what people are told of the files: a token is dozens of models."""
    places = {str(path.parent) for path in written}
    return f"metadata statements of {len(written)} models, to add to a server: {escape(', '.join(sorted(places)))}"


def _write_fido2(statement: dict[str, Any], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{statement['aaguid']}.json"
    path.write_text(json.dumps(statement, indent=1) + "\n", encoding="utf-8")
    return path


def write_statements(statements: Sequence[MetadataStatement], directory: Path) -> list[Path]:
    """Write one JSON file per AAID, for `server metadata add`, and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for statement in statements:
        path = directory / f"{statement.aaid.replace('#', '-')}.json"
        path.write_text(strictjson.encode(statement), encoding="utf-8")
        written.append(path)
    return written
