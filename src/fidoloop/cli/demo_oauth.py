"""`fidoloop demo --oauth`: the ten steps, message by message."""

import datetime
import json
from collections.abc import Sequence
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
from fidoloop.cli.common import Verification
from fidoloop.cli.exits import Exit
from fidoloop.demo_oauth import OAuthDemo, OAuthStep, demo_policy
from fidoloop.hsm.keystore import KeyStore
from fidoloop.lab import LabServer
from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError

_SHOWN_HEADERS = ("authorization", "dpop", "oauth-client-attestation", "oauth-client-attestation-pop")
_ANSWER_HEADERS = ("www-authenticate", "dpop-nonce", "oauth-client-attestation-challenge")
_LONGEST = 72


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
        console.print(f"server  {lab.url}: authorization server, client attester and protected API")
        console.print(f"phone   keys in {escape(token.label.strip())} ({escape(token.model.strip())})\n")
        demo = OAuthDemo(store, lab, keys_uri=uri, pin=pin, say=lambda step: _say(console, step))
        steps = demo.run()
    done = all(step.as_expected for step in steps)
    if as_json:
        rows = [
            msgspec.structs.asdict(step) | {"exchanges": [msgspec.structs.asdict(one) for one in step.exchanges]}
            for step in steps
        ]
        typer.echo(json.dumps({"result": "succeeded" if done else "failed", "steps": rows}))
    outcome = "[green]succeeded[/green]" if done else "[red]failed[/red]"
    console.print(f"\n{outcome}: {len(steps)} steps, {sum(len(step.exchanges) for step in steps)} HTTP exchanges")
    if not done:
        raise typer.Exit(Exit.REFUSED)


def _say(console: Console, step: OAuthStep) -> None:
    colour = "cyan" if step.as_expected else "red"
    console.print(f"[bold]{step.n:>3}  {step.name}[/bold]\n     [{colour}]{escape(step.detail)}[/{colour}]")
    for exchange in step.exchanges:
        for line in _lines(exchange, as_expected=step.as_expected):
            console.print(f"     [dim]{escape(line)}[/dim]")


def _lines(exchange: Exchange, *, as_expected: bool) -> list[str]:
    """Return an exchange in a few lines: what was sent, proofs decoded, what came back."""
    lines = [f"→ {exchange.method} {exchange.path}"]
    sent = {name.lower(): value for name, value in exchange.request_headers.items()}
    lines += [f"    {name}: {_decoded(sent[name])}" for name in _SHOWN_HEADERS if name in sent]
    if exchange.request_body:
        lines.append(f"    {_body(exchange.request_body)}")
    # A step that tries what has to be refused looks like a failure else.
    expected = " (expected)" if as_expected and exchange.status >= 400 else ""
    lines.append(f"← {exchange.status}{expected} {_body(exchange.response_body)}".rstrip())
    came = {name.lower(): value for name, value in exchange.response_headers.items()}
    return lines + [f"    {name}: {_cut(came[name])}" for name in _ANSWER_HEADERS if name in came]


def _decoded(value: str) -> str:
    """Return a header's value; of a JWT what it says, its keys left out."""
    scheme, _, token = value.rpartition(" ")
    try:
        parsed = jose.parse_compact(token)
        claims: dict[str, Any] = strictjson.loads(parsed.payload)
    except (MalformedError, jose.JoseRefusal):
        return _cut(value)
    shown = {name: claim for name, claim in claims.items() if name not in ("cnf", "ear")}
    return f"{scheme} {parsed.header.get('typ', 'JWT')} {_members(shown)}".strip()


def _body(text: str) -> str:
    try:
        value = strictjson.loads(text)
    except MalformedError:
        pairs = dict(parse_qsl(text))
        return _members(pairs | ({"password": "…"} if "password" in pairs else {})) if pairs else _cut(text)
    return _members(value) if isinstance(value, dict) else _cut(text)


def _members(value: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_cut(_text(inner))}" for name, inner in value.items()) + "}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
