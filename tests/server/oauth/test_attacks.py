"""Attacks through HTTP, each with its error code and header, and with nothing left (OAuth contract 4.3 and 8).

The corpus is sent to one server that has a code waiting: whatever was refused, that code is still good at the end.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.oauth.dpop import access_token_hash
from fidoloop.server import admin
from fidoloop.server.oauth import passwords
from fidoloop.server.settings.oauth import OAuthSettings
from tests.protocol.oauth.tokens import signed_jwt
from tests.server.harness import BASE, Bench
from tests.server.oauth.client import BY_DPOP, BY_KEY, BY_POP, FORM, OAuthClient, new_client
from tests.server.oauth.test_token_endpoint import count, refused, run

TOKEN, WHOAMI = "/token", "/api/whoami"
OTHER = ec.generate_private_key(ec.SECP256R1())
Fields = list[tuple[str, str]]
JWT_TYPES = ("dpop+jwt", "at+jwt", "oauth-client-attestation+jwt", "oauth-client-attestation-pop+jwt", "eat+jwt", "JWT")


def jwk_of(client: OAuthClient) -> dict[str, Any]:
    return dict(jose.public_jwk(client.key.public_key()).members)


def dpop(client: OAuthClient, header: dict[str, object] | None = None, **changes: object) -> str:
    """A DPoP proof for the token endpoint, right but for the changes; what is set to None is left out."""
    claims = {
        "jti": base64url.encode(hashlib.sha256(repr((header, changes)).encode()).digest()),
        "htm": "POST",
        "htu": BASE + TOKEN,
        "iat": client.now,
        "nonce": client.nonce,
    }
    whole = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk_of(client), **(header or {})}
    return signed_jwt(whole, claims | changes, client.key)


def attestation(client: OAuthClient, header: dict[str, object] | None = None, **changes: object) -> str:
    """An attestation of the server's own attester, right but for the changes."""
    signing = client.bench.environment.authorization_server.attester.signing_key(client.bench.clock())
    key = changes.pop("key", signing.key)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    said = jose.parse_compact(client.attestation)
    whole = {"typ": "oauth-client-attestation+jwt", "alg": "ES256", "kid": signing.kid, **(header or {})}
    return signed_jwt(whole, json.loads(said.payload) | changes, key)


def pop(client: OAuthClient, header: dict[str, object] | None = None, **changes: object) -> str:
    """A proof of possession, right but for the changes."""
    key = changes.pop("key", client.key)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    claims = {
        "aud": BASE,
        "jti": base64url.encode(hashlib.sha256(repr((header, changes)).encode()).digest()),
        "iat": client.now,
        "challenge": client.challenge,
    }
    return signed_jwt(
        {"typ": "oauth-client-attestation-pop+jwt", "alg": "ES256", **(header or {})}, claims | changes, key
    )


def hs256(client: OAuthClient, jwt: str, key: ec.EllipticCurvePublicKey) -> str:
    """The same JWT with a MAC in the place of its signature, the public key being the secret."""
    header, payload, _ = jwt.split(".")
    members = json.loads(base64url.decode(header)) | {"alg": "HS256"}
    signed = f"{base64url.encode(json.dumps(members).encode())}.{payload}"
    secret = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{signed}.{base64url.encode(hmac.digest(secret, signed.encode(), 'sha256'))}"


def fields(client: OAuthClient, *, dpops: list[str], attestations: list[str], pops: list[str]) -> Fields:
    named = (("dpop", dpops), ("oauth-client-attestation", attestations), ("oauth-client-attestation-pop", pops))
    return [("content-type", FORM), *((name, value) for name, values in named for value in values)]


Make = Callable[[OAuthClient], str]


def swapped(make: Callable[..., str], *types: str | None) -> dict[str, Make]:
    """The JWT of one kind with the types of others."""

    def of(typ: str | None) -> Make:
        return lambda client: make(client, {"typ": typ})

    return {f"typ {typ}": of(typ) for typ in types}


