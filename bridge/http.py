"""HTTPS to one server, as the contract wants it: media types, size caps, and a record of what crossed the wire."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

import fidoloop
from fidoloop.bridge.errors import NetworkError, ServerRefusedError
from fidoloop.protocol import strictjson
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.channel_binding import ChannelBinding, channel_binding_of
from fidoloop.protocol.uaf.facets import origin

UAF_MEDIA_TYPE = "application/fido+uaf"
JSON_MEDIA_TYPE = "application/json"
JOSE_MEDIA_TYPE = "application/jose"
MAX_ANSWER_BYTES = 1 << 20
CONTEXT_PATH = "/nevisfido"
KEEP_ALIVE_SECONDS = 2.0
"""How long an idle connection is used again: servers close theirs after five, and a request would cross that."""
T = TypeVar("T")
_HTTPX_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL)
_TIMING = re.compile(r"([A-Za-z]{1,32});dur=([0-9]{1,9}(?:\.[0-9]{1,6})?)")


class Exchange(msgspec.Struct, frozen=True):
    """One request and its answer, exactly as on the wire; bodies as text. `ms`: until the whole answer was there."""

    method: str
    path: str
    request_headers: dict[str, str]
    request_body: str
    status: int
    response_headers: dict[str, str]
    response_body: str
    ms: float


class Answer(msgspec.Struct, frozen=True):
    """A server's answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Type and subtype of Content-Type, lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def decode(self, type_: type[T], *statuses: int) -> T:
        """Return the body as `type_`, where the status is one of `statuses` (200 where none is named).

        Raises:
            ServerRefusedError: another status, or a body that is not of the type.
            NetworkError: 503, which is no refusal of what was asked.
        """
        if self.status not in (statuses or (200,)):
            if self.status == httpx2.codes.SERVICE_UNAVAILABLE:
                raise NetworkError(f"the server cannot do this at present: {self.problem_detail()}: try again")
            raise ServerRefusedError(self.status, self.problem_detail())
        try:
            return strictjson.decode(self.body, type_)
        except MalformedError as error:
            raise ServerRefusedError(self.status, f"unreadable answer: {error}") from None

    def server_timings(self) -> dict[str, float]:
        """Return the durations of the Server-Timing header in milliseconds, by name; what is unreadable is left out."""
        found = _TIMING.findall(self.headers.get("server-timing", ""))
        return {name: float(duration) for name, duration in found}

    def problem_detail(self) -> str:
        """Return the `detail` of a problem document (RFC 9457), or the status' own phrase."""
        phrase = httpx2.codes.get_reason_phrase(self.status)
        try:
            value = strictjson.loads(self.body)
        except MalformedError:
            return phrase
        detail = value.get("detail") if isinstance(value, dict) else None
        return detail[:300] if isinstance(detail, str) else phrase


Recorder = Callable[[Exchange], None]


