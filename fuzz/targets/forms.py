"""Forms, queries and URIs as the server takes them."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.target_uri import normalize_target_uri
from fidoloop.protocol.uaf.facets import is_trusted, needs_fetch, origin
from fidoloop.server.oauth.parameters import MAX_PARAMETERS, read_form
from fuzz.properties import accepted, text

MAX_BYTES = 4096
DICTIONARY = (
    b"grant_type=", b"code=", b"client_id=", b"&", b"=", b"%20", b"+", b"%00", b"%ff", b";", b"https://", b"://", b"@",
    b"[::1]", b":443", b"localhost", b"127.0.0.1", b"xn--", b"%2F", b"..", b"\\", b"#", b"?",
)  # fmt: skip


def check(data: bytes) -> None:
    """The quick reader of forms reads what Python's does, to MAX_PARAMETERS; a normalised URI is normal."""
    form = accepted(lambda: read_form(data), OAuthRefusal)
    if form is not None:
        found, repeated = form
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True)
        assert len(pairs) <= MAX_PARAMETERS
        first: dict[str, str] = {}
        for name, value in pairs:
            first.setdefault(name, value)
        assert found == {name: value for name, value in first.items() if value}
        assert repeated == {name for name in first if [one for one, _ in pairs].count(name) > 1}
        assert read_form(urlencode(pairs).encode()) == form
    uri = text(data)
    normal = accepted(lambda: normalize_target_uri(uri), MalformedError)
    if normal is not None:
        assert normalize_target_uri(normal) == normal
        assert "@" not in normal.split("/")[2]
    accepted(lambda: needs_fetch(uri, "https://a.example"))
    accepted(lambda: is_trusted(uri, ("https://a.example", uri)))
    found_origin = accepted(lambda: origin(uri))
    if found_origin is not None:
        assert origin(found_origin) == found_origin


def seeds() -> Iterator[bytes]:
    """Yield forms and URIs."""
    yield b"grant_type=authorization_code&code=abc&client_id=app&redirect_uri=https%3A%2F%2Fa.example%2Fcb"
    yield b"a=&b=1&b=2&c=%C3%A9+x"
    yield b"https://AS.example:443/a/../token?x=1#y"
    yield b"http://[::1]:8080/token"
    yield b"https://user@a.example/"