PROOF, ATTESTED = ("invalid_dpop_proof", 400), ("invalid_client_attestation", 401)
DPOP: dict[str, Make] = {
    "no jti": lambda c: dpop(c, jti=None),
    "a jti too long": lambda c: dpop(c, jti="j" * 129),
    "no htm": lambda c: dpop(c, htm=None),
    "another method": lambda c: dpop(c, htm="GET"),
    "no htu": lambda c: dpop(c, htu=None),
    "htu: another path": lambda c: dpop(c, htu=f"{BASE}/introspect"),
    "htu: another port": lambda c: dpop(c, htu="https://localhost:8444/token"),
    "htu: user information": lambda c: dpop(c, htu="https://me@localhost:8443/token"),
    "htu: plain http": lambda c: dpop(c, htu="http://localhost:8443/token"),
    "htu: dot segments to elsewhere": lambda c: dpop(c, htu=f"{BASE}/token/../revoke"),
    "htu: an encoded slash": lambda c: dpop(c, htu=f"{BASE}%2Ftoken"),
    "htu: the path in other case": lambda c: dpop(c, htu=f"{BASE}/Token"),
    "htu: a slash more": lambda c: dpop(c, htu=f"{BASE}/token//"),
    "no iat": lambda c: dpop(c, iat=None),
    "too old": lambda c: dpop(c, iat=c.now - 301),
    "of the future": lambda c: dpop(c, iat=c.now + 301),
    "no key": lambda c: dpop(c, {"jwk": None}),
    "a private key": lambda c: dpop(c, {"jwk": {**jwk_of(c), "d": "AA"}}),
    "a symmetric key": lambda c: dpop(c, {"jwk": {"kty": "oct", "k": "AAAA"}}),
    "another's key in the header": lambda c: dpop(c, {"jwk": dict(jose.public_jwk(OTHER.public_key()).members)}),
    "alg none": lambda c: dpop(c, {"alg": "none"}).rpartition(".")[0] + ".",
    "alg of another kind of key": lambda c: dpop(c, {"alg": "PS256"}),
    "a MAC with the public key": lambda c: hs256(c, dpop(c), c.key.public_key()),
    "a critical header": lambda c: dpop(c, {"crit": ["b64"], "b64": False}),
    "no JWT": lambda c: "x",
    "two in one field": lambda c: f"{dpop(c)}, {dpop(c, jti='another')}",
    **swapped(dpop, *JWT_TYPES[1:], None),
}
ATTESTATIONS: dict[str, Make] = {
    "no sub": lambda c: attestation(c, sub=None),
    "no exp": lambda c: attestation(c, exp=None),
    "no cnf": lambda c: attestation(c, cnf=None),
    "cnf with a thumbprint only": lambda c: attestation(c, cnf={"jkt": c.jkt}),
    "cnf with a private key": lambda c: attestation(c, cnf={"jwk": {**jwk_of(c), "d": "AA"}}),
    "issued in the future": lambda c: attestation(c, iat=c.now + 61),
    "an attester that is not trusted, with the same kid": lambda c: attestation(c, key=OTHER),
    "an unknown kid": lambda c: attestation(c, {"kid": "x"}),
    "signed by the client itself": lambda c: attestation(c, {"jwk": jwk_of(c), "kid": None}, key=c.key),
    "alg none": lambda c: attestation(c, {"alg": "none"}).rpartition(".")[0] + ".",
    "a MAC with the public key": lambda c: hs256(
        c,
        attestation(c),
        c.bench.environment.authorization_server.attester.signing_key(c.bench.clock()).key.public_key(),
    ),
    "no JWT": lambda c: "x",
    **swapped(attestation, *JWT_TYPES[:2], *JWT_TYPES[3:]),
}
POPS: dict[str, Make] = {
    "no jti": lambda c: pop(c, jti=None),
    "no iat": lambda c: pop(c, iat=None),
    "too old": lambda c: pop(c, iat=c.now - 301),
    "of the future": lambda c: pop(c, iat=c.now + 61),
    "no audience": lambda c: pop(c, aud=None),
    "another audience": lambda c: pop(c, aud=f"{BASE}/token"),
    "several audiences": lambda c: pop(c, aud=[BASE]),
    "by another key": lambda c: pop(c, key=OTHER),
    "alg none": lambda c: pop(c, {"alg": "none"}).rpartition(".")[0] + ".",
    "an alg that is not on the list": lambda c: pop(c, {"alg": "ES512"}),
    "a MAC with the public key": lambda c: hs256(c, pop(c), c.key.public_key()),
    "the DPoP proof once more": dpop,
    "no JWT": lambda c: "x",
    **swapped(pop, *JWT_TYPES[:3], *JWT_TYPES[4:]),
}
HEADERS: dict[str, tuple[Callable[[OAuthClient], Fields], tuple[str, int]]] = {
    "two proofs of possession": (
        lambda c: fields(c, dpops=[dpop(c)], attestations=[c.attestation], pops=[pop(c), pop(c, jti="x")]),
        ATTESTED,
    ),
    "an unknown challenge": (
        lambda c: fields(c, dpops=[dpop(c)], attestations=[c.attestation], pops=[pop(c, challenge="x")]),
        ("use_attestation_challenge", 400),
    ),
    "an expired attestation": (
        lambda c: fields(c, dpops=[dpop(c)], attestations=[attestation(c, exp=c.now - 60)], pops=[pop(c)]),
        ("use_fresh_attestation", 400),
    ),
    "a proof of possession without its attestation": (
        lambda c: fields(c, dpops=[dpop(c)], attestations=[], pops=[pop(c)]),
        ("invalid_client", 401),
    ),
}


