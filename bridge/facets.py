"""Fetching the trusted facet list of an AppID (FIDO AppID and facets 3.1.2; digest section 4)."""

from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

from fidoloop.bridge.errors import ClientFailureError, NetworkError
from fidoloop.bridge.facet_lists import FacetLists, KeptList
from fidoloop.bridge.http import Answer, is_https, is_loopback_http
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.facets import (
    TRUSTED_APPS_MEDIA_TYPE,
    is_trusted,
    needs_fetch,
    origin,
    trusted_ids,
)
from fidoloop.protocol.uaf.messages import Version
from fidoloop.protocol.uaf.status import ClientError

MAX_REDIRECTS = 3
NOT_MODIFIED = 304

Fetch = Callable[[str, Mapping[str, str]], Answer]
"""Gets one URL, with headers of a condition, without credentials, cookies or redirects."""


def check_facet(
    *,
    app_id: str,
    facet_id: str,
    version: Version,
    fetch: Fetch,
    lists: FacetLists | None = None,
    insecure: bool = False,
) -> str:
    """Return the AppID to use (the FacetID where `app_id` is empty), after checking that the facet may use it.

    `lists` are those kept from earlier; `insecure` lets a lab server's list be read over plain http on loopback.

    Raises:
        ClientFailureError: UNTRUSTED_FACET_ID, saying which step failed; people get this wrong most often.
    """
    if not app_id:
        return facet_id
    if not needs_fetch(app_id, facet_id):
        return app_id
    if not is_https(app_id):
        lists = None
    kept = lists.get(app_id) if lists is not None else None
    if lists is not None and kept is not None:
        if lists.is_fresh(kept) and _names(facet_id, kept.document, app_id, version):
            return app_id
        lists.forget(app_id)  # until the server says the same again
    answer, redirected = _fetch_list(app_id, fetch, kept, insecure=insecure)
    if not _names(facet_id, answer.body, app_id, version):
        raise _untrusted(f"the list at {app_id} does not name {facet_id}")
    if lists is not None and not redirected:
        lists.keep(app_id, answer.body, answer.headers)
    return app_id


def _names(facet_id: str, document: bytes, app_id: str, version: Version) -> bool:
    try:
        return is_trusted(facet_id, trusted_ids(document, app_id=app_id, version=version))
    except MalformedError as error:
        raise _untrusted(f"the list at {app_id} is unreadable ({error})") from None


def _fetch_list(app_id: str, fetch: Fetch, kept: KeptList | None, *, insecure: bool) -> tuple[Answer, bool]:
    """Return the answer that holds the list, and whether it came from elsewhere than the AppID."""
    url = app_id
    condition = {"If-None-Match": kept.etag} if kept is not None and kept.etag else {}
    for redirects in range(MAX_REDIRECTS + 1):
        if not is_https(url) and not (insecure and is_loopback_http(url)):
            raise _untrusted(f"{url} is not an https URL")
        if "@" in urlsplit(url).netloc:
            raise _untrusted(f"{origin(url)}: a URL with credentials in it")
        try:
            answer = fetch(url, {} if redirects else condition)
        except NetworkError as error:
            raise _untrusted(f"the list at {url} cannot be fetched ({error})") from None
        if kept is not None and condition and not redirects and answer.status == NOT_MODIFIED:
            return Answer(answer.status, {"etag": kept.etag or "", **answer.headers}, kept.document), False
        if 300 <= answer.status < 400 and "location" in answer.headers:
            if answer.headers.get("fido-appid-redirect-authorized", "").lower() != "true":
                raise _untrusted(f"{url} redirects without FIDO-AppID-Redirect-Authorized")
            url = _joined(url, answer.headers["location"])
            continue
        if answer.status != 200:
            raise _untrusted(f"{url} answers {answer.status}")
        if answer.media_type != TRUSTED_APPS_MEDIA_TYPE:
            raise _untrusted(f"{url} is {answer.media_type or 'untyped'}, not {TRUSTED_APPS_MEDIA_TYPE}")
        return answer, redirects > 0
    raise _untrusted(f"more than {MAX_REDIRECTS} redirects from {app_id}")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise _untrusted(f"{url} redirects to what is no URL") from None


def _untrusted(detail: str) -> ClientFailureError:
    return ClientFailureError(ClientError.UNTRUSTED_FACET_ID, detail)
