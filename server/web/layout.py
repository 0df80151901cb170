"""What all pages share: the frame around their content, and the headers they are sent with."""

from functools import cache
from html import escape
from importlib import resources

from fidoloop.server.http.messages import Response

STYLE = "/web/fidoloop.css"
SCRIPT = "/web/fidoloop.js"
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    b" trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


def page(name: str, title: str, *, style: str = STYLE, script: str = SCRIPT) -> Response:
    """Return the page whose content is `static/NAME.html`; its script finds NAME in the body's `data-page`."""
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · fidoloop</title>\n"
        '<link rel="icon" href="data:,">\n'
        f'<link rel="stylesheet" href="{style}">\n<script type="module" src="{script}"></script>\n</head>\n'
        f'<body data-page="{escape(name)}">\n{static(f"{name}.html").decode("utf-8")}</body>\n</html>\n'
    )
    return Response(200, text.encode("utf-8"), "text/html; charset=utf-8", HEADERS)


@cache
def static(name: str) -> bytes:
    """Return a file of `static/`."""
    return resources.files(__package__).joinpath("static", name).read_bytes()


def elsewhere(path: str) -> Response:
    """Return the way to another page of this server."""
    return Response(303, headers=(*HEADERS, (b"location", path.encode("ascii"))))
