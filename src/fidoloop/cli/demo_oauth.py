"""`fidoloop demo --oauth`: the ten steps, message by message."""

import datetime
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.bridge.http import Exchange
from fidoloop.cli.common import Verification, print_hanging
from fidoloop.cli.exits import Exit
from fidoloop.demo_oauth import OAuthDemo, OAuthStep, demo_policy
from fidoloop.hsm.keystore import KeyStore
from fidoloop.lab import LabServer
from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError

_SHOWN_HEADERS = ("authorization", "dpop", "oauth-client-attestation", "oauth-client-attestation-pop")
_ANSWER_HEADERS = ("www-authenticate", "dpop-nonce", "oauth-client-attestation-challenge")
_DEEPER = "    "
_LONGEST, _AHEAD, _BEHIND = 44, 32, 8


def run_oauth(
    store: KeyStore, home: Path, console: Console, *, uri: str, pin: str, roots: Sequence[Path], as_json: bool
) -> None:
    """Run the walk on an open token, print it, and exit with 1 where a step came out otherwise than it must."""
    lab = LabServer(home)
    attest_init(store, now=datetime.datetime.now(datetime.UTC))
    lab.add_metadata(token_statements(store, Verification.PIN.method))
    lab.write_device_policy(demo_policy())
    anchors = lab.home / "oauth" / "anchors"
    anchors.mkdir(parents=True, exist_ok=True)
    for number, root in enumerate(roots):
        (anchors / f"{number}.pem").write_bytes(root.read_bytes())
    with lab:
        token = store.info()
        print_hanging(console, "server  ", f"{lab.url}: authorization server, client attester and protected API")
        keys = f"keys in {escape(token.label.strip())} ({escape(token.model.strip())})"
        print_hanging(console, "phone   ", keys)
        console.print()
        demo = OAuthDemo(store, lab, keys_uri=uri, pin=pin, say=lambda step: say_step(console, step))
        steps = demo.run()
    done = all(step.as_expected for step in steps)
    if as_json:
        rows = [
            msgspec.structs.asdict(step) | {"exchanges": [msgspec.structs.asdict(one) for one in step.exchanges]}
            for step in steps
        ]
        typer.echo(json.dumps({"result": "succeeded" if done else "failed", "steps": rows}))
    outcome = "[green]succeeded[/green]" if done else "[red]failed[/red]"
    exchanges = sum(len(step.exchanges) for step in steps)
    console.print()
    print_hanging(console, "", f"{outcome}: {len(steps)} steps, {exchanges} HTTP exchanges")
    if not done:
        raise typer.Exit(Exit.REFUSED)


def say_step(console: Console, step: OAuthStep) -> None:
    """Print a step with its exchanges."""
    colour = "cyan" if step.as_expected else "red"
    print_hanging(console, f"{step.n:>3}  ", f"[bold]{step.name}[/bold]")
    print_hanging(console, "     ", f"[{colour}]{escape(step.detail)}[/{colour}]")
    shown: dict[str, str] = {}
    for _, alike in groupby(step.exchanges, key=_outcome):
        exchange, *others = alike
        for lead, line in _lines(exchange, shown, as_expected=step.as_expected):
            print_hanging(console, f"     {lead}", f"[dim]{escape(line)}[/dim]", deeper=2)
        if others:
            console.print(f"     [dim]({len(others)} more with the same outcome)[/dim]")


def _outcome(exchange: Exchange) -> tuple[str, str, int, str]:
    """Return what was asked and came of it: of what was refused, why."""
    refused = exchange.status >= 400
    return exchange.method, exchange.path, exchange.status, exchange.response_body if refused else ""


def _lines(exchange: Exchange, shown: dict[str, str], *, as_expected: bool) -> list[tuple[str, str]]:
    """Return an exchange in a few lines, each behind its mark: what was sent, proofs decoded, what came back.

    `shown` are the headers of the exchanges before, which need not be shown again, and those of this one after it.
    """
    lines = [("→ ", f"{exchange.method} {exchange.path}")]
    for name, value in _of(exchange.request_headers, _SHOWN_HEADERS):
        lines.append((_DEEPER, f"{name}: {'as before' if shown.get(name) == value else _decoded(value)}"))
        shown[name] = value
    if exchange.request_body:
        lines.append((_DEEPER, _body(exchange.request_body)))
    # A step that tries what has to be refused looks like a failure else.
    expected = " (expected)" if as_expected and exchange.status >= 400 else ""
    lines.append(("← ", f"{exchange.status}{expected} {_body(exchange.response_body)}".rstrip()))
    for name, value in _of(exchange.response_headers, _ANSWER_HEADERS):
        if shown.get(name) != value:
            lines.append((_DEEPER, f"{name}: {_short(value)}"))
            shown[name] = value
    return lines


def _of(headers: dict[str, str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the headers of these names, in their order."""
    given = {name.lower(): value for name, value in headers.items()}
    return [(name, given[name]) for name in names if name in given]


def _decoded(value: str) -> str:
    """Return a header's value; of a JWT what it says, its keys left out."""
    scheme, _, token = value.rpartition(" ")
    try:
        parsed = jose.parse_compact(token)
        claims: dict[str, Any] = strictjson.loads(parsed.payload)
    except (MalformedError, jose.JoseRefusal):
        return _short(value)
    shown = {name: claim for name, claim in claims.items() if name not in ("cnf", "ear")}
    return f"{scheme} {parsed.header.get('typ', 'JWT')} {_members(shown)}".strip()


def _body(text: str) -> str:
    try:
        value = strictjson.loads(text)
    except MalformedError:
        pairs = dict(parse_qsl(text))
        return _members(pairs | ({"password": "…"} if "password" in pairs else {})) if pairs else _short(text)
    return _members(value) if isinstance(value, dict) else _short(text)


def _members(value: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) + "}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return _members(value)
    if isinstance(value, list):
        return "[" + ", ".join(_text(inner) for inner in value) + "]"
    return _short(value if isinstance(value, str) else json.dumps(value))


def _short(text: str) -> str:
    """Return a text with its long words, which are keys, tokens and the like, shortened inside."""
    return " ".join(word if len(word) <= _LONGEST else f"{word[:_AHEAD]}…{word[-_BEHIND:]}" for word in text.split(" "))
