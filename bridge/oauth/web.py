"""What no app can do, a browser does: the way there, and what it brings back (RFC 6749 4.1, RFC 9126, RFC 9207)."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.oauth.errors import OAuthRefusedError

ACR: Final = "web"
PAR, AUTHORIZE = "/par", "/authorize"
REDIRECT_TO_WEB: Final = "redirect_to_web"


class Browser(Protocol):
    """A browser, and where it comes back to."""

    @property
    def redirect_uri(self) -> str:
        """The redirect_uri of a request."""
        ...

    def visit(self, url: str, state: str) -> Mapping[str, str]:
        """Send the browser to a URL; return the parameters that it comes back with, `state` among them.

        Raises:
            UserDeclinedError: it does not come back.
        """
        ...


def authorize_url(base_url: str, client_id: str, request_uri: str) -> str:
    """Return where a browser goes with a pushed request (RFC 9126 section 4)."""
    return f"{base_url}{AUTHORIZE}?{urlencode({'client_id': client_id, 'request_uri': request_uri})}"


def code_in(answer: Mapping[str, str], *, issuer: str) -> str:
    """Return the code in an answer of this issuer's (RFC 9207 section 2.4).

    Raises:
        OAuthRefusedError: another's answer, or an error; UserDeclinedError: access_denied.
    """
    if answer.get("iss") != issuer:
        raise OAuthRefusedError(400, "invalid_response", "the browser came back from another server")
    error = answer.get("error")
    if error == "access_denied":
        raise UserDeclinedError("the person at the browser said no")
    if error is not None or "code" not in answer:
        words = answer.get("error_description", "there is no code in the answer")
        raise OAuthRefusedError(400, (error or "invalid_response")[:100], words[:300])
    return answer["code"]


def with_way_back(registered: Mapping[str, Any], uris: tuple[str, ...]) -> dict[str, Any] | None:
    """Return a registration with these redirect_uris too (RFC 7592 section 2.2), None where they are there."""
    there = list(registered.get("redirect_uris", ()))
    if set(uris) <= set(there):
        return None
    kept = {name: value for name, value in registered.items() if name not in _ANSWERED}
    return kept | {"redirect_uris": [*there, *(uri for uri in uris if uri not in there)]}


_ANSWERED: Final = frozenset(
    {"client_id_issued_at", "registration_client_uri", "registration_access_token", "client_attestation"}
)
