"""`fidoloop keys attest` and `keys verify-evidence`: what a device says of a key, and what that is worth."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.cli.common import Json, printable
from fidoloop.cli.exits import Exit
from fidoloop.cli.key_store import KeyId, Uri, from_hex, open_store
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.anchors import MAX_PEM_BYTES, join_anchors, parse_anchors
from fidoloop.protocol.evidence.tpm import attestation_key
from fidoloop.protocol.evidence.values import (
    MAX_NONCE_BYTES,
    MIN_NONCE_BYTES,
    Anchors,
    Appraisal,
    ClaimValue,
    Evidence,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
    Tier,
)
from fidoloop.protocol.evidence.verify import describe_evidence, verify_evidence
from fidoloop.protocol.jose import PublicKey


def _nonce(text: str) -> bytes:
    value = from_hex(text)
    if not MIN_NONCE_BYTES <= len(value) <= MAX_NONCE_BYTES:
        raise typer.BadParameter(f"a nonce has {MIN_NONCE_BYTES} to {MAX_NONCE_BYTES} bytes")
    return value


def attest(
    uri: Uri,
    key_id: KeyId,
    *,
    nonce: Annotated[
        bytes, typer.Option("--nonce", metavar="HEX", parser=_nonce, help="The verifier's, 8 to 32 bytes.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the evidence here.")] = None,
    as_json: Json = False,
) -> None:
    """Have the device say what it knows of a key: its attestation, or what its module claims unsigned.

    The evidence is a JSON array of records (media type, base64url, 4), on standard output unless --out is given.
    """
    with open_store(uri) as store:
        evidence = store.attest(key_id, nonce)
    if out is not None:
        out.write_text(cmw.encode(evidence), encoding="utf-8")
    key, claims = describe_evidence(evidence)
    if as_json:
        where = {"file": str(out)} if out else {"evidence": msgspec.to_builtins(cmw.to_records(evidence))}
        typer.echo(json.dumps(where | _said(evidence, key, claims)))
    elif out is None:
        typer.echo(cmw.encode(evidence))
    else:
        _print(_said(evidence, key, claims))


def verify_evidence_file(
    file: Annotated[typer.FileBinaryRead, typer.Argument(metavar="FILE|-", help="What `keys attest` wrote.")],
    *,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="PEM",
            help="What is trusted: root certificates, or a device's own; public keys of attestation keys. Repeatable.",
        ),
    ] = None,
    nonce: Annotated[
        bytes | None, typer.Option("--nonce", metavar="HEX", parser=_nonce, help="The one the evidence was asked with.")
    ] = None,
    at: Annotated[
        datetime.datetime | None, typer.Option(help="The time (UTC) certificates must be valid at.", show_default="now")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what evidence says and whether it verifies; exit 0 if a device that is trusted signed it, 1 if not.

    Claims that no device signed never verify, whatever they say; nothing does without the nonce.
    """
    anchors = _anchors(root or [])
    evidence = cmw.decode(file.read(cmw.MAX_FILE_BYTES + 1))
    key, claims = describe_evidence(evidence)
    time = at.replace(tzinfo=datetime.UTC) if at else datetime.datetime.now(datetime.UTC)
    try:
        found = _verify(evidence, anchors, nonce, time)
    except EvidenceRefusal as refusal:
        said = _said(evidence, key, claims) | {"failed": refusal.check.value, "detail": refusal.detail}
        verified = False
    else:
        said = _said(evidence, found.key, found.claims)
        said |= {"tier": found.tier.value, "source": found.source.value, "signed_by": found.signed_by}
        verified = found.tier is Tier.ATTESTED
    if as_json:
        typer.echo(json.dumps({"verified": verified, **said}))
    else:
        _print(said)
        typer.secho("verified" if verified else "NOT VERIFIED", fg="green" if verified else "red", bold=True)
    if not verified:
        raise typer.Exit(Exit.REFUSED)


def _verify(evidence: Evidence, anchors: Anchors, nonce: bytes | None, at: datetime.datetime) -> Appraisal:
    if nonce is None:
        raise EvidenceRefusal(EvidenceCheck.NONCE, "none was given (--nonce), so nothing shows that this is fresh")
    return verify_evidence(evidence, anchors=anchors, expected_nonce=nonce, expected_key=None, at=at)


def _anchors(paths: Sequence[Path]) -> Anchors:
    """Return the certificates and public keys in PEM files, each of which must hold some."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            content = file.read(MAX_PEM_BYTES + 1)
        try:
            found.append(parse_anchors(content))
        except ValueError as error:
            raise typer.BadParameter(f"{path}: {error}", param_hint="--root") from None
    return join_anchors(found)


def _said(evidence: Evidence, key: PublicKey, claims: Mapping[str, ClaimValue]) -> dict[str, Any]:
    said: dict[str, Any] = {"kind": evidence.kind.value, "claims": dict(claims), "key": _pem(key)}
    if evidence.kind is EvidenceKind.TPM:
        said["attestation_key"] = _pem(attestation_key(evidence))
    return said


def _pem(key: PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _print(said: Mapping[str, Any]) -> None:
    for name, value in said.items():
        if isinstance(value, Mapping):
            for claim, claimed in value.items():
                shown = ", ".join(claimed) if isinstance(claimed, tuple) else str(claimed)
                typer.echo(f"  {claim}: {printable(shown) or '-'}")
        elif value:
            lines = "\n".join(printable(line) for line in str(value).splitlines())
            typer.echo(f"{name}: {lines}")
