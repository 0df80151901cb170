"""The metadata of FIDO2 and U2F models: JSON files in a directory that is looked at again while the server runs."""

import logging
from pathlib import Path

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MAX_STATEMENT_BYTES
from fidoloop.protocol.webauthn.models import AuthenticatorModel, is_model, read_model
from fidoloop.server.errors import ConfigError
from fidoloop.server.metadata import SERVICE_FILE, put_statement, read_statement
from fidoloop.server.watched_files import WatchedFiles

MAX_FILE_BYTES = 32 << 20
_log = logging.getLogger("fidoloop.server.fido2.metadata")


class ModelDirectory:
    """The models of `<home>/fido2-metadata/*.json`; see WatchedFiles.

    What the operator added stands before what the metadata service says.
    """

    def __init__(self, directory: Path) -> None:
        self._files = WatchedFiles(directory, read_models_file, _log)
        self._by_name: dict[str, AuthenticatorModel] = {}

    def refresh(self, now: int) -> None:
        """Look at the directory again, at most once a second; `now` in epoch milliseconds."""
        if self._files.refresh(now):
            self._by_name = {name: model for _, model in self._in_order() for name in model.names}

    def get(self, name: str) -> AuthenticatorModel | None:
        """Return the model of an AAGUID or key identifier, in lower-case hexadecimal, or None."""
        return self._by_name.get(name)

    def all(self) -> list[tuple[str, AuthenticatorModel]]:
        """Return the name of its file and every model, in the order of their names."""
        found = {model.names: (name, model) for name, model in self._in_order()}
        return [found[names] for names in sorted(found)]

    def _in_order(self) -> list[tuple[str, AuthenticatorModel]]:
        files = sorted(self._files.values().items(), key=lambda item: (item[0] != SERVICE_FILE, item[0]))
        return [(name, model) for name, models in files for model in models]


def read_models_file(path: Path) -> list[AuthenticatorModel]:
    """Return the models of a file: an entry, or as `metadata import` wrote it. Raises OSError, MalformedError."""
    with path.open("rb") as file:
        document = file.read(MAX_FILE_BYTES + 1)
    if len(document) > MAX_FILE_BYTES:
        raise MalformedError("$", f"more than {MAX_FILE_BYTES} bytes")
    value = strictjson.loads(document)
    if path.name != SERVICE_FILE:
        return [read_model(value)]
    entries = value.get("entries") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise MalformedError("$", "not as `metadata import` wrote it")
    return [read_model(entry, f"$.entries[{index}]") for index, entry in enumerate(entries)]


def is_model_file(source: Path) -> bool:
    """Tell whether a file is metadata of FIDO2 or U2F, rather than of UAF. Raises ConfigError: it cannot be read."""
    try:
        return is_model(strictjson.loads(read_statement(source)))
    except MalformedError:
        return False


def add_model_file(source: Path, directory: Path) -> AuthenticatorModel:
    """Validate the metadata in `source` and copy it into `directory` under its first name. Raises ConfigError."""
    document = read_statement(source)
    try:
        if len(document) > MAX_STATEMENT_BYTES:
            raise MalformedError("$", f"more than {MAX_STATEMENT_BYTES} bytes")
        model = read_model(strictjson.loads(document))
    except MalformedError as error:
        raise ConfigError(f"{source}: {error}") from None
    put_statement(directory, model.names[0], document)
    return model
