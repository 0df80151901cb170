"""`fidoloop server credential`, `target` and `audit`: what phones registered, and what happened."""

import json
from typing import Annotated

import typer

from fidoloop.cli.server_common import Home, Json, MaybeUser, do, iso, say, show_rows
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.server import admin
from fidoloop.server.environment import system_clock
from fidoloop.server.store.rows import Credential

credential_app = typer.Typer(no_args_is_help=True, help="Registered UAF keys.")
target_app = typer.Typer(no_args_is_help=True, help="Dispatch targets: where tokens are delivered.")


@credential_app.command("list")
def credential_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List the registered keys."""
    rows = [
        {
            "keyId": key.key_id,
            "aaid": key.aaid,
            "username": key.username,
            "attestation": _attestation(key),
            "verificationMethods": json.loads(key.verification_methods or "[]"),
            "signCounter": key.sign_counter,
            "created": iso(key.created_at),
            "lastUsed": iso(key.last_used_at),
        }
        for key in do(home, lambda store: admin.list_credentials(store, user))
    ]
    columns = ("keyId", "aaid", "username", "attestation", "signCounter", "created", "lastUsed")
    show_rows(as_json, "credentials", columns, rows)


def _attestation(key: Credential) -> str:
    kind = "full" if key.attestation_type == AttestationType.BASIC_FULL else "surrogate"
    return f"{kind}, keystore" if key.key_attested else kind


@credential_app.command("revoke")
def credential_revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEYID", help="As `credential list` prints it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete a key at once; open operations that ask for it fail. Before a KeyID that begins with - write --."""
    revoked = do(home, lambda store: admin.revoke_credential(store, key_id, now=system_clock()))
    say(as_json, {"keyId": key_id, "username": revoked[0].username}, f"revoked {key_id} of {revoked[0].username}")


@target_app.command("list")
def target_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List the dispatch targets."""
    rows = [
        {
            "id": target.id,
            "name": target.name,
            "username": target.username,
            "dispatcher": target.dispatcher,
            "created": iso(target.created_at),
            "lastUsed": iso(target.last_used_at),
        }
        for target in do(home, lambda store: admin.list_targets(store, user))
    ]
    show_rows(as_json, "dispatchTargets", ("id", "name", "username", "dispatcher", "created", "lastUsed"), rows)


@target_app.command("revoke")
def target_revoke(target_id: str, home: Home = None, as_json: Json = False) -> None:
    """Delete a dispatch target at once; what was dispatched to it cannot be redeemed any more."""
    do(home, lambda store: admin.revoke_target(store, target_id, now=system_clock()))
    say(as_json, {"id": target_id}, f"revoked {target_id}")


def audit(
    user: MaybeUser = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many entries, newest first.")] = 100,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print who logged in, when, by which key, from where; and what else happened to accounts."""
    rows = [
        {
            "at": iso(entry.at),
            "event": entry.event,
            "outcome": entry.outcome,
            "username": entry.username,
            "aaid": entry.aaid,
            "keyId": entry.key_id,
            "sessionId": entry.session_id,
            "address": entry.address,
            "requestedFrom": entry.requested_from,
            "client": entry.client_id,
        }
        for entry in do(home, lambda store: admin.audit_entries(store, user, limit=limit))
    ]
    columns = ("at", "event", "outcome", "username", "aaid", "keyId", "address", "requestedFrom", "client")
    show_rows(as_json, "entries", columns, rows)
