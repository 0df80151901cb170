"""`fidoloop keys`: the keys in a token, named by a key-store URI."""

import datetime
import json
import secrets
import sys
from ssl import DER_cert_to_PEM_cert
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.markup import escape
from rich.table import Table

from fidoloop.authenticator import attestation
from fidoloop.authenticator.models import Form, token_statements
from fidoloop.cli import keys_adopt, keys_certificate, keys_check, keys_evidence, keys_metadata, keys_pin, keys_tokens
from fidoloop.cli.common import FormOption, Json, Verification, answer, cell, check_form, console, print_table, show
from fidoloop.cli.exits import Exit
from fidoloop.cli.key_store import KeyId, MaybeKeyId, Uri, open_store
from fidoloop.cli.keys_metadata import MetadataDirectory, VerificationOption, said_of, write_statements
from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo, KeyStore, KeyUsage

app = typer.Typer(no_args_is_help=True, help="Keys in a token, named by a key-store URI.")


@app.command("list")
def list_keys(uri: Uri, as_json: Json = False) -> None:
    """List the keys in the token."""
    with open_store(uri) as store:
        keys = store.list()
    if as_json:
        typer.echo(json.dumps({"keys": [_describe(info) for info in keys]}))
        return
    # Places are for devices that have few: there they say what is taken, and by what.
    places = ["place"] if any(info.place for info in keys) else []
    table = Table(*places, "id", "label", "algorithm", "usage", "protected")
    for info in sorted(keys, key=lambda info: info.place):
        protected = "yes" if _is_protected(info) else "[red]no[/red]"
        place = [info.place] if places else []
        usages = " ".join(_usages(info))
        table.add_row(*place, info.key_id.hex(), cell(info.label), info.algorithm.value, usages, protected)
    print_table(table, "no keys")


@app.command()
def generate(
    uri: Uri,
    *,
    algorithm: Annotated[KeyAlgorithm, typer.Option(help="Kind of key.")] = KeyAlgorithm.P256,
    usage: Annotated[str, typer.Option(help="sign; derive (p256, p384); decrypt (rsa2048).")] = "sign",
    key_id: MaybeKeyId = None,
    label: Annotated[str, typer.Option(help="The key's label.")] = "",
    place: Annotated[str, typer.Option(metavar="SLOT", help="Where in a PIV card: 9a, 9c, 9d, 9e, 82 to 95.")] = "",
    as_json: Json = False,
) -> None:
    """Make a key pair that cannot leave the token; the id is random unless given, and a free slot is chosen."""
    wanted = {flag.name: flag for flag in KeyUsage}.get(usage.upper())
    if wanted is None:
        raise typer.BadParameter("sign, derive or decrypt", param_hint="--usage")
    with open_store(uri) as store:
        key_id = key_id or secrets.token_bytes(16)
        info = store.generate(algorithm, wanted, key_id=key_id, label=label, place=place).info
    where = f" in slot {info.place}" if info.place else ""
    made = f"made {info.algorithm.value} key {info.key_id.hex()}{where}"
    typer.echo(json.dumps(_describe(info)) if as_json else made)


@app.command()
def delete(
    uri: Uri,
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy everything with this id in the token: key pair, certificate, MAC key."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("--yes is needed where nobody can be asked", param_hint="--yes")
        if not answer(lambda: typer.confirm(f"Destroy key {key_id.hex()} for ever?", err=True)):
            raise typer.Exit(Exit.USER)
    with open_store(uri) as store:
        store.delete(key_id)
    typer.echo(json.dumps({"deleted": key_id.hex()}) if as_json else f"destroyed {key_id.hex()}")


@app.command()
def info(uri: Uri, key_id: MaybeKeyId = None, as_json: Json = False) -> None:
    """Describe the token, or with --id one key in it."""
    with open_store(uri) as store:
        found = _describe_token(store) if key_id is None else _describe_key(store, key_id)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        text = " ".join(value) if isinstance(value, list) else str(value)
        # A certificate has lines of its own; nothing else has any.
        lines = "\n".join(cell(line) for line in text.rstrip().splitlines())
        console().print(f"[bold]{name}[/bold]: {lines}", soft_wrap=True)


@app.command("attest-init")
def attest_init(
    uri: Uri,
    *,
    metadata: MetadataDirectory = None,
    verification: VerificationOption = Verification.PIN,
    form: FormOption = Form.FIRST_FACTOR,
    as_json: Json = False,
) -> None:
    """Make an attestation key in the token, and a lab CA for it; what is there already is kept.

    With --metadata, write the metadata statements of the models this token now is, for `server metadata add`.
    """
    check_form(form, verification)
    with open_store(uri) as store:
        made = attestation.attest_init(store, now=datetime.datetime.now(datetime.UTC))
        statements = token_statements(store, verification.method, form) if metadata else []
    written = write_statements(statements, metadata) if metadata else []
    root = x509.load_der_x509_certificate(made.root)
    value = {
        "root": root.public_bytes(Encoding.PEM).decode(),
        "subject": root.subject.rfc4514_string(),
        "metadata": [str(path) for path in written],
    }
    text = f"attestation root: {escape(root.subject.rfc4514_string())}"
    show(value, "\n".join([text, *([said_of(written)] if written else [])]), as_json=as_json)


app.command("metadata")(keys_metadata.metadata)
app.command("adopt")(keys_adopt.adopt)
app.command("tokens")(keys_tokens.tokens)
app.command("check")(keys_check.check)
app.command("attest")(keys_evidence.attest)
app.command("verify-evidence")(keys_evidence.verify_evidence_file)
app.command("certificate")(keys_certificate.certificate)
app.command("change-pin")(keys_pin.change)
app.command("unblock")(keys_pin.unblock)


def _describe_token(store: KeyStore) -> dict[str, Any]:
    token = store.info()
    return {
        "uri": store.uri,
        "kind": token.kind,
        "label": token.label,
        "manufacturer": token.manufacturer,
        "model": token.model,
        "serial": token.serial,
        "firmware": token.firmware,
        "hardware": token.hardware,
        "pin_pad": token.pin_pad,
        "makes_keys": token.makes_keys,
        "mechanisms": sorted(token.mechanisms),
    }


def _describe_key(store: KeyStore, key_id: bytes) -> dict[str, Any]:
    found = _describe(store.key(key_id).info)
    der = store.certificate(key_id)
    if der is not None:
        found["certificate"] = DER_cert_to_PEM_cert(der)
    return found


def _describe(info: KeyInfo) -> dict[str, Any]:
    public = info.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "id": info.key_id.hex(),
        "label": info.label,
        "algorithm": info.algorithm.value,
        "usage": _usages(info),
        "sensitive": info.sensitive,
        "extractable": info.extractable,
        "never_extractable": info.never_extractable,
        "local": info.local,
        "place": info.place,
        "public_key": public.decode(),
    }


def _usages(info: KeyInfo) -> list[str]:
    return [flag.name.lower() for flag in KeyUsage if flag in info.usage and flag.name]


def _is_protected(info: KeyInfo) -> bool:
    return info.sensitive and info.never_extractable and info.local and not info.extractable
