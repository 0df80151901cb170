"""AppID and FacetID: who may act for an application (FIDO AppID and facets 3.1; digest section 4)."""

import re
from functools import cache
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta
from publicsuffixlist import PublicSuffixList

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import V1_0, V1_1, Version

MAX_LIST_BYTES = 65536
MAX_FACETS = 1024
TRUSTED_APPS_MEDIA_TYPE = "application/fido.trusted-apps+json"
_DEFAULT_PORTS = {"https": 443, "http": 80}
_APP = re.compile(r"android:apk-key-hash[a-z0-9-]*:[A-Za-z0-9+/_-]+|ios:bundle-id:[A-Za-z0-9.-]+")
_LIST_VERSIONS = (V1_0, V1_1, Version(1, 2))


class TrustedFacets(msgspec.Struct, frozen=True):
    """The facets that one protocol version trusts."""

    version: Version
    ids: Annotated[tuple[str, ...], Meta(max_length=MAX_FACETS)]


class TrustedFacetList(msgspec.Struct, frozen=True):
    """The JSON document at an AppID URL."""

    trustedFacets: Annotated[tuple[TrustedFacets, ...], Meta(max_length=16)]


def encode_trusted_facets(ids: tuple[str, ...]) -> str:
    """Return the list document with the same `ids` for 1.0, 1.1 and 1.2: clients differ in which they look for."""
    return strictjson.encode(TrustedFacetList(tuple(TrustedFacets(version, ids) for version in _LIST_VERSIONS)))


def origin(url: str) -> str | None:
    """Return scheme://host[:port] of an http(s) URL, default port left out, lower case; None for anything else.

    A backslash, which browsers read as a slash and others as part of the host, makes it anything else.
    """
    parts = _split(url)
    try:
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "\\" in url:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port is not None and port != _DEFAULT_PORTS[parts.scheme] else ""
    )


def needs_fetch(app_id: str, facet_id: str) -> bool:
    """Tell whether trust must be read from the list at `app_id` (steps a to d of the algorithm).

    No fetch: the AppID is empty or equals the facet, or both are https with the same host.
    """
    if not app_id or app_id == facet_id:
        return False
    if origin(app_id) is None or origin(facet_id) is None:
        return True
    app, facet = _split(app_id), _split(facet_id)
    return not (app.scheme == facet.scheme == "https" and app.hostname == facet.hostname)


def trusted_ids(document: bytes, *, app_id: str, version: Version) -> frozenset[str]:
    """Return the facets that the list `document` trusts for messages of `version`; exact version, else 1.0.

    http ids are discarded, and https ids under another least-specific private label than the AppID's host.

    Raises:
        MalformedError: not a trusted facet list, or larger than 64 KiB.
    """
    if len(document) > MAX_LIST_BYTES:
        raise MalformedError("$", f"trusted facet list of {len(document)} bytes, at most {MAX_LIST_BYTES} allowed")
    parsed = strictjson.decode(document, TrustedFacetList)
    by_version = {entry.version: entry.ids for entry in parsed.trustedFacets}
    ids = by_version.get(version, by_version.get(V1_0, ()))
    label = _private_label(_split(app_id).hostname or "")
    trusted = set()
    for facet in ids:
        parts = _split(facet)
        if parts.scheme == "https":
            facet_origin = origin(facet)
            if facet_origin and _private_label(parts.hostname or "") == label:
                trusted.add(facet_origin)
        elif not facet.lower().startswith(("http:", "https:")):
            trusted.add(facet)
    return frozenset(trusted)


def why_discarded(facet: str, *, app_id: str) -> str | None:
    """Return why clients discard `facet` from the list at the https URL `app_id`, or know it by another name; or None.

    An Android or iOS app is known by android:apk-key-hash:HASH (base64 without padding) or ios:bundle-id:ID.
    """
    if facet.startswith("https:"):
        label = _private_label(_split(app_id).hostname or "")
        if origin(facet) is None:
            return "not an https origin"
        return None if _private_label(_split(facet).hostname or "") == label else f"not under {label} as the AppID is"
    if facet.startswith("http:"):
        return "a page without TLS"
    if facet.startswith("android:") and facet.endswith("="):
        return "a hash with padding"
    return None if _APP.fullmatch(facet) else "neither an https origin nor android:apk-key-hash:… or ios:bundle-id:…"


def is_trusted(facet_id: str, trusted: frozenset[str] | tuple[str, ...]) -> bool:
    """Tell whether `facet_id` is among `trusted`; web facets are compared as origins."""
    if facet_id in trusted:
        return True
    facet_origin = origin(facet_id) if facet_id.startswith("https:") else None
    return facet_origin is not None and any(facet_origin == origin(other) for other in trusted)


def _split(url: str) -> SplitResult:
    """Return the parts of `url`, all empty where it is no URL at all."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _private_label(host: str) -> str:
    """Return public suffix + one label, or the host itself where it has none (an address, localhost)."""
    host = host.lower()
    try:
        ip_address(host)
    except ValueError:
        return _suffixes().privatesuffix(host) or host
    return host


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
