"""Parameters of a request to the authorization server: a form, or a JSON object of texts (OAuth contract 0.1)."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.http.messages import JSON, Request

FORM: Final = "application/x-www-form-urlencoded"
MAX_PARAMETERS: Final = 64
INVALID: Final = "invalid_request"


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, without parameters, in lower case."""
    raw = request.headers.get(b"content-type", b"").decode("latin-1")
    return raw.partition(";")[0].strip().lower()


def read_parameters(request: Request, *, json_allowed: bool = False) -> Mapping[str, str]:
    """Return the parameters in a request's body.

    Raises:
        OAuthRefusal: invalid_request: another media type, unreadable, or a parameter that stands twice (RFC 6749 3.1).
    """
    kind = media_type_of(request)
    if kind == JSON and json_allowed:
        return _from_json(request.body)
    if kind != FORM:
        raise OAuthRefusal(INVALID, f"the body is not {FORM}")
    found, repeated = read_form(request.body)
    for name in repeated:
        raise OAuthRefusal(INVALID, f"the parameter {name[:40]!r} stands twice")
    return found


def read_form(text: bytes) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the parameters of a form, the first of each name, and the names that stand more than once.

    Raises:
        OAuthRefusal: invalid_request: it is unreadable.
    """
    try:
        pairs = _pairs(text.decode("ascii"))
    except ValueError:
        raise OAuthRefusal(INVALID, "the parameters are no form") from None
    found: dict[str, str] = {}
    repeated = set()
    for name, value in pairs:
        if name in found:
            repeated.add(name)
        found.setdefault(name, value)
    # A parameter without a value is as one left out (RFC 6749 section 3.1).
    return {name: value for name, value in found.items() if value}, frozenset(repeated)


def _pairs(text: str) -> Sequence[tuple[str, str]]:
    """Return names and values. Raises ValueError."""
    if "%" in text or "+" in text or not text or text.count("&") >= MAX_PARAMETERS:
        return parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    # Nothing is escaped: tokens and codes never are. A token request has no time to lose.
    split = [field.partition("=") for field in text.split("&")]
    if not all(equals for _, equals, _ in split):
        raise ValueError("a field without =")
    return [(name, value) for name, _, value in split]


def required(parameters: Mapping[str, str], name: str) -> str:
    """Return a parameter that must be there. Raises OAuthRefusal: invalid_request."""
    value = parameters.get(name)
    if value is None:
        raise OAuthRefusal(INVALID, f"{name} is missing")
    return value


def _from_json(body: bytes) -> Mapping[str, str]:
    try:
        value = strictjson.loads(body)
        return msgspec.convert(value, dict[str, str])
    except (MalformedError, msgspec.ValidationError):
        raise OAuthRefusal(INVALID, "the body is no JSON object of texts") from None