class Server:
    """One server seen from a client. Behind the path that `base_url` may have stands the contract's context path.

    Every method raises NetworkError where the server cannot be reached or trusted.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca: Path | None = None,
        insecure: bool = False,
        api_key: str | None = None,
        recorder: Recorder | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Connect lazily. `ca` is a PEM file to trust beside nothing else; plain http needs `insecure` and loopback.

        Raises:
            NetworkError: the URL is not https (nor loopback http with `insecure`), or the CA file is unreadable.
        """
        if not is_https(base_url) and not (insecure and is_loopback_http(base_url)):
            raise NetworkError(f"{base_url}: an https URL is needed (plain http on loopback only, --insecure)")
        self.base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._recorder = recorder
        self.channel_binding = ChannelBinding()
        """The TLS channel of the last answer; empty before the first, and for plain http."""
        verify: ssl.SSLContext | bool = True
        if ca is not None:
            try:
                verify = ssl.create_default_context(cafile=str(ca))
            except (OSError, ssl.SSLError) as error:
                raise NetworkError(f"CA file {ca}: {error}") from None
        # No cookies, ever: nothing here has a use for them, and facet lists are fetched without (digest section 4).
        # No compression: a body stands in the record as it was on the wire.
        self._client = httpx2.Client(
            verify=verify,
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"Accept-Encoding": "identity", "User-Agent": f"fidoloop/{fidoloop.__version__}"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, path: str) -> str:
        """Return the URL of a contract path ("/status")."""
        return f"{self.base_url}{CONTEXT_PATH}{path}"

    def post(
        self,
        path: str,
        body: object,
        *,
        content_type: str = JSON_MEDIA_TYPE,
        accept: str = JSON_MEDIA_TYPE,
        authorised: bool = False,
    ) -> Answer:
        """POST `body` (encoded as JSON) to a contract path; return the answer whatever its status."""
        return self.send(
            "POST",
            self.url(path),
            content=strictjson.encode(body).encode("utf-8"),
            headers={"Content-Type": f"{content_type};charset=UTF-8", "Accept": accept},
            authorised=authorised,
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        authorised: bool = False,
    ) -> Answer:
        """Send one request. Redirects are not followed.

        Raises:
            NetworkError: not reached, not trusted, timed out, or an answer larger than 1 MiB.
        """
        sent = dict(headers or {})
        if authorised:
            if self._api_key is None:
                raise ServerRefusedError(401, "this service needs an API credential (--api-key-source)")
            sent["Authorization"] = f"Bearer {self._api_key}"
        started = time.perf_counter()
        try:
            request = self._client.build_request(method, url, content=content, headers=sent)
            response = self._client.send(request, stream=True)
            try:
                self.channel_binding = _channel_of(response)
                answer = Answer(response.status_code, dict(response.headers), b"".join(_capped(response)))
            finally:
                response.close()
        except _HTTPX_ERRORS as error:
            raise _network_error(url, error) from error
        if self._recorder is not None:
            self._recorder(_exchange(request, content, answer, started))
        return answer

    @contextmanager
    def event_stream(self, path: str, body: object, *, timeout: float) -> Iterator[Iterator[str | None]]:
        """POST to a stream of server-sent events; yield an iterator over the `data` of each.

        The iterator gives None for a comment, by which a server shows that it is there. `timeout` is how many
        seconds of silence are too many.

        Raises:
            ServerRefusedError: the server offers no stream there; NetworkError: as `send`.
        """
        content = strictjson.encode(body).encode("utf-8")
        headers = {"Content-Type": JSON_MEDIA_TYPE, "Accept": "text/event-stream"}
        lines: list[str] = []
        started = time.perf_counter()
        try:
            request = self._client.build_request(
                "POST", self.url(path), content=content, headers=headers, timeout=timeout
            )
            response = self._client.send(request, stream=True)
            try:
                if response.status_code != httpx2.codes.OK:
                    raise ServerRefusedError(response.status_code, "no status stream")
                yield _event_data(response, lines)
            finally:
                response.close()
                if self._recorder is not None:
                    seen = Answer(response.status_code, dict(response.headers), "\n".join(lines).encode("utf-8"))
                    self._recorder(_exchange(request, content, seen, started))
        except _HTTPX_ERRORS as error:
            raise _network_error(self.base_url, error) from error


def is_https(url: str) -> bool:
    """Tell whether `url` is an https URL with a host."""
    return (origin(url) or "").startswith("https:")


def is_loopback_http(url: str) -> bool:
    """Tell whether `url` is plain http to this machine itself, which --insecure allows."""
    return (origin(url) or "").startswith("http:") and urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}


def _channel_of(response: httpx2.Response) -> ChannelBinding:
    connection = response.extensions["network_stream"].get_extra_info("socket")
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return channel_binding_of(load_certificate(certificate)) if certificate else ChannelBinding()


def _network_error(url: str, error: Exception) -> NetworkError:
    return NetworkError(f"{origin(url) or 'not a URL'}: {error or type(error).__name__}")


def _event_data(response: httpx2.Response, seen: list[str]) -> Iterator[str | None]:
    begun = b""
    for chunk in _capped(response):
        *lines, begun = (begun + chunk).split(b"\n")
        for line in (line.rstrip(b"\r").decode("utf-8", errors="replace") for line in lines):
            seen.append(line)
            if line.startswith("data:"):
                yield line.removeprefix("data:").strip()
            elif line.startswith(":"):
                yield None


def _capped(response: httpx2.Response) -> Iterator[bytes]:
    # Unpacked, a few kilobytes may be gigabytes: what was not asked for is not begun with.
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise NetworkError("the answer is compressed, which was not asked for")
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise NetworkError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        yield chunk


def _exchange(request: httpx2.Request, content: bytes, answer: Answer, started: float) -> Exchange:
    return Exchange(
        method=request.method,
        path=request.url.raw_path.decode("ascii"),
        request_headers=dict(request.headers),
        request_body=content.decode("utf-8"),
        status=answer.status,
        response_headers=answer.headers,
        response_body=answer.body.decode("utf-8", errors="replace"),
        ms=round((time.perf_counter() - started) * 1000, 2),
    )
