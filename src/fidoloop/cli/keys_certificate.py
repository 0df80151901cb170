"""`fidoloop keys certificate`: certificates beside the keys."""

from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.markup import escape

from fidoloop.cli.common import Json, show
from fidoloop.cli.exits import Exit
from fidoloop.cli.key_store import KeyId, Uri, open_store
from fidoloop.hsm.errors import KeyGone
from fidoloop.protocol.certificates import load_certificate, load_pem_certificates

_MAX_FILE_BYTES = 65_536


def certificate(
    uri: Uri,
    key_id: KeyId,
    *,
    put: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Store this certificate (PEM or DER).", exists=True, dir_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the certificate stored beside a key (PEM), or store one there.

    Exit code 1 where there is none.
    """
    given = None if put is None else _read(put)
    with open_store(uri) as store:
        if given is not None:
            try:
                store.put_certificate(key_id, given.public_bytes(Encoding.DER), _label(given))
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="--put") from None
        der = store.certificate(key_id)
        if der is None and key_id not in {info.key_id for info in store.list()}:
            raise KeyGone(f"no key with id {key_id.hex()} is in the token")
    if der is None:
        show({"certificate": None}, "no certificate", as_json=as_json)
        raise typer.Exit(Exit.REFUSED)
    pem = DER_cert_to_PEM_cert(der)
    show({"certificate": pem}, escape(pem.rstrip()), as_json=as_json)


def _read(path: Path) -> x509.Certificate:
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    try:
        if len(content) > _MAX_FILE_BYTES:
            raise ValueError("too long")
        if content.lstrip().startswith(b"-----"):
            return load_pem_certificates(content)[0]
        return load_certificate(content)
    except ValueError:
        raise typer.BadParameter(f"{path} holds no certificate", param_hint="--put") from None


def _label(given: x509.Certificate) -> str:
    names = given.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
