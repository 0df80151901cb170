"""A client of the authorization server with software keys: whole, so that each test breaks one thing."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose
from fidoloop.protocol.oauth.client_assertion import ASSERTION_TYPE, AssertionClaims, make_client_assertion
from fidoloop.protocol.oauth.client_attestation import PopClaims, make_client_attestation, make_pop
from fidoloop.protocol.oauth.dpop import DpopClaims, access_token_hash, make_dpop_proof
from fidoloop.protocol.oauth.message_hash import MessageKind
from fidoloop.server.oauth.client_authentication import BY_DPOP, BY_KEY, BY_POP
from fidoloop.server.oauth.grants import Approved, add_code
from fidoloop.server.store import oauth_queries
from tests.server.harness import BASE, Bench

FORM = "application/x-www-form-urlencoded"
SCOPE = "openid api"
DEVICE: dict[str, Any] = {
    "evidence_type": "piv-attestation",
    "tier": "attested",
    "swname": "firmware",
    "swversion": ["5.7.1"],
    "key": {"local": True},
}
POLICY = {"rules": [{"name": "any", "grants": {"acr": ["uaf", "fido2", "pw-enroll"], "scopes": ["openid", "api"]}}]}
VERIFIER = "v" * 43
_NUMBERS = itertools.count()


def write_policy(bench: Bench, policy: Mapping[str, object] = POLICY) -> None:
    """Put a device policy into force."""
    directory = bench.config.oauth_directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "device-policy.json").write_text(json.dumps(policy))
    bench.clock.advance(2)


@dataclass
class OAuthClient:
    """One client instance: its key, its attestation and the newest nonce and challenge that it was given."""

    bench: Bench
    client_id: str
    method: str = BY_POP
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    attestation: str = ""
    nonce: str = ""
    challenge: str = ""

    @property
    def now(self) -> int:
        return self.bench.clock() // 1000

    @property
    def jkt(self) -> str:
        return jose.public_jwk(self.key.public_key()).thumbprint

    def attest(self, **changes: object) -> str:
        """Return an attestation by the server's own attester, changed; a claim set to None is left out."""
        server = self.bench.environment.authorization_server
        signing = server.attester.signing_key(self.bench.clock())
        claims = {
            "sub": self.client_id,
            "iat": self.now,
            "exp": self.now + 3600,
            "cnf": {"jwk": jose.public_jwk(self.key.public_key()).members},
            **DEVICE,
            **changes,
        }
        return make_client_attestation(
            signing.key, {name: value for name, value in claims.items() if value is not None}, signing.kid
        )

    def proof(self, path: str, method: str = "POST", *, token: str | None = None, **changes: Any) -> str:  # noqa: ANN401 - claims
        claims: dict[str, Any] = {
            "jti": f"dpop-jti-{next(_NUMBERS):012}",
            "htm": method,
            "htu": BASE + path,
            "iat": self.now,
            "nonce": self.nonce,
        }
        if token is not None:
            claims["ath"] = access_token_hash(token)
        return make_dpop_proof(changes.pop("key", self.key), DpopClaims(**(claims | changes)))

    def pop(self, **changes: Any) -> str:  # noqa: ANN401 - claims
        claims: dict[str, Any] = {
            "aud": BASE,
            "jti": f"pop-jti-{next(_NUMBERS):012}",
            "iat": self.now,
            "challenge": self.challenge,
        }
        return make_pop(changes.pop("key", self.key), PopClaims(**(claims | changes)))

    def assertion(self, **changes: Any) -> dict[str, str]:  # noqa: ANN401 - claims
        claims: dict[str, Any] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": BASE,
            "exp": self.now + 60,
            "jti": f"assertion-{next(_NUMBERS)}",
        }
        made = make_client_assertion(changes.pop("key", self.key), AssertionClaims(**(claims | changes)))
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": made}

    def headers(self, path: str, *, dpop: str | None = None, pop: str | None = None) -> list[tuple[str, str]]:
        """Return the fields of an authenticated request to `path`."""
        fields = [("content-type", FORM), ("dpop", dpop or self.proof(path))]
        if self.method != BY_KEY:
            fields.append(("oauth-client-attestation", self.attestation))
        if self.method == BY_POP:
            fields.append(("oauth-client-attestation-pop", pop or self.pop()))
        return fields

    async def fresh(self) -> None:
        """Ask for a challenge and a nonce."""
        answer = await self.bench.client.post("/challenge")
        self.challenge = answer.json()["attestation_challenge"]
        self.nonce = answer.headers.get("dpop-nonce", "")

    async def send(
        self, path: str, parameters: Mapping[str, str], fields: list[tuple[str, str]] | None = None
    ) -> httpx2.Response:
        """Send an authenticated form."""
        form = dict(parameters) | (self.assertion() if self.method == BY_KEY and fields is None else {})
        return await self.bench.client.post(path, content=urlencode(form), headers=fields or self.headers(path))

    async def code(self, *, message: tuple[MessageKind, str] | None = None, **changes: Any) -> str:  # noqa: ANN401
        """Return a code as the authorization endpoints make it, changed."""
        from fidoloop.protocol.oauth.pkce import code_challenge

        approved: dict[str, Any] = {
            "client_id": self.client_id,
            "username": "jeff",
            "scope": SCOPE,
            "acr": "uaf",
            "auth_time": self.now,
            "jkt": self.jkt,
        }
        async with self.bench.store.transaction() as transaction:
            return await add_code(
                self.bench.environment,
                transaction,
                Approved(**(approved | changes)),
                code_challenge=code_challenge(VERIFIER),
                message=message,
            )

    async def redeem(self, code: str, **changes: str) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, **changes}
        return await self.send("/token", form)

    async def refresh(self, token: str, **changes: str) -> httpx2.Response:
        return await self.send("/token", {"grant_type": "refresh_token", "refresh_token": token, **changes})

    async def tokens(self) -> dict[str, Any]:
        answer = await self.redeem(await self.code())
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


async def new_client(bench: Bench, method: str = BY_POP, client_id: str = "", **metadata: Any) -> OAuthClient:  # noqa: ANN401
    """Return a registered client, of this metadata, whose device the policy allows."""
    client = OAuthClient(bench, client_id or f"client-{next(_NUMBERS)}", method)
    jwk = jose.public_jwk(client.key.public_key())
    await bench.store.execute(
        oauth_queries.ADD_CLIENT,
        id=client.client_id,
        jkt=jwk.thumbprint,
        jwk=jwk.to_json(),
        auth_method=method,
        metadata=json.dumps(metadata),
        device=json.dumps(DEVICE),
        registration_token_hash="",
        now=bench.clock(),
    )
    if not (bench.config.oauth_directory / "device-policy.json").exists():
        write_policy(bench)
    client.attestation = client.attest()
    await client.fresh()
    return client


__all__ = ["BY_DPOP", "BY_KEY", "BY_POP", "OAuthClient", "new_client", "write_policy"]
