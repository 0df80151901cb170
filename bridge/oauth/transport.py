"""Requests to an authorization server and a resource, each with the proofs it needs, by keys in hardware.

Nonces and challenges are taken from every answer; a request refused for want of a fresh one is sent again, once.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET

from fidoloop.bridge.http import Answer, Server
from fidoloop.bridge.oauth.errors import OAuthRefusedError
from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.client_attestation import PopClaims, make_pop
from fidoloop.protocol.oauth.dpop import DpopClaims, access_token_hash, make_dpop_proof
from fidoloop.protocol.oauth.message_hash import PreviousMessage, message_hash

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
CHALLENGE: Final = "/challenge"
CHALLENGE_HEADER: Final = "oauth-client-attestation-challenge"
_AGAIN: Final = frozenset({"use_dpop_nonce", "use_attestation_challenge"})


def _now() -> int:
    return int(time.time())


class Transport:
    """One server, and the keys that requests to it are proved by. `last_hash` is that of the last form sent."""

    def __init__(self, server: Server, *, instance_key: PrivateKeyTypes, dpop_key: PrivateKeyTypes) -> None:
        """Take the connection and the keys, whose private parts stay in the token."""
        self._server = server
        self._instance_key = instance_key
        self._dpop_key = dpop_key
        self._challenge = ""
        # The authorization server's nonces are none of the resource's.
        self._nonces = {"as": "", "rs": ""}
        self.last_hash = ""

    @property
    def base_url(self) -> str:
        """Where the server is."""
        return self._server.base_url

    def form(
        self,
        path: str,
        parameters: Mapping[str, str],
        attestation: str | None,
        previous: PreviousMessage | None = None,
    ) -> Answer:
        """Send a form with a DPoP proof, and the attestation with its proof of possession where there is one."""
        if attestation is not None and not self._challenge:
            self._noted("as", self._server.send("POST", self.base_url + CHALLENGE, headers={"Accept": JSON}))
        body = urlencode(parameters).encode("ascii")
        self.last_hash = message_hash("POST", self.base_url + path, FORM, body)

        def send() -> Answer:
            headers = {"Content-Type": FORM, "Accept": JSON, "DPoP": self._dpop("as", "POST", path)}
            if attestation is not None:
                headers["OAuth-Client-Attestation"] = attestation
                headers["OAuth-Client-Attestation-PoP"] = self._pop(previous)
            return self._server.send("POST", self.base_url + path, content=body, headers=headers)

        return self._twice("as", send)

    def json(
        self, method: str, path: str, body: object = None, *, bearer: str | None = None, proved: bool = False
    ) -> Answer:
        """Send JSON: to the registration, with its token; with `proved` a DPoP proof too."""
        content = b"" if body is None else strictjson.encode(body).encode("utf-8")

        def send() -> Answer:
            headers = {"Accept": JSON} | ({"Content-Type": JSON} if content else {})
            if bearer is not None:
                headers["Authorization"] = f"Bearer {bearer}"
            if proved:
                headers["DPoP"] = self._dpop("as", method, path)
            return self._server.send(method, self.base_url + path, content=content, headers=headers)

        return self._twice("as", send)

    def resource(self, method: str, path: str, access_token: str, body: object = None) -> Answer:
        """Call a protected resource with an access token and its proof (RFC 9449 section 7)."""
        content = b"" if body is None else strictjson.encode(body).encode("utf-8")

        def send() -> Answer:
            proof = self._dpop("rs", method, path, access_token)
            headers = {"Accept": JSON, "Authorization": f"DPoP {access_token}", "DPoP": proof}
            if content:
                headers["Content-Type"] = JSON
            return self._server.send(method, self.base_url + path, content=content, headers=headers)

        return self._twice("rs", send)

    def _twice(self, role: str, send: Callable[[], Answer]) -> Answer:
        answer = self._noted(role, send())
        return self._noted(role, send()) if error_code(answer) in _AGAIN else answer

    def _noted(self, role: str, answer: Answer) -> Answer:
        self._nonces[role] = answer.headers.get("dpop-nonce", self._nonces[role])
        self._challenge = answer.headers.get(CHALLENGE_HEADER, self._challenge)
        return answer

    def _dpop(self, role: str, method: str, path: str, access_token: str | None = None) -> str:
        nonce = self._nonces[role]
        claims = DpopClaims(
            jti=secrets.token_urlsafe(16),
            htm=method,
            htu=self.base_url + path.partition("?")[0],
            iat=_now(),
            ath=UNSET if access_token is None else access_token_hash(access_token),
            nonce=nonce or UNSET,
        )
        return make_dpop_proof(self._dpop_key, claims)

    def _pop(self, previous: PreviousMessage | None) -> str:
        claims = PopClaims(
            aud=self.base_url,
            jti=secrets.token_urlsafe(16),
            iat=_now(),
            challenge=self._challenge or UNSET,
            prev_msg=UNSET if previous is None else previous,
        )
        return make_pop(self._instance_key, claims)


def members_of(answer: Answer) -> dict[str, Any]:
    """Return an answer's JSON object, empty where it is none."""
    try:
        value = strictjson.loads(answer.body)
    except MalformedError:
        return {}
    return value if isinstance(value, dict) else {}


def error_code(answer: Answer) -> str | None:
    """Return the OAuth error code of an answer, wherever it stands: in the body, or in WWW-Authenticate."""
    if answer.status < 400:
        return None
    found = members_of(answer).get("error")
    return found if isinstance(found, str) else None


def accepted(answer: Answer, *statuses: int) -> dict[str, Any]:
    """Return the members of an answer of one of these statuses.

    Raises:
        OAuthRefusedError: another status.
    """
    members = members_of(answer)
    if answer.status not in statuses:
        error, words = members.get("error", ""), members.get("error_description", members.get("detail", ""))
        raise OAuthRefusedError(answer.status, str(error)[:100], str(words)[:300])
    return members
