"""`fidoloop server policy`: which authenticators the server asks for."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fidoloop.cli.server_common import Home, Json, say, show_rows
from fidoloop.protocol.uaf.policy import Policy, disallowed, matches
from fidoloop.server.config import default_home
from fidoloop.server.errors import NotFoundError
from fidoloop.server.metadata import MetadataDirectory
from fidoloop.server.policies import own_policies, parse_policy, shipped_policies

app = typer.Typer(
    no_args_is_help=True,
    help="Policies: which authenticators are asked for. The shipped ones, and your own in HOME/policies, which win.",
)


@app.command("list")
def policy_list(home: Home = None, as_json: Json = False) -> None:
    """List the policies by the names that requests call them."""
    directory = _directory(home)
    own = own_policies(directory)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "origin": "own" if name in own else "shipped",
            "alternatives": len(named.policy.accepted),
            "disallowed": len(named.policy.disallowed or ()),
        }
        for name, named in sorted((shipped_policies() | own).items())
    ]
    show_rows(as_json, "policies", ("name", "origin", "alternatives", "disallowed"), rows)


@app.command("show")
def policy_show(name: str, home: Home = None) -> None:
    """Print a policy as JSON."""
    named = (shipped_policies() | own_policies(_directory(home))).get(name)
    if named is None:
        raise NotFoundError(f"no policy {name}; `policy list` has those that there are")
    typer.echo(named.text)


@app.command("check")
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy, JSON.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a policy and say which of the models that the server knows it accepts.

    Put into HOME/policies as NAME.json it is taken up within a second; requests that were issued keep theirs.
    """
    policy = parse_policy(file.read_bytes(), str(file)).policy
    accepted = _accepted(policy, home or default_home())
    words = f"{len(accepted)} known model(s) accepted{': ' if accepted else ''}{', '.join(accepted)}"
    say(as_json, {"alternatives": len(policy.accepted), "accepts": accepted}, f"{file}: good; {words}")


def _accepted(policy: Policy, home: Path) -> list[str]:
    """Return the AAIDs that meet a criteria of `policy` and none that is disallowed."""
    metadata = MetadataDirectory(home / "metadata")
    metadata.refresh(time.time_ns() // 1_000_000)
    found = []
    for _, entry in metadata.all():
        facts = entry.model_facts
        if any(matches(criteria, facts) for alternative in policy.accepted for criteria in alternative):
            found += [] if disallowed(policy, facts) else [facts.aaid]
    return found


def _directory(home: Path | None) -> Path:
    return (home or default_home()) / "policies"