async def redeem(client: OAuthClient, code: str, sent: Fields, **form: str) -> httpx2.Response:
    whole = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43, **form}
    return await client.send(TOKEN, whole, sent)


def corpus(client: OAuthClient) -> dict[str, tuple[Fields, tuple[str, int]]]:
    """Every attack by name: what is sent, and what must be answered."""
    good = {"dpops": [dpop(client)], "attestations": [client.attestation], "pops": [pop(client)]}
    found = {name: (make(client), expected) for name, (make, expected) in HEADERS.items()}
    for kind, table, expected in (
        ("dpops", DPOP, PROOF),
        ("attestations", ATTESTATIONS, ATTESTED),
        ("pops", POPS, ATTESTED),
    ):
        for name, make in table.items():
            found[f"{kind}: {name}"] = fields(client, **(good | {kind: [make(client)]})), expected
    return found


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    """Else nothing below would show anything: the corpus' own parts, and other spellings of the same URI."""
    spellings = [
        f"{BASE}/token?a=b",
        f"{BASE}/token#a",
        f"{BASE}/a/../token",
        f"{BASE}/./token",
        f"{BASE}/%74oken",
        "HTTPS://LOCALHOST:8443/token",
    ]

    async def check(bench: Bench, client: OAuthClient) -> None:
        for number, htu in enumerate((BASE + TOKEN, *spellings)):
            proof, own = dpop(client, jti=f"spelling {number}", htu=htu), pop(client, jti=f"p{number}")
            sent = fields(client, dpops=[proof], attestations=[attestation(client)], pops=[own])
            answer = await redeem(client, await client.code(), sent)
            assert answer.status_code == 200, (htu, answer.text)

    run(tmp_path, check)


def test_each_attack_is_refused_with_its_code_and_leaves_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        expected, found = {}, {}
        for name, (sent, wanted) in corpus(client).items():
            answer = await redeem(client, code, sent)
            expected[name] = wanted
            found[name] = (answer.json().get("error"), answer.status_code)
            if found[name] == wanted:
                refused(answer, *wanted)
            assert answer.headers["oauth-client-attestation-challenge"], name
            assert not any(value in answer.text for field, value in sent if field != "content-type" and len(value) > 9)
        assert found == expected
        assert len(found) > 60
        for table in ("oauth_token", "oauth_replay"):
            assert await count(bench, table) == 0
        assert (await client.redeem(code)).status_code == 200

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("kind", "nonces", "most", "least"),
    [("dpop", True, 300, -300), ("dpop", False, 10, -60), ("pop", True, 60, -300)],
    ids=["a proof with nonce", "a proof without", "a proof of possession"],
)
def test_clocks_may_differ_so_much_and_no_more(tmp_path: Path, kind: str, nonces: bool, most: int, least: int) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        for off, good in ((most, True), (least, True), (most + 1, False), (least - 1, False)):
            changes: dict[str, dict[str, Any]] = {"dpop": {}, "pop": {}, kind: {"iat": client.now + off}}
            proofs = client.proof(TOKEN, **changes["dpop"]), client.pop(**changes["pop"])
            answer = await redeem(client, await client.code(), client.headers(TOKEN, dpop=proofs[0], pop=proofs[1]))
            assert (answer.status_code == 200) is good, (off, answer.text)

    run(tmp_path, check, oauth=OAuthSettings(dpop_nonces=nonces))


