"""PKCS #11 URIs (RFC 7512): parse, write, redact, and fetch the PIN they point to."""

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from fidoloop.hsm.errors import UriError
from fidoloop.hsm.uri_syntax import (
    PATH_VALUE,
    QUERY_VALUE,
    REDACTED,
    attributes,
    decode,
    quote_path,
    quote_query,
    read_secret,
    text_value,
)

_SCHEME = "pkcs11:"
_PATH_FIELDS = {
    "token": "token",
    "serial": "serial",
    "manufacturer": "manufacturer",
    "model": "model",
    "slot-id": "slot_id",
    "id": "id",
    "object": "object",
}
_QUERY_FIELDS = {"module-path": "module_path", "pin-source": "pin_source", "pin-value": "pin_value"}
_REFUSED = {
    "module-name": "module-name is not supported: name the module's file with module-path",
    **{
        name: f"{name} is not supported: choose the token by token, serial, manufacturer, model or slot-id"
        for name in (
            "library-manufacturer",
            "library-description",
            "library-version",
            "slot-description",
            "slot-manufacturer",
        )
    },
}
_TYPES = {"public", "private", "cert", "secret-key", "data"}


@dataclass(frozen=True)
class Pkcs11Uri:
    """A parsed PKCS #11 URI; an attribute that is None was not in it.

    Printing one (`str`, `repr`) redacts the PIN; `unredacted` writes it whole.
    """

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    id: bytes | None = None
    object: str | None = None
    module_path: str | None = None
    pin_source: str | None = None
    pin_value: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self._write(pin=None if self.pin_value is None else f"pin-value={REDACTED}")

    def unredacted(self) -> str:
        """Write the URI with its PIN: for handing on to another program, never for printing or storing."""
        return self._write(pin=None if self.pin_value is None else f"pin-value={quote(self.pin_value, safe='')}")

    def without_pin(self) -> str:
        """Write the URI with no pin-value at all: for storing; the PIN has to come from elsewhere."""
        return self._write(pin=None)

    def describe_token(self) -> str:
        """Say which token is meant, in words for an error message."""
        named = (("token", self.token), ("serial", self.serial), ("manufacturer", self.manufacturer))
        rest = (("model", self.model), ("slot-id", self.slot_id))
        parts = [f"{name} {value!r}" for name, value in named + rest if value is not None]
        return ", ".join(parts) or "any token"

    def pin(self) -> str | None:
        """Return the PIN this URI holds or points to, None if it does neither. Raises PinRequired, UriError."""
        if self.pin_value is not None:
            return self.pin_value
        return None if self.pin_source is None else read_secret(self.pin_source, "pin-source", "PIN")

    def _write(self, *, pin: str | None) -> str:
        path = []
        for name, attribute in _PATH_FIELDS.items():
            value = getattr(self, attribute)
            if value is not None:
                path.append(f"{name}={quote_path(value)}")
        query = []
        for name, value in (("module-path", self.module_path), ("pin-source", self.pin_source)):
            if value is not None:
                query.append(f"{name}={quote_query(value)}")
        if pin is not None:
            query.append(pin)
        return _SCHEME + ";".join(path) + ("?" + "&".join(query) if query else "")


def parse_uri(text: str) -> Pkcs11Uri:
    """Parse a PKCS #11 URI (RFC 7512 2.3 and 2.4).

    Percent-encoding is checked strictly; an attribute given twice or empty is refused. Unknown vendor attributes
    are ignored; an unknown path attribute without a hyphen is taken for a misspelled standard one and refused,
    because it would widen the search to any token. `type` is checked and has no effect.
    Raises UriError, whose message never holds a PIN.
    """
    if not text.startswith(_SCHEME):
        raise UriError(f"a key-store URI begins with {_SCHEME!r}")
    path, _, query = text[len(_SCHEME) :].partition("?")
    found: dict[str, str | bytes | int] = {}
    for name, raw in attributes(path, ";", PATH_VALUE):
        if name == "type":
            if raw not in _TYPES:
                raise UriError("type is one of " + ", ".join(sorted(_TYPES)))
        elif name in _PATH_FIELDS:
            found[_PATH_FIELDS[name]] = _path_value(name, raw)
        elif name in _REFUSED or "-" not in name:
            raise UriError(_REFUSED.get(name, f"unknown attribute {name!r} in the URI's path"))
    for name, raw in attributes(query, "&", QUERY_VALUE):
        if name in _QUERY_FIELDS:
            found[_QUERY_FIELDS[name]] = text_value(name, raw)
        elif name in _REFUSED:
            raise UriError(_REFUSED[name])
    if "pin_source" in found and "pin_value" in found:
        raise UriError("pin-source and pin-value exclude each other (RFC 7512 2.4)")
    return Pkcs11Uri(**found)  # type: ignore[arg-type]  # each value was made by its own attribute's rule


def _path_value(name: str, raw: str) -> str | bytes | int:
    if not raw:
        raise UriError(f"{name} is empty")
    if name == "id":
        return decode(raw)
    if name == "slot-id":
        if not re.fullmatch(r"[0-9]{1,20}", raw):
            raise UriError("slot-id is a decimal number")
        return int(raw)
    return text_value(name, raw)
