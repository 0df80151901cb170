"""`fidoloop server oauth`: clients, keys and the device policy of the authorization server."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fidoloop.cli.common import Home, Json
from fidoloop.cli.server_common import MaybeUser, do, iso, say, show_rows
from fidoloop.protocol.oauth.device_policy import parse_device_policy
from fidoloop.server import admin
from fidoloop.server.config import default_home
from fidoloop.server.environment import system_clock
from fidoloop.server.errors import NotFoundError
from fidoloop.server.oauth import consents, key_ring
from fidoloop.server.oauth.device_policy_file import NAME as POLICY_NAME
from fidoloop.server.store import oauth_queries

app = typer.Typer(no_args_is_help=True, help="The OAuth side: clients, grants, signing keys, device policy.")
client_app = typer.Typer(no_args_is_help=True, help="Clients; each is one device.")
grant_app = typer.Typer(no_args_is_help=True, help="What users allowed clients.")
policy_app = typer.Typer(no_args_is_help=True, help="What a device must be for what it asks.")
app.add_typer(client_app, name="client")
app.add_typer(policy_app, name="policy")
app.add_typer(grant_app, name="grant")


@client_app.command("list")
def client_list(home: Home = None, as_json: Json = False) -> None:
    """List the clients and what their devices were when they registered."""
    rows = []
    for client in do(home, lambda store: store.fetch_all(oauth_queries.CLIENTS)):
        device, metadata = json.loads(client.device), json.loads(client.metadata)
        rows.append(
            {
                "id": client.id,
                "name": metadata.get("client_name", ""),
                "authentication": client.auth_method,
                "evidence": f"{device.get('evidence_type', '')}, {device.get('tier', '')}",
                "firmware": ".".join(device.get("swversion", [""])[:1]),
                "rule": device.get("rule", ""),
                "created": iso(client.created_at),
            }
        )
    columns = ("id", "name", "authentication", "evidence", "firmware", "rule", "created")
    show_rows(as_json, "clients", columns, rows)


@client_app.command("revoke")
def client_revoke(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="As `client list` prints it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Revoke a client: its tokens are worth nothing from then on. Before an id that begins with - write --."""
    do(home, lambda store: admin.revoke_client(store, client_id, now=system_clock()))
    say(as_json, {"id": client_id}, f"revoked {client_id}")


@grant_app.command("list")
def grant_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List what users allowed clients and has not ended: by which log-in, last used when, good until when."""
    rows = [
        {
            "id": grant.id,
            "username": grant.username,
            "client": grant.client_id,
            "name": json.loads(grant.metadata).get("client_name", ""),
            "scope": grant.scope,
            "acr": grant.acr,
            "created": iso(grant.created_at),
            "lastUsed": iso(grant.last_used_at),
            "until": iso(grant.until),
        }
        for grant in do(home, lambda store: consents.list_grants(store, user, now=system_clock()))
    ]
    show_rows(as_json, "grants", ("id", "username", "name", "scope", "acr", "lastUsed", "until"), rows)


@grant_app.command("revoke")
def grant_revoke(
    grant_id: Annotated[str, typer.Argument(metavar="ID", help="As `grant list` prints it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Revoke a grant: its tokens cannot be refreshed any more. Before an id that begins with - write --."""
    username = do(home, lambda store: consents.revoke_by_operator(store, grant_id, now=system_clock()))
    say(as_json, {"id": grant_id, "username": username}, f"revoked {grant_id} of {username}")


@app.command("rotate-keys")
def rotate_keys(home: Home = None, as_json: Json = False) -> None:
    """Make new signing keys: published at once, signing after ten minutes; the old ones verify for two days more."""
    directory = (home or default_home()) / "oauth"
    made, removed = [], []
    roles: tuple[key_ring.Role, ...] = ("as", "attester")
    for role in roles:
        name, gone = key_ring.rotate(directory, role, system_clock())
        made.append(name)
        removed += gone
    say(as_json, {"made": made, "removed": removed}, f"made {', '.join(made)}; removed {', '.join(removed) or 'none'}")


@policy_app.command("check")
def policy_check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            exists=True,
            dir_okay=False,
            help="A device policy.",
            show_default="the server's, HOME/oauth/device-policy.json",
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say whether a device policy can be used, and what its rules grant."""
    path = file or (home or default_home()) / "oauth" / f"{POLICY_NAME}.json"
    if not path.exists():
        raise NotFoundError(f"no {path}: every device is denied; `fidoloop server oauth policy example` starts one")
    rows = []
    for rule in parse_device_policy(path.read_bytes()).rules:
        grants = rule.grants or None
        rows.append(
            {
                "rule": rule.name,
                "tiers": ", ".join(rule.tiers),
                "acr": "denied" if grants is None else " ".join(grants.acr),
                "scopes": "" if grants is None else " ".join(grants.scopes),
            }
        )
    show_rows(as_json, "rules", ("rule", "tiers", "acr", "scopes"), rows)


@policy_app.command("example")
def policy_example() -> None:
    """Print a device policy to start from: attested PIV cards and TPMs, an old firmware denied."""
    every = ["pw-enroll", "uaf", "uaf-hw", "fido2", "fido2-hw"]
    grants = {"acr": every, "scopes": ["openid", "api"]}
    kept = {"local": True, "never_extractable": True}
    rules = [
        {"name": "old firmware", "evidence_types": ["piv-attestation"], "swversion": {"max": "5.6"}},
        {
            "name": "PIV cards",
            "evidence_types": ["piv-attestation"],
            "pin_policy": ["once", "always"],
            "grants": grants,
        },
        {"name": "TPMs", "evidence_types": ["tpm2-certify"], "key": kept, "grants": grants},
    ]
    typer.echo(json.dumps({"rules": rules}, indent=1))
