"""`fidoloop inspect`: whatever is pasted or piped, as an annotated tree."""

import json
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import load_pem_x509_certificate

from fidoloop.bridge import qr_images
from fidoloop.cli.common import Json, console, interactive, note, printable
from fidoloop.cli.exits import Exit
from fidoloop.protocol import jose
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.kinds import KINDS, Inspection
from fidoloop.protocol.inspect.kinds import inspect as inspect_bytes
from fidoloop.protocol.inspect.node import Node

MAX_BYTES = 32 << 20
MAX_KEY_BYTES = 65536
_STANDARD_INPUT = "-"


def inspect(
    what: Annotated[
        str,
        typer.Argument(metavar="[FILE|-|TEXT]", help="A file, - for standard input, or the text itself."),
    ] = _STANDARD_INPUT,
    *,
    kind: Annotated[
        str | None,
        typer.Option("--as", metavar="KIND", help="What it is, where the guess is wrong; `list` lists the kinds."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE|JWK", help="Verify signatures by this public key: PEM or JWK."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take apart UAF messages, assertions, payloads, tokens, certificates, CTAP, APDUs, QR codes: byte by byte.

    What was given is shown, tokens included; private keys and PINs in it are told and not shown.
    Each line is where it is, how long, its name, value and meaning, and in red what is wrong with it. Nothing is
    verified but, with --key, the signatures that say so. Exit 0 if it was read, whatever is wrong with it; 1 if it
    could not be read, or a signature does not verify with --key.
    """
    if kind == "list":
        _list(as_json)
        return
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(
            f"no kind {printable(kind)}: `fidoloop inspect --as list` lists them", param_hint="--as"
        )
    public = None if key is None else _key(key)
    # What cryptography warns of, the tree tells where it is.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    found = inspect_bytes(_given(what), kind=kind, now=datetime.now(UTC), key=public, read_image=_read_image)
    if as_json:
        typer.echo(json.dumps(_as_json(found, asked=public is not None)))
    else:
        _print(found, asked=public is not None)
    if found.verified is False:
        raise typer.Exit(Exit.REFUSED)


def _given(what: str) -> bytes:
    if what == _STANDARD_INPUT:
        if interactive():
            note("paste it, then end it by Ctrl-D")
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    path = Path(what)
    if _is_file(path):
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    if len(what) < 256 and what.isprintable() and ("/" in what or "." in what) and not _may_be_text(what):
        raise typer.BadParameter(f"there is no file {what}: give a file, - or the text itself")
    return what.encode("utf-8", "surrogateescape")


def _may_be_text(what: str) -> bool:
    return "://" in what or what.lstrip().startswith(("{", "[", "eyJ", "vapid", "DPoP", "Bearer", "-----"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text is longer than a file's name may be, or holds what none may hold
        return False


def _key(given: str) -> PublicKeyTypes:
    """Return the public key in a PEM file, a JWK file or a JWK's text."""
    path = Path(given)
    if _is_file(path):
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
    else:
        content = given.encode("utf-8", "surrogateescape")
    try:
        if content.lstrip().startswith(b"{"):
            return jose.parse_public_jwk(content.decode("utf-8")).key
        if b"-----BEGIN CERTIFICATE" in content:
            return load_pem_x509_certificate(content).public_key()
        return load_pem_public_key(content)
    except MalformedError as error:
        raise typer.BadParameter(f"no public key: {error}", param_hint="--key") from None
    except (ValueError, UnsupportedAlgorithm):
        raise typer.BadParameter(
            "no public key: a PEM file (public key or certificate), a JWK file or a JWK", param_hint="--key"
        ) from None


def _read_image(content: bytes) -> list[str]:
    return qr_images.read_bytes(content, "the image")


def _list(as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"kinds": {kind.name: kind.title for kind in KINDS.values()}}))
        return
    for kind in KINDS.values():
        typer.echo(f"{kind.name:20} {kind.title}")


def _verdict(found: Inspection, *, asked: bool) -> str:
    if found.verified is None:
        return (
            "nothing verified: there is no signature that the key could be held against"
            if asked
            else ("nothing verified")
        )
    return "signature verified by the key given" if found.verified else "SIGNATURE DOES NOT VERIFY by the key given"


def _as_json(found: Inspection, *, asked: bool) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "title": found.title,
        "coding": found.coding or None,
        "verified": found.verified,
        "says": _verdict(found, asked=asked),
        "problems": found.problems,
        "nodes": [_flat(depth, node) for depth, node in found.tree.walk()],
    }


def _flat(depth: int, node: Node) -> dict[str, Any]:
    """Return a node without those below it, which follow it with a greater depth."""
    members: dict[str, Any] = msgspec.to_builtins(node.but(children=()))
    return {"depth": depth, **members}


def _print(found: Inspection, *, asked: bool) -> None:
    coding = f", in {found.coding}" if found.coding else ""
    shown = console()
    shown.print(f"{printable(found.title)}{coding}", style="bold", markup=False, soft_wrap=True)
    for depth, node in found.tree.walk():
        _print_node(depth, node)
    count = len(found.problems)
    typer.secho(
        f"{count} things to look at" if count > 1 else "1 thing to look at" if count else "nothing wrong seen",
        fg="red" if count else "green",
    )
    colour = {None: "yellow", True: "green", False: "red"}[found.verified]
    typer.secho(_verdict(found, asked=asked), fg=colour)


def _print_node(depth: int, node: Node) -> None:
    value = "" if node.value is None else f": {printable(str(node.value))}"
    coding = typer.style(f" ({node.coding})", dim=True) if node.coding and node.children else ""
    meaning = typer.style(f"  {printable(node.meaning)}", dim=True) if node.meaning else ""
    problem = typer.style(f"  ! {printable(node.problem)}", fg="red") if node.problem else ""
    typer.echo(
        f"{node.offset:6} {node.length:6}  {'  ' * depth}{printable(node.name)}{value}{coding}{meaning}{problem}"
    )
