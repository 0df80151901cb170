"""Requests whose answer may never come: every end that one can have is a value, and none lasts for ever."""

import json
from dataclasses import dataclass
from typing import Any

import httpx2

LIMIT_SECONDS = 60.0
"""Longer than anything that is waited for anywhere: whoever waits so long is left hanging."""
UNAVAILABLE = 503
CUT_OFF = "cut off"


class HangsError(AssertionError):
    """The server neither answered nor closed the connection."""


@dataclass(frozen=True)
class Answer:
    """An answer, or None of one where the connection was lost before a whole one was there."""

    response: httpx2.Response | None
    lost: str = ""

    @property
    def unavailable(self) -> bool:
        """Whether the server says that it cannot at present, and when to ask again."""
        if self.response is None or self.response.status_code != UNAVAILABLE:
            return False
        assert int(self.response.headers["retry-after"]) > 0
        return True

    @property
    def failed(self) -> bool:
        """Whether nothing is known of what was asked for: a fault, and no refusal."""
        return self.response is None or self.unavailable

    @property
    def body(self) -> dict[str, Any]:
        assert self.response is not None
        return dict(self.response.json())

    @property
    def code(self) -> int:
        """The UAF status of an answer that is none of a fault."""
        assert self.response is not None
        assert self.response.status_code == httpx2.codes.OK, self.response.text
        return int(self.body["statusCode"])


class Client:
    """One connection at a time to one server."""

    def __init__(self, url: str, *, ca: str | None = None) -> None:
        limits = httpx2.Limits(max_connections=1, keepalive_expiry=2.0)
        verify: Any = True if ca is None else _trusting(ca)
        self._client = httpx2.AsyncClient(base_url=url, timeout=LIMIT_SECONDS, limits=limits, verify=verify)

    async def post(self, path: str, body: str | bytes, headers: dict[str, str]) -> Answer:
        """POST, once. Raises HangsError."""
        try:
            return Answer(await self._client.post(path, content=body, headers=headers))
        except httpx2.TimeoutException as error:
            raise HangsError(f"{path}: {type(error).__name__}") from None
        except httpx2.TransportError as error:
            return Answer(None, _how(error))

    async def post_json(self, path: str, body: object, headers: dict[str, str]) -> Answer:
        return await self.post(path, json.dumps(body), headers)

    async def get(self, path: str) -> Answer:
        """GET, once. Raises HangsError."""
        try:
            return Answer(await self._client.get(path))
        except httpx2.TimeoutException as error:
            raise HangsError(f"{path}: {type(error).__name__}") from None
        except httpx2.TransportError as error:
            return Answer(None, _how(error))

    async def close(self) -> None:
        await self._client.aclose()


def _how(error: httpx2.TransportError) -> str:
    """Tell an answer that was begun and not ended from one that never was."""
    return CUT_OFF if "incomplete" in str(error) else type(error).__name__


def _trusting(ca: str) -> Any:  # noqa: ANN401 - ssl.SSLContext, imported where it is needed
    import ssl

    return ssl.create_default_context(cafile=ca)
