"""A Google service account, and the access tokens it gets for its signature (RFC 7523; Google's "server to server")."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Meta

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.config import is_safe_url
from fidoloop.server.dispatchers.base import DispatchError
from fidoloop.server.errors import SettingError
from fidoloop.server.push.client import PushClient, UnreachableError
from fidoloop.server.push.retries import TryAgainError, retry_after

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS = 3600
SPARE_SECONDS = 60
MAX_FILE_BYTES = 65536
SETTING = "fcm.service_account"
_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class _File(msgspec.Struct, frozen=True):
    type: Literal["service_account"]
    project_id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.:-]{0,127}\Z")]
    private_key_id: _Text
    private_key: Annotated[str, Meta(max_length=16384)]
    client_email: _Text
    token_uri: _Text


class ServiceAccount(msgspec.Struct, frozen=True):
    """A service account: its project, its name, its RSA key and where that is exchanged."""

    project: str
    email: str
    key_id: str
    key: rsa.RSAPrivateKey
    token_uri: str


class _Granted(msgspec.Struct, frozen=True):
    access_token: Annotated[str, Meta(min_length=1, max_length=8192, pattern=r"^[!-~]+\Z")]
    expires_in: Annotated[int, Meta(ge=0, le=86400)]


class _Denied(msgspec.Struct, frozen=True):
    error: Annotated[str, Meta(max_length=64, pattern=r"^[ -~]*\Z")]


def load_service_account(path: Path) -> ServiceAccount:
    """Return the account of a JSON file as Google hands it out. Raises SettingError, which says nothing of the key."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        found = strictjson.decode(text[:MAX_FILE_BYTES], _File)
        key = load_pem_private_key(found.private_key.encode("ascii"), None)
    except OSError as error:
        raise SettingError(SETTING, f"{path}: {error.strerror}") from None
    except MalformedError as error:
        raise SettingError(SETTING, f"{path}: {error}") from None
    except (ValueError, TypeError):
        raise SettingError(SETTING, f"{path}: private_key is no private key, PEM, not encrypted") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingError(SETTING, f"{path}: private_key is not of RSA")
    if not is_safe_url(found.token_uri):
        raise SettingError(SETTING, f"{path}: token_uri is not an https URL")
    return ServiceAccount(found.project_id, found.client_email, found.private_key_id, key, found.token_uri)


class AccessTokens:
    """The access token of a service account, got when it is wanted and kept until shortly before it runs out."""

    def __init__(
        self, account: ServiceAccount, client: Callable[[], PushClient], *, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the account and the way out; `clock` gives seconds since the epoch."""
        self._account = account
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token, self._until = "", 0.0

    async def get(self, seconds: float) -> str:
        """Return a token that is good for now. However many ask, one is got.

        Raises:
            TryAgainError: the token service does not answer or is busy; DispatchError: it refuses the account.
        """
        async with self._lock:
            if self._clock() >= self._until:
                granted = await self._exchange(seconds)
                self._token = granted.access_token
                self._until = self._clock() + granted.expires_in - SPARE_SECONDS
            return self._token

    def forget(self, token: str) -> None:
        """Have another one got in the place of `token`, which was refused."""
        if token == self._token:
            self._until = 0.0

    async def _exchange(self, seconds: float) -> _Granted:
        form = urlencode({"grant_type": GRANT, "assertion": self._assertion()}).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            answer = await self._client().post(self._account.token_uri, headers, form, seconds=seconds)
        except UnreachableError as error:
            raise TryAgainError(f"the token service does not answer: {error}") from None
        if answer.status >= 500 or answer.status == 429:
            raise TryAgainError(f"the token service answers {answer.status}", retry_after(answer))
        try:
            if answer.status != 200:
                raise DispatchError(
                    f"the token service refuses the service account: {strictjson.decode(answer.body, _Denied).error}"
                )
            return strictjson.decode(answer.body, _Granted)
        except MalformedError:
            raise DispatchError(f"the token service answers {answer.status} and nothing readable") from None

    def _assertion(self) -> str:
        now, account = int(self._clock()), self._account
        claims = {
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        header = {"typ": "JWT", "kid": account.key_id}
        return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), account.key, header, algorithm="RS256")
