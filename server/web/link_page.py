"""The page behind an app link, for a device where no app took the link (HTTP contract 8 and 13).

Whoever opens it learns what to do. It starts, redeems and uses up nothing: messengers and mail scanners open links too,
and people open them twice.
"""

import re
from html import escape
from urllib.parse import parse_qs

from fidoloop.protocol.outofband import LINK_PARAMETER, MAX_PAYLOAD_CHARACTERS
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.settings.declared import DEFAULT_LINK_BASE_URL
from fidoloop.server.web.layout import STYLE

PATH = "/link"
_POLICY = b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-robots-tag", b"noindex"),
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Open this link with your phone's app · fidoloop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
</head>
<body>
<main>
<h1>Open this link with your phone's app</h1>
{content}
</main>
</body>
</html>
"""
_WHOLE = """<p>It asks the app on your phone to log you in, to confirm something or to enrol you. You see this page
because no app on this device took it.</p>
<ol>
<li>On the phone that you enrolled: <a href="{app}">open it in the app</a>.</li>
<li>On another device: open the same link on that phone, or scan the code beside it.</li>
<li>With the command: <code>fidoloop phone open</code> and the whole address of this page, in quotes.</li>
</ol>
<p>This page has done nothing with it: nobody is logged in by opening it, and the link can still be used, once and for a
few minutes. If you did not ask for it, close this page, and do not open the link in the app.</p>"""
_CUT = """<p>This address is not whole: what the app needs is missing or cut off. Copy the link again, all of it, or
ask for a new one.</p>
<p>Nothing was done by opening this page.</p>"""


async def serve(environment: Environment, request: Request) -> Response:
    """Answer with the page; the store is not asked."""
    token = _token(request.query)
    content = _CUT
    if token is not None:
        content = _WHOLE.format(app=escape(f"{DEFAULT_LINK_BASE_URL}?{LINK_PARAMETER}={token}"))
    text = _FRAME.format(style=STYLE, content=content)
    return Response(200, text.encode("utf-8"), "text/html; charset=utf-8", _HEADERS)


def _token(query: bytes) -> str | None:
    """Return the token in a query, if it could be one: nothing else is ever shown."""
    try:
        found = parse_qs(query.decode("ascii"), max_num_fields=8).get(LINK_PARAMETER, [])
    except ValueError:
        return None
    whole = len(found) == 1 and len(found[0]) <= MAX_PAYLOAD_CHARACTERS and _TOKEN.fullmatch(found[0])
    return found[0] if whole else None
