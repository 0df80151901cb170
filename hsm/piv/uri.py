"""URIs of PIV cards, `piv:reader=NAME;serial=N?pin-source=FILE&management-key-source=FILE`, in RFC 7512's manner."""

from dataclasses import dataclass, field
from urllib.parse import quote

from fidoloop.hsm.errors import UriError
from fidoloop.hsm.uri_syntax import (
    PATH_VALUE,
    QUERY_VALUE,
    REDACTED,
    attributes,
    quote_path,
    quote_query,
    read_secret,
    text_value,
)

SCHEME = "piv:"
_PATH_FIELDS = {"reader": "reader", "serial": "serial"}
_QUERY_FIELDS = {
    "pin-source": "pin_source",
    "pin-value": "pin_value",
    "management-key-source": "management_key_source",
    "management-key": "management_key",
}


@dataclass(frozen=True)
class PivUri:
    """A parsed URI of a PIV card; an attribute that is None was not in it.

    `reader` is a PC/SC reader's name, or a part of it that only one reader has; `serial` is what the card says.
    `management_key` is "default", which asks for the factory's management key by name; a key itself comes from a file.
    Printing a URI (`str`, `repr`) redacts the PIN; `unredacted` writes it whole.
    """

    reader: str | None = None
    serial: str | None = None
    pin_source: str | None = None
    pin_value: str | None = field(default=None, repr=False)
    management_key_source: str | None = None
    management_key: str | None = None

    def __str__(self) -> str:
        return self._write(pin=None if self.pin_value is None else f"pin-value={REDACTED}")

    def unredacted(self) -> str:
        """Write the URI with its PIN: for handing on to another program, never for printing or storing."""
        return self._write(pin=None if self.pin_value is None else f"pin-value={quote(self.pin_value, safe='')}")

    def without_pin(self) -> str:
        """Write the URI with no pin-value at all: for storing; the PIN has to come from elsewhere."""
        return self._write(pin=None)

    def describe(self) -> str:
        """Say which card is meant, in words for an error message."""
        parts = []
        if self.serial is not None:
            parts.append(f"serial {self.serial!r}")
        if self.reader is not None:
            parts.append(f"in reader {self.reader!r}")
        return " ".join(parts) or "in any reader"

    def pin(self) -> str | None:
        """Return the PIN this URI holds or points to, None if it does neither. Raises PinRequired, UriError."""
        if self.pin_value is not None:
            return self.pin_value
        return None if self.pin_source is None else read_secret(self.pin_source, "pin-source", "PIN")

    def _write(self, *, pin: str | None) -> str:
        path = ";".join(
            f"{name}={quote_path(value)}"
            for name, attribute in _PATH_FIELDS.items()
            if (value := getattr(self, attribute)) is not None
        )
        query = [
            f"{name}={quote_query(value)}"
            for name, attribute in _QUERY_FIELDS.items()
            if name != "pin-value" and (value := getattr(self, attribute)) is not None
        ]
        if pin is not None:
            query.append(pin)
        return SCHEME + path + ("?" + "&".join(query) if query else "")


def parse_piv_uri(text: str) -> PivUri:
    """Parse a PIV card's URI, as strictly as `parse_uri`; attributes with a hyphen that are not ours are ignored.

    Raises UriError, whose message never holds a PIN or key.
    """
    if not text.startswith(SCHEME):
        raise UriError(f"the URI of a PIV card begins with {SCHEME!r}")
    path, _, query = text[len(SCHEME) :].partition("?")
    found: dict[str, str] = {}
    for name, raw in attributes(path, ";", PATH_VALUE):
        if name in _PATH_FIELDS:
            found[_PATH_FIELDS[name]] = text_value(name, raw)
        elif "-" not in name:
            raise UriError(f"unknown attribute {name!r} in the URI's path: a card is named by reader and serial")
    for name, raw in attributes(query, "&", QUERY_VALUE):
        if name in _QUERY_FIELDS:
            found[_QUERY_FIELDS[name]] = text_value(name, raw)
    if "pin_source" in found and "pin_value" in found:
        raise UriError("pin-source and pin-value exclude each other (RFC 7512 2.4)")
    if "management_key" in found and "management_key_source" in found:
        raise UriError("management-key-source and management-key exclude each other")
    if found.get("management_key", "default") != "default":
        raise UriError(
            "management-key can only be 'default', the factory's key: name a file that holds another one with "
            "management-key-source"
        )
    return PivUri(**found)
