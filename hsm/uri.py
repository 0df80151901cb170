"""PKCS #11 URIs (RFC 7512): parse, write, redact, and fetch the PIN they point to."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from fidoloop.hsm.errors import PinRequired, UriError

_SCHEME = "pkcs11:"
_REDACTED = "<redacted>"  # not a legal value, so that a printed URI cannot be tried as a PIN by accident
_MAX_PIN_FILE = 1024
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
# RFC 7512 2.3: pk11-path-res-avail and pk11-query-res-avail, besides unreserved characters and %XX.
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[A-Za-z0-9\-_]+")
_PATH_SAFE = ":[]@!$'()*+,=&"
_QUERY_SAFE = ":[]@!$'()*+,=/?|"


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
        return self._write(pin=None if self.pin_value is None else f"pin-value={_REDACTED}")

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
        return None if self.pin_source is None else _read_pin(self.pin_source)

    def _write(self, *, pin: str | None) -> str:
        path = []
        for name, attribute in _PATH_FIELDS.items():
            value = getattr(self, attribute)
            if value is not None:
                path.append(f"{name}={_quote_path(value)}")
        query = []
        for name, value in (("module-path", self.module_path), ("pin-source", self.pin_source)):
            if value is not None:
                query.append(f"{name}={quote(value, safe=_QUERY_SAFE)}")
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
    for name, raw in _attributes(path, ";", _PATH_VALUE):
        if name == "type":
            if raw not in _TYPES:
                raise UriError("type is one of " + ", ".join(sorted(_TYPES)))
        elif name in _PATH_FIELDS:
            found[_PATH_FIELDS[name]] = _path_value(name, raw)
        elif name in _REFUSED or "-" not in name:
            raise UriError(_REFUSED.get(name, f"unknown attribute {name!r} in the URI's path"))
    for name, raw in _attributes(query, "&", _QUERY_VALUE):
        if name in _QUERY_FIELDS:
            found[_QUERY_FIELDS[name]] = _text(name, raw)
        elif name in _REFUSED:
            raise UriError(_REFUSED[name])
    if "pin_source" in found and "pin_value" in found:
        raise UriError("pin-source and pin-value exclude each other (RFC 7512 2.4)")
    return Pkcs11Uri(**found)  # type: ignore[arg-type]  # each value was made by its own attribute's rule


def _attributes(component: str, separator: str, legal: re.Pattern[str]) -> list[tuple[str, str]]:
    """Split a component into (name, raw value), refusing anything RFC 7512's grammar does not have."""
    pairs: list[tuple[str, str]] = []
    for part in component.split(separator) if component else []:
        name, equals, raw = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UriError("the URI holds something that is not name=value")
        if name == "pin-value" and raw == _REDACTED:
            raise UriError(
                "the PIN of this URI was redacted when it was printed: put the PIN in, or leave pin-value out"
            )
        if not legal.fullmatch(raw):
            raise UriError(f"{name} has a character that must be percent-encoded, or a broken %-escape")
        if any(name == seen for seen, _ in pairs):
            raise UriError(f"{name} is given twice")
        pairs.append((name, raw))
    return pairs


def _path_value(name: str, raw: str) -> str | bytes | int:
    if not raw:
        raise UriError(f"{name} is empty")
    if name == "id":
        return _decode(raw)
    if name == "slot-id":
        if not re.fullmatch(r"[0-9]{1,20}", raw):
            raise UriError("slot-id is a decimal number")
        return int(raw)
    return _text(name, raw)


def _text(name: str, raw: str) -> str:
    try:
        value = _decode(raw).decode()
    except UnicodeDecodeError:
        raise UriError(f"{name} is not UTF-8") from None
    if not value and name != "pin-value":
        raise UriError(f"{name} is empty")
    return value


def _decode(raw: str) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda hit: bytes.fromhex(hit[1].decode()), raw.encode("ascii"))


def _quote_path(value: str | bytes | int) -> str:
    if isinstance(value, bytes):
        return "".join(f"%{byte:02X}" for byte in value)
    return quote(str(value), safe=_PATH_SAFE)


def _read_pin(source: str) -> str:
    """Read a PIN file named by a path or a file: URI; one trailing newline is not part of the PIN."""
    if source.startswith("|"):
        raise UriError("pin-source by a command is not supported: name a file")
    path = _file_of(source)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PIN_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise PinRequired(f"the PIN file {path} cannot be read: {reason}") from None
    if len(content) > _MAX_PIN_FILE:
        raise PinRequired(f"the PIN file {path} is longer than {_MAX_PIN_FILE} bytes: that is no PIN")
    try:
        return content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise PinRequired(f"the PIN file {path} is not UTF-8") from None


def _file_of(source: str) -> Path:
    if not source.startswith("file:"):
        if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", source):
            raise UriError("pin-source is a path or a file: URI")
        return Path(source)
    try:
        parts = urlsplit(source)
    except ValueError:
        raise UriError("pin-source is not a valid file: URI") from None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise UriError("pin-source as a file: URI is file:///absolute/path")
    if not _QUERY_VALUE.fullmatch(parts.path):
        raise UriError("pin-source has a broken %-escape")
    return Path(_text("pin-source", parts.path))
