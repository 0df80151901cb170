"""What a scanned QR code is: a dispatched token, or something else, which is named and never followed."""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.errors import MalformedError

Chooser = Callable[[Sequence[str]], int | None]
"""Asked which of several dispatched tokens is meant, given as descriptions; returns its index or None."""

MAX_NAMED: Final = 5
_SHOWN_CHARACTERS: Final = 64
_KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("wifi:", "a Wi-Fi network's credentials"),
    ("dpp:", "a device to be added to a Wi-Fi network"),
    ("begin:vcard", "a contact"),
    ("mecard:", "a contact"),
    ("begin:vcalendar", "a calendar entry"),
    ("begin:vevent", "a calendar entry"),
    ("mailto:", "an e-mail to write"),
    ("matmsg:", "an e-mail to write"),
    ("tel:", "a telephone number"),
    ("sms:", "a text message to send"),
    ("smsto:", "a text message to send"),
    ("geo:", "a place"),
    ("otpauth:", "a secret for one-time passwords"),
    ("otpauth-migration:", "secrets for one-time passwords"),
    ("bitcoin:", "a payment address"),
    ("ethereum:", "a payment address"),
    ("spc\n", "a payment slip"),
    ("spc\r\n", "a payment slip"),
    ("bcd\n", "a payment slip"),
    ("bcd\r\n", "a payment slip"),
    ("fido:/", "a passkey request for a phone"),
)


class _Sent(msgspec.Struct, frozen=True):
    redeem_url: str = ""


def our_token(texts: Sequence[str], where: str, choose: Chooser | None = None) -> str:
    """Return the one of `texts`, the QR codes of an image called `where`, that is a dispatched token.

    Raises:
        MalformedPayloadError: none is, or several are and `choose` is not there or chooses none.
    """
    distinct = list(dict.fromkeys(texts))
    tokens = [(text, payload) for text in distinct if (payload := _payload(text)) is not None]
    if len(tokens) == 1:
        return tokens[0][0]
    if not tokens:
        raise MalformedPayloadError(_no_token([foreign_kind(text) for text in distinct], where))
    described = [_describe(payload) for _, payload in tokens]
    chosen = choose(described) if choose is not None else None
    if chosen is None:
        raise MalformedPayloadError(
            f"{where} holds more than one dispatched token: {_listed(described)}; show one at a time"
        )
    return tokens[chosen][0]


def foreign_kind(text: str) -> str:
    """Return what a QR code that is no dispatched token seems to be; what may be secret in it is not repeated."""
    start = text.lstrip().lower()
    known = next((kind for prefix, kind in _KINDS if start.startswith(prefix)), None)
    if known is not None:
        return known
    if f"{outofband.LINK_PARAMETER}=" in text:
        return "the link of a dispatched token, damaged"
    if start.startswith(("http://", "https://")):
        return f"a web address ({_host(text)}), which was not opened"
    scheme = start.partition(":")[0]
    if scheme != start and scheme[:1].isalpha() and all(c.isalnum() or c in "+-." for c in scheme):
        return f"a link of the kind {scheme[:_SHOWN_CHARACTERS]}:, which was not opened"
    return "a number" if start.strip().isdecimal() else "some text"


def _payload(text: str) -> outofband.Payload | None:
    try:
        return outofband.decode_scanned(text)
    except MalformedError:
        return None


def _no_token(kinds: list[str], where: str) -> str:
    if not kinds:
        return f"{where} holds no QR code that can be read"
    if len(kinds) == 1:
        return f"the QR code in {where} is no dispatched token but {kinds[0]}"
    return f"none of the {len(kinds)} QR codes in {where} is a dispatched token: {_listed(kinds)}"


def _describe(payload: outofband.Payload) -> str:
    """Return what tells a token from another: whom it is encrypted to, or what it is for."""
    try:
        if isinstance(payload.nma_data, str):
            key = jose.key_id(payload.nma_data, "$.nma_data")
            return f"one encrypted to the key {_shown(key)}" if key else "one encrypted to a key it does not name"
        url = strictjson.convert(payload.nma_data, _Sent, "$.nma_data").redeem_url
    except MalformedError:
        return "a malformed one"
    return f"one for {_shown(url.rpartition('/')[2])} at {_host(url)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return "; ".join(names[:MAX_NAMED]) + more


def _host(url: str) -> str:
    try:
        return _shown(urlsplit(url.strip()).netloc.rpartition("@")[2]) or "no host"
    except ValueError:
        return "no host"


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARACTERS])
