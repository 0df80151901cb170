"""What all pages share: the frame around their content, and the headers they are sent with."""

from functools import cache
from html import escape
from importlib import resources

from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response

STATIC = "/web/static/*"
_DIRECTORY = STATIC.removesuffix("*")
STYLE = f"{_DIRECTORY}fidoloop.css"
_WAYS = b"<!-- ways -->\n"
_OPERATION = b"<!-- operation -->\n"
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    b" trusted-types 'none'"
)
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
HEADERS = ((b"content-security-policy", _POLICY),)


def page(name: str, title: str, *, logged_in: bool) -> Response:
    """Return the page whose content is `static/NAME.html`, run by `static/NAME.js`, which may ask who is logged in.

    It has a style of its own where there is a `static/NAME.css`.
    """
    content = static(f"{name}.html").replace(_WAYS, static("ways.html")).replace(_OPERATION, static("operation.html"))
    head = f'<script type="module" src="{_DIRECTORY}{name}.js"></script>\n'
    if f"{name}.css" in _names():
        head = f'<link rel="stylesheet" href="{_DIRECTORY}{name}.css">\n{head}'
    return _framed(title, content.decode("utf-8"), head=head, body=" data-logged-in" if logged_in else "")


def words_page(title: str, words: str, *, status: int) -> Response:
    """Return a page that says something and does nothing."""
    return _framed(title, f"<main>\n<h1>{escape(title)}</h1>\n<p>{escape(words)}</p>\n</main>\n", status=status)


def _framed(title: str, content: str, *, head: str = "", body: str = "", status: int = 200) -> Response:
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · fidoloop</title>\n"
        '<link rel="icon" href="data:,">\n'
        f'<link rel="stylesheet" href="{STYLE}">\n'
        f"{head}</head>\n<body{body}>\n{content}</body>\n</html>\n"
    )
    return Response(status, text.encode("utf-8"), "text/html; charset=utf-8", HEADERS)


async def serve_static(environment: Environment, request: Request) -> Response:
    """Answer with what pages load."""
    content_type = _TYPES.get(request.identifier.rpartition(".")[2])
    if content_type is None or request.identifier not in _names():
        raise HttpProblem(404, "there is nothing at this path")
    return Response(200, static(request.identifier), content_type, HEADERS)


@cache
def _names() -> frozenset[str]:
    return frozenset(entry.name for entry in resources.files(__package__).joinpath("static").iterdir())


@cache
def static(name: str) -> bytes:
    """Return a file of `static/`."""
    return resources.files(__package__).joinpath("static", name).read_bytes()


def elsewhere(path: str) -> Response:
    """Return the way to another page."""
    return Response(303, headers=(*HEADERS, (b"location", path.encode("ascii"))))
