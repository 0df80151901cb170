"""What every answer bears for the browser that may be at the other end; an answer's own headers come before these.

HSTS (RFC 6797), Content Security Policy Level 3, Referrer Policy, Fetch's Cross-Origin-Resource-Policy, HTML's
Cross-Origin-Opener-Policy, Permissions Policy. No CORS header is ever sent: no other origin reads anything.
"""

from urllib.parse import urlsplit

from fidoloop.server.config import is_loopback
from fidoloop.server.http.messages import Response

Headers = tuple[tuple[bytes, bytes], ...]
_YEAR = b"max-age=31536000"
_ALWAYS: Headers = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_PAGES: Headers = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), hid=(), serial=(), bluetooth=(),"
        b" publickey-credentials-create=(self), publickey-credentials-get=(self)",
    ),
)
HTML = "text/html"


class SecureHeaders:
    """The headers of one server's answers."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        # A browser keeps it for the name, whatever the port: no other server on localhost may be shut out by it.
        https = parts.scheme == "https" and not is_loopback(parts.hostname or "")
        hsts: Headers = ((b"strict-transport-security", _YEAR),) if https else ()
        self.always = (*_ALWAYS, *hsts)
        self._pages = (*self.always, *_PAGES)

    def missing_from(self, response: Response) -> Headers:
        """Return what an answer has not itself."""
        wanted = self._pages if response.content_type.startswith(HTML) else self.always
        if not response.headers:
            return wanted
        given = {name for name, _ in response.headers}
        return tuple(header for header in wanted if header[0] not in given)
