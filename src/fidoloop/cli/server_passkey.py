"""`fidoloop server passkey`: the FIDO2 credentials that users have."""

from typing import Annotated

import typer

from fidoloop.cli.server_common import Home, Json, MaybeUser, do, iso, say, show_rows
from fidoloop.server.environment import system_clock
from fidoloop.server.fido2.credentials import list_credentials, remove_credential

app = typer.Typer(no_args_is_help=True, help="Registered FIDO2 credentials.")


@app.command("list")
def passkey_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List the FIDO2 credentials, what their authenticators are, and whether the metadata vouches for that."""
    rows = [
        {
            "id": found.id,
            "username": found.username,
            "model": found.model,
            "aaguid": found.aaguid,
            "attestation": found.attestation_type,
            "trusted": bool(found.trusted),
            "synchronised": bool(found.backup_eligible),
            "signCounter": found.sign_count,
            "created": iso(found.created_at),
            "lastUsed": iso(found.last_used_at),
        }
        for found in do(home, lambda store: list_credentials(store, user))
    ]
    columns = ("id", "username", "model", "attestation", "trusted", "synchronised", "signCounter", "lastUsed")
    show_rows(as_json, "passkeys", columns, rows)


@app.command("revoke")
def passkey_revoke(
    credential_id: Annotated[str, typer.Argument(metavar="ID", help="As `passkey list` prints it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete a FIDO2 credential at once. Before an id that begins with - write --."""
    username = do(home, lambda store: remove_credential(store, credential_id, now=system_clock()))
    say(as_json, {"id": credential_id, "username": username}, f"revoked {credential_id} of {username}")
