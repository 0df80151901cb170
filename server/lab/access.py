"""Who may look into the lab: the browser that showed the printed token, from this server's own pages.

Token and cookie live in this process and end with it.
"""

import hmac
import re
from functools import wraps
from typing import TYPE_CHECKING, Final

from fidoloop.protocol.uaf.facets import origin
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.web import cookies

if TYPE_CHECKING:
    from fidoloop.server.environment import Environment
    from fidoloop.server.http.dispatch import Handler
    from fidoloop.server.http.messages import EventStream, Response

COOKIE: Final = "__Host-fidoloop-lab"
COOKIE_SECONDS: Final = 12 * 3600
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_SAME_SITE = frozenset({b"", b"same-origin", b"none"})


class Access:
    """One token, good once, and the cookie it was exchanged for."""

    def __init__(self) -> None:
        self.token = cookies.new_secret()
        """What is printed; of no more use once it was shown."""
        self._is_used = False
        self._cookie_hash = ""
        self._expires_at = 0

    def enter(self, token: str, *, now: int) -> str | None:
        """Return the value of a fresh cookie for the token; None where it is another, or was used."""
        if self._is_used or not hmac.compare_digest(token.encode("utf-8"), self.token.encode("ascii")):
            return None
        self._is_used = True
        secret = cookies.new_secret()
        self._cookie_hash, self._expires_at = cookies.digest(secret), now + 1000 * COOKIE_SECONDS
        return secret

    def admits(self, request: Request, *, now: int) -> bool:
        """Tell whether a request bears the cookie."""
        shown = cookies.read_digest(request, COOKIE)
        return bool(shown) and now < self._expires_at and hmac.compare_digest(shown, self._cookie_hash)

    def leave(self) -> None:
        """Let the cookie be of no more use."""
        self._cookie_hash = ""


def for_own_pages(handler: "Handler") -> "Handler":
    """Return `handler` behind the checks of Host and Origin: no other name for this machine, no other page."""

    @wraps(handler)
    async def serve(environment: "Environment", request: Request) -> "Response | EventStream":
        _check_origin(environment.config.base_url, request)
        return await handler(environment, request)

    return serve


def for_the_lab(handler: "Handler") -> "Handler":
    """Return `handler` behind those checks and that of the cookie."""

    @wraps(handler)
    async def serve(environment: "Environment", request: Request) -> "Response | EventStream":
        lab = environment.lab
        if lab is None or not lab.access.admits(request, now=environment.clock()):
            raise HttpProblem(401, "open the lab console by the URL that the server printed when it started")
        return await handler(environment, request)

    return for_own_pages(serve)


def _check_origin(base_url: str, request: Request) -> None:
    """Refuse what was not asked of this server by its name, or by another page than its own.

    A page that had its name resolved to this machine (DNS rebinding) shows its own name in Host.

    Raises:
        HttpProblem: 403.
    """
    own = origin(base_url)
    hosts = request.fields(b"host")
    scheme = base_url.partition(":")[0].lower()
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]) or origin(f"{scheme}://{hosts[0]}") != own:
        raise HttpProblem(403, f"Host is not this server's name: open it as {own}")
    origins = request.fields(b"origin")
    is_needed = request.method != "GET"
    if (origins or is_needed) and origins != [own]:
        raise HttpProblem(403, f"not from a page of this server: open it as {own}")
    if request.headers.get(b"sec-fetch-site", b"") not in _SAME_SITE:
        raise HttpProblem(403, f"not from a page of this server: open it as {own}")
