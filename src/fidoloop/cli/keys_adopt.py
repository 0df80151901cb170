"""`fidoloop keys adopt`: have a phone use a key that is in the token already."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fidoloop.authenticator.adopted import AdoptedKeys
from fidoloop.authenticator.models import adopted_models, metadata_statement
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.bridge.profile import Profile
from fidoloop.cli.common import Home, Json, PhoneName, Verification, cell, phone_path, show
from fidoloop.cli.key_store import KeyId, Uri, open_store
from fidoloop.cli.keys_metadata import MetadataDirectory, write_statements
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import parse_key_store_uri


def adopt(
    uri: Uri,
    key_id: KeyId,
    *,
    forget: Annotated[bool, typer.Option("--forget", help="Undo it; the key stays in the token.")] = False,
    metadata: MetadataDirectory = None,
    verification: Annotated[
        Verification | None,
        typer.Option("--uv", help="For --metadata: how the phone verifies its user, where it is not set up yet."),
    ] = None,
    name: PhoneName = "phone",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Have a phone use a P-256 signing key that is in the token already: its next registration takes that key.

    For keys that other programs made, as on cards whose module makes none. Nobody knows where such a key was made, so
    its models (F10B#07..) claim software protection and attest nothing. One key serves one registration at a time.
    """
    path = phone_path(home, name)
    with _phone_of(path, uri) as chosen, open_store(uri) as store, _state(path, store) as state:
        method = (verification or chosen or Verification.PIN).method
        keys = AdoptedKeys(state, store)
        if forget:
            keys.forget(key_id)
        else:
            info = keys.adopt(key_id)
    if forget:
        show({"forgotten": key_id.hex()}, f"{key_id.hex()} is not adopted any more", as_json=as_json)
        return
    models = adopted_models(method)
    statements = [metadata_statement(model, ()) for model in models]
    written = write_statements(statements, metadata) if metadata else []
    aaids = [model.aaid for model in models]
    lines = [f"adopted {info.algorithm.value} key {key_id.hex()} ({cell(info.label)}): the next registration uses it"]
    show(
        {
            "adopted": key_id.hex(),
            "label": info.label,
            "phone": name,
            "aaids": aaids,
            "metadata": list(map(str, written)),
        },
        "\n".join([*lines, *(cell(str(file)) for file in written)]),
        as_json=as_json,
    )


@contextmanager
def _phone_of(path: Path, uri: str) -> Iterator[Verification | None]:
    """Hold the URI against the phone's own, where it is set up; yields how it verifies its user."""
    if not path.exists():
        yield None
        return
    profile = Profile(path)
    try:
        settings = profile.settings() if profile.exists() else None
        if settings is not None and parse_key_store_uri(uri).without_pin() != settings.keys_uri:
            raise typer.BadParameter("this phone has another key store; --name names another phone")
        yield Verification(settings.verification) if settings is not None else None
    finally:
        profile.close()


@contextmanager
def _state(path: Path, store: KeyStore) -> Iterator[AuthenticatorState]:
    """Open the phone's state; where there was none and nothing is adopted, none is left."""
    fresh = not path.exists()
    state = AuthenticatorState(path, store)
    try:
        yield state
    except BaseException:
        state.close()
        if fresh:
            path.unlink(missing_ok=True)
        raise
    state.close()
