"""What key-store URIs have in common (RFC 7512 2.3): attributes, percent-encoding, and files that hold a secret."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from fidoloop.hsm.errors import PinRequired, UriError

REDACTED: Final = "<redacted>"  # not a legal value, so that a printed URI cannot be tried as a PIN by accident
_MAX_SECRET_FILE = 1024
# RFC 7512 2.3: pk11-path-res-avail and pk11-query-res-avail, besides unreserved characters and %XX.
PATH_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
QUERY_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[A-Za-z0-9\-_]+")
_PATH_SAFE = ":[]@!$'()*+,=&"
_QUERY_SAFE = ":[]@!$'()*+,=/?|"


def attributes(component: str, separator: str, legal: re.Pattern[str]) -> list[tuple[str, str]]:
    """Split a component into (name, raw value), refusing anything RFC 7512's grammar does not have."""
    pairs: list[tuple[str, str]] = []
    for part in component.split(separator) if component else []:
        name, equals, raw = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UriError("the URI holds something that is not name=value")
        if name == "pin-value" and raw == REDACTED:
            raise UriError(
                "the PIN of this URI was redacted when it was printed: put the PIN in, or leave pin-value out"
            )
        if not legal.fullmatch(raw):
            raise UriError(f"{name} has a character that must be percent-encoded, or a broken %-escape")
        if any(name == seen for seen, _ in pairs):
            raise UriError(f"{name} is given twice")
        pairs.append((name, raw))
    return pairs


def text_value(name: str, raw: str) -> str:
    """Decode a value that is text. Raises UriError where it is empty or not UTF-8."""
    try:
        value = decode(raw).decode()
    except UnicodeDecodeError:
        raise UriError(f"{name} is not UTF-8") from None
    if not value and name != "pin-value":
        raise UriError(f"{name} is empty")
    return value


def decode(raw: str) -> bytes:
    """Undo percent-encoding."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda hit: bytes.fromhex(hit[1].decode()), raw.encode("ascii"))


def quote_path(value: str | bytes | int) -> str:
    """Write a value as it stands in a URI's path; bytes are percent-encoded whole."""
    if isinstance(value, bytes):
        return "".join(f"%{byte:02X}" for byte in value)
    return quote(str(value), safe=_PATH_SAFE)


def quote_query(value: str) -> str:
    """Write a value as it stands in a URI's query."""
    return quote(value, safe=_QUERY_SAFE)


def read_secret(source: str, name: str, what: str) -> str:
    """Read the file that an attribute names by a path or a file: URI; one trailing newline is not part of the secret.

    Args:
        source: the attribute's value.
        name: the attribute, e.g. "pin-source".
        what: what the file holds, for the errors, e.g. "PIN".

    Raises:
        UriError: no file is named; PinRequired: it cannot be read, or holds no text.
    """
    if source.startswith("|"):
        raise UriError(f"{name} by a command is not supported: name a file")
    path = _file_of(source, name)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise PinRequired(f"the {what} file {path} cannot be read: {reason}") from None
    if len(content) > _MAX_SECRET_FILE:
        raise PinRequired(f"the {what} file {path} is longer than {_MAX_SECRET_FILE} bytes: that is no {what}")
    try:
        return content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise PinRequired(f"the {what} file {path} is not UTF-8") from None


def _file_of(source: str, name: str) -> Path:
    if not source.startswith("file:"):
        if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", source):
            raise UriError(f"{name} is a path or a file: URI")
        return Path(source)
    try:
        parts = urlsplit(source)
    except ValueError:
        raise UriError(f"{name} is not a valid file: URI") from None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise UriError(f"{name} as a file: URI is file:///absolute/path")
    if not QUERY_VALUE.fullmatch(parts.path):
        raise UriError(f"{name} has a broken %-escape")
    return Path(text_value(name, parts.path))