def test_the_challenge_is_no_nonce_in_the_combined_mode(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()

        async def with_proof(**changes: object) -> httpx2.Response:
            sent = fields(client, dpops=[dpop(client, **changes)], attestations=[client.attestation], pops=[])  # type: ignore[arg-type]
            return await redeem(client, code, sent)

        for nonce in (client.challenge, None, "x"):
            refused(await with_proof(nonce=nonce), "use_dpop_nonce")
        # Registered for the one way, it is held to that.
        both = fields(client, dpops=[dpop(client, jti="x")], attestations=[client.attestation], pops=[pop(client)])
        refused(await redeem(client, code, both), "invalid_client", 401)
        other = fields(client, dpops=[client.proof(TOKEN, key=OTHER)], attestations=[client.attestation], pops=[])
        refused(await redeem(client, code, other), "invalid_client_attestation", 401)
        assert await count(bench, "oauth_replay") == 0
        assert (await client.redeem(code)).status_code == 200

    run(tmp_path, check, BY_DPOP)


@pytest.mark.parametrize("method", [BY_POP, BY_DPOP, BY_KEY])
def test_a_thief_gets_nothing_with_what_was_captured(tmp_path: Path, method: str) -> None:
    """A captured attestation, assertion, code and refresh token, with the thief's own keys; also after a rotation."""

    async def check(bench: Bench, client: OAuthClient) -> None:
        thief = await new_client(bench, method)
        code, tokens = await client.code(), await client.tokens()
        rotated = (await client.refresh(tokens["refresh_token"])).json()
        before = await count(bench, "oauth_token")
        captured = OAuthClient(bench, client.client_id, method, thief.key, client.attestation)
        captured.nonce, captured.challenge = thief.nonce, thief.challenge
        for refresh in (tokens["refresh_token"], rotated["refresh_token"], code, rotated["access_token"]):
            answer = await thief.refresh(refresh)
            refused(answer, "invalid_grant")
            expected = "invalid_client" if method == BY_KEY else "invalid_client_attestation"
            refused(await captured.refresh(refresh), expected, 401)
        refused(await thief.redeem(code), "invalid_grant")
        assert await count(bench, "oauth_token") == before
        # The thief's tries end nothing of the owner's.
        assert (await client.refresh(rotated["refresh_token"])).status_code == 200
        assert (await client.redeem(code)).status_code == 200

    run(tmp_path, check, method)


def test_what_is_somebody_elses_is_answered_as_what_is_not_there(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        other = await new_client(bench)
        tokens = await other.tokens()
        pairs: list[tuple[Callable[[str], Awaitable[httpx2.Response]], str]] = [
            (client.redeem, await other.code()),
            (client.refresh, tokens["refresh_token"]),
            (lambda token: client.send("/revoke", {"token": token}), tokens["refresh_token"]),
        ]
        for ask, theirs in pairs:
            first, second = await ask(theirs), await ask("unknown")
            assert (first.status_code, first.text) == (second.status_code, second.text)
        assert (await other.refresh(tokens["refresh_token"])).status_code == 200

    run(tmp_path, check)


def test_a_proof_that_was_used_is_good_nowhere_else(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        proof = client.proof(TOKEN)
        token = (await redeem(client, await client.code(), client.headers(TOKEN, dpop=proof))).json()["access_token"]
        refused(await redeem(client, await client.code(), client.headers(TOKEN, dpop=proof)), "invalid_dpop_proof")
        refused(
            await client.send("/revoke", {"token": token}, client.headers("/revoke", dpop=proof)), "invalid_dpop_proof"
        )
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        assert (await bench.client.get(WHOAMI, headers=headers)).status_code == 401

    run(tmp_path, check)


def test_no_other_jwt_of_this_server_is_an_access_token(tmp_path: Path) -> None:
    """The five kinds of JWT put in the place of the one, rightly signed by the server's own keys."""

    async def check(bench: Bench, client: OAuthClient) -> None:
        server = bench.environment.authorization_server
        tokens = await client.tokens()
        good = json.loads(jose.parse_compact(tokens["access_token"]).payload)
        signing, attester = server.signing.signing_key(bench.clock()), server.attester.signing_key(bench.clock())
        assert isinstance(signing.key, ec.EllipticCurvePrivateKey)
        assert isinstance(attester.key, ec.EllipticCurvePrivateKey)
        header = {"typ": "at+jwt", "alg": "ES256", "kid": signing.kid}
        public = signing.key.public_key()
        wrong = {
            "the id_token": tokens["id_token"],
            "the refresh token": tokens["refresh_token"],
            "the attestation": client.attestation,
            "by the attester": signed_jwt(header, good, attester.key),
            "by the attester, as itself": signed_jwt(header | {"kid": attester.kid}, good, attester.key),
            "a MAC with the public key": hs256(client, tokens["access_token"], public),
            "alg none": signed_jwt(header | {"alg": "none"}, good, signing.key).rpartition(".")[0] + ".",
            "another audience": signed_jwt(header, good | {"aud": BASE}, signing.key),
        }
        for typ in JWT_TYPES:
            if typ != "at+jwt":
                wrong[f"typ {typ}"] = signed_jwt(header | {"typ": typ}, good, signing.key)
        client.nonce = (await bench.client.get(WHOAMI)).headers["dpop-nonce"]

        async def call(token: str) -> httpx2.Response:
            proof = client.proof(WHOAMI, "GET", token=token)
            return await bench.client.get(WHOAMI, headers={"authorization": f"DPoP {token}", "dpop": proof})

        assert (await call(signed_jwt(header, good, signing.key))).status_code == 200
        before = await count(bench, "oauth_replay")
        for name, token in wrong.items():
            answer = await call(token)
            assert answer.status_code == 401, name
            assert 'error="invalid_token"' in answer.headers["www-authenticate"], name
            assert answer.headers["dpop-nonce"]
        assert await count(bench, "oauth_replay") == before
        thief = client.proof(WHOAMI, "GET", key=OTHER, ath=access_token_hash(tokens["access_token"]))
        stolen = {"authorization": f"DPoP {tokens['access_token']}", "dpop": thief}
        answer = await bench.client.get(WHOAMI, headers=stolen)
        assert 'error="invalid_dpop_proof"' in answer.headers["www-authenticate"]

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("method", "path", "authorization", "expected"),
    [
        ("POST", "/introspect", None, "Bearer"),
        ("POST", "/introspect", "Bearer x.y", 'Bearer error="invalid_token"'),
        ("GET", "/register/unknown", None, "Bearer"),
        ("PUT", "/register/unknown", "Bearer x", 'Bearer error="invalid_token"'),
        ("DELETE", "/register/unknown", "Bearer x", 'Bearer error="invalid_token"'),
        ("POST", "/revoke", "Basic YTpi", 'Basic realm="fidoloop"'),
        ("POST", "/revoke", "Strange x", None),
        ("POST", "/revoke", None, None),
    ],
)
def test_whoever_is_not_known_is_told_in_the_scheme_that_he_tried(
    tmp_path: Path, method: str, path: str, authorization: str | None, expected: str | None
) -> None:
    """RFC 6749 section 5.2, RFC 6750 section 3."""

    async def check(bench: Bench, client: OAuthClient) -> None:
        headers = {"content-type": FORM} | ({} if authorization is None else {"authorization": authorization})
        content = json.dumps({"client_id": "unknown"}) if method == "PUT" else "token=x"
        answer = await bench.client.request(method, path, content=content, headers=headers)
        assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, expected)

    run(tmp_path, check)


def test_an_unknown_user_takes_the_work_of_a_known_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal in text and in what is done: one password derivation, the same statements; no clock is asked here."""

    async def check(bench: Bench, client: OAuthClient) -> None:
        from tests.server.oauth.client import write_policy
        from tests.server.oauth.test_challenge import ALL, ASK

        write_policy(bench, {"rules": [ALL]})
        await admin.set_password(bench.store, "jeff", "correct horse battery", now=bench.clock())
        await admin.set_password(bench.store, "mia", "correct horse battery", now=bench.clock())
        await admin.disable_user(bench.store, "mia", now=bench.clock())
        derived: list[int] = []
        derive = passwords._scrypt

        def counting(password: str, salt: bytes) -> bytes:
            derived.append(len(salt))
            return derive(password, salt)

        monkeypatch.setattr(passwords, "_scrypt", counting)
        await client.fresh()
        seen = set()
        for username in ("jeff", "nobody", "mia"):
            derived.clear()
            answer = await client.send(
                "/authorize-challenge",
                ASK | {"acr_values": "pw-enroll", "username": username, "password": "wrong password"},
            )
            body = answer.json()
            body.pop("auth_session")
            seen.add((answer.status_code, json.dumps(body), tuple(derived)))
        assert len(seen) == 1, seen
        assert seen.pop()[2] == (16,)

    run(tmp_path, check)
