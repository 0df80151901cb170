"""The profile for Janssen's first-party demo app: what it sends gets what it expects, and nothing else gets laxer."""

import asyncio
import json
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.server import admin
from fidoloop.server.settings.oauth import OAuthSettings
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.oauth.client import FORM, OAuthClient, new_client, write_policy
from tests.server.oauth.test_token_endpoint import count, refused
from tests.server.passkeys import Passkey, enrolled
from tests.server.test_openapi import check_answer

BASE_PATH = "/jans-auth/restv1"
FIDO = "/jans-fido2/restv1"
PASSWORD = "correct horse battery"
PUBLISHER = ec.generate_private_key(ec.SECP256R1())
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ON = OAuthSettings(compat="jans-chip")
GRANTS = {"acr": ["pw-enroll", "fido2"], "scopes": ["openid"]}
POLICY = {
    "rules": [
        {"name": "chip", "evidence_types": ["app-claims"], "tiers": ["unattested"], "grants": GRANTS},
        {"name": "others", "grants": {"acr": ["pw-enroll", "uaf", "fido2"], "scopes": ["openid", "api"]}},
    ]
}


def rs256(claims: dict[str, Any], key: rsa.RSAPrivateKey = KEY, **header: Any) -> str:  # noqa: ANN401 - JSON
    """A JWT as the app makes it: RS256, which nothing here signs with."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    parts = [{"typ": "jwt", "alg": "RS256", **header}, claims]
    signed = ".".join(base64url.encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{base64url.encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class Chip:
    """The app, sending what it sends, in its order."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.passkey = Passkey()
        self.client_id = self.secret = ""

    @property
    def now(self) -> int:
        return self.bench.clock() // 1000

    def registration(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        claims = {
            "appName": "jans-chip",
            "seq": str(uuid.uuid4()),
            "app_id": "io.jans.chip",
            "app_checksum": "00" * 32,
            "iat": self.now,
            "jti": str(uuid.uuid4()),
        }
        body = {
            "client_name": f"jans-chip{uuid.uuid4()}",
            "evidence": rs256(claims | changes.pop("claims", {}), **changes.pop("signing", {})),
            "jwks": json.dumps({"keys": [jose.public_jwk(KEY.public_key()).members]}),
            "scope": "openid authorization_challenge profile",
            "response_types": ["code"],
            "grant_types": ["authorization_code", "client_credentials"],
            "software_statement": self.statement(),
            "application_type": "native",
            "redirect_uris": [BASE],
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}

    def statement(self, key: ec.EllipticCurvePrivateKey = PUBLISHER, **changes: Any) -> str:  # noqa: ANN401 - JSON
        claims = {"iss": BASE, "software_id": "chip", "software_roles": ["native"], "jti": str(uuid.uuid4())} | changes
        return jose.sign_compact(json.dumps(claims).encode(), key, {"typ": "JWT"})

    async def register(self, **changes: Any) -> httpx2.Response:  # noqa: ANN401 - JSON
        answer = await self.bench.client.post(f"{BASE_PATH}/register", json=self.registration(**changes))
        check_answer("POST", f"{BASE_PATH}/register", answer)
        if answer.status_code == 201:
            self.client_id, self.secret = answer.json()["client_id"], answer.json()["client_secret"]
        return answer

    async def form(self, path: str, form: dict[str, str | None], **headers: str) -> httpx2.Response:
        content = urlencode({name: value for name, value in form.items() if value is not None})
        fields = {"content-type": FORM} | headers
        answer = await self.bench.client.post(f"{BASE_PATH}/{path}", content=content, headers=fields)
        check_answer("POST", f"{BASE_PATH}/{path}", answer)
        return answer

    async def challenge(self, method: str, *, path: str = "authorize-challenge", **more: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {
            "client_id": self.client_id,
            "state": str(uuid.uuid4()),
            "nonce": str(uuid.uuid4()),
            "use_device_session": "true",
            "acr_values": "passkey",
            "auth_method": method,
            "username": "jeff",
        }
        return await self.form(path, form | more)

    async def fido(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        return await self.bench.client.post(f"{FIDO}/{path}", content=json.dumps(body), headers=JSON)

    async def enrol(self) -> httpx2.Response:
        """Register a passkey, as it may after a right password."""
        asked = {"username": "jeff", "displayName": "jeff", "attestation": "none"}
        options = await self.fido("attestation/options", asked)
        if options.status_code != 200:
            return options
        return await self.fido("attestation/result", self.passkey.create(options.json()))

    async def assertion(self) -> str:
        options = await self.fido("assertion/options", {"username": "jeff"})
        return json.dumps(self.passkey.get(options.json()))

    async def login(self, **more: str) -> httpx2.Response:
        return await self.challenge("authenticate", assertion_result_request=await self.assertion(), **more)

    def basic(self, secret: str | None = None) -> str:
        return "Basic " + b64encode(f"{self.client_id}:{secret or self.secret}".encode()).decode()

    def proof(self, htu: str = BASE, key: rsa.RSAPrivateKey = KEY) -> str:
        claims = {"iat": self.now, "jti": str(uuid.uuid4()), "htm": "POST", "htu": htu}
        jwk = jose.public_jwk(key.public_key()).members
        return rs256(claims, key, typ="dpop+jwt", jwk=jwk)

    async def token(self, code: str, *, dpop: str | None = None, basic: str | None = None) -> httpx2.Response:
        form: dict[str, str | None] = {
            "client_id": self.client_id,
            "code": code,
            "grant_type": "authorization_code",
            "redirect_uri": BASE,
            "scope": "openid authorization_challenge profile",
        }
        return await self.form("token", form, authorization=basic or self.basic(), dpop=dpop or self.proof())

    async def userinfo(self, token: str, body: str | None = None) -> httpx2.Response:
        return await self.form("userinfo", {"access_token": body or token}, authorization=f"Bearer {token}")


Check = Callable[[Bench, Chip], Awaitable[None]]


def run(home: Path, check: Check, *, oauth: OAuthSettings = ON) -> None:
    async def whole() -> None:
        async with running(home, oauth=oauth) as bench:
            publishers = bench.config.oauth_directory / "software-publishers"
            publishers.mkdir(parents=True)
            pem = PUBLISHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (publishers / "publisher.pem").write_bytes(pem)
            write_policy(bench, POLICY)
            await admin.set_password(bench.store, "jeff", PASSWORD, now=bench.clock())
            await check(bench, Chip(bench))

    asyncio.run(whole())


async def ready(chip: Chip) -> None:
    """Register and enrol."""
    assert (await chip.register()).status_code == 201
    assert (await chip.challenge("enroll", password=PASSWORD)).status_code == 200
    assert (await chip.enrol()).status_code == 200


async def logged_in(chip: Chip) -> dict[str, Any]:
    answer = await chip.token((await chip.login()).json()["authorization_code"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("path", ["authorize-challenge", "authorization_challenge"])
def test_the_apps_walk(tmp_path: Path, path: str) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        metadata = (await bench.client.get("/.well-known/openid-configuration")).json()
        assert metadata["issuer"] == BASE
        names = ("registration", "token", "userinfo", "revocation", "authorization_challenge")
        assert all(metadata[f"{name}_endpoint"].startswith(f"{BASE}{BASE_PATH}/") for name in names)
        made = (await chip.register()).json()
        assert (made["scope"], made["client_secret_expires_at"]) == ("openid", 0)
        assert not {"evidence", "jwks", "registration_access_token"} & set(made)
        enrolling = await chip.challenge("enroll", path=path, password=PASSWORD)
        assert enrolling.status_code == 200, enrolling.text
        assert (await chip.enrol()).status_code == 200
        code = (await chip.login()).json()["authorization_code"]
        answer = await chip.token(code)
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        assert (tokens["token_type"], tokens["scope"]) == ("DPoP", "openid")
        said = strictjson.loads(jose.parse_compact(tokens["access_token"]).payload)
        assert said["cnf"]["jkt"] == jose.public_jwk(KEY.public_key()).thumbprint
        assert strictjson.loads(jose.parse_compact(tokens["id_token"]).payload)["acr"] == "fido2"
        who = await chip.userinfo(tokens["access_token"])
        assert who.json() == {"sub": "jeff", "preferred_username": "jeff", "acr": "fido2"}
        form: dict[str, str | None] = {"token": tokens["access_token"], "token_type_hint": "access_token"}
        assert (await chip.form("revoke", form, authorization=chip.basic())).status_code == 200
        assert (await chip.userinfo(tokens["access_token"])).status_code == 401

    run(tmp_path, check)


def test_where_it_is_off_there_is_nothing_and_the_strict_services_refuse_what_it_sends(tmp_path: Path) -> None:
    """Each of the laxities, refused by the services that all others use."""

    async def check(bench: Bench, chip: Chip) -> None:
        for path in ("register", "token", "userinfo", "revoke", "authorize-challenge", "authorization_challenge"):
            assert (await chip.form(path, {"a": "b"})).status_code == 404
        assert (await bench.client.get("/.well-known/openid-configuration")).status_code == 404
        # Keys in a text.
        refused(await bench.client.post("/register", json=chip.registration()), "invalid_request")
        # A credential without anybody's authority.
        assert (await chip.enrol()).status_code == 401
        client = await new_client(bench)
        # A proof for the issuer.
        for htu in (BASE, f"{BASE}/"):
            fields = client.headers("/token", dpop=client.proof("/token", htu=htu))
            form = {"grant_type": "authorization_code", "code": await client.code(), "code_verifier": "v" * 43}
            refused(await client.send("/token", form, fields), "invalid_dpop_proof")
        # A bearer token.
        token = (await client.tokens())["access_token"]
        answer = await bench.client.get("/api/whoami", headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, 'error="invalid_token"' in answer.headers["www-authenticate"]) == (401, True)

    run(tmp_path, check, oauth=OAuthSettings())


def test_where_it_is_on_nothing_else_is_laxer(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        client = await new_client(bench)
        refused(await bench.client.post("/register", json=chip.registration()), "invalid_request")
        token = (await client.tokens())["access_token"]
        assert (await chip.userinfo(token)).status_code == 401
        chip.client_id, chip.secret = client.client_id, "x"
        refused(await chip.token(await client.code()), "invalid_client", 401)
        # The other way round, its own tokens are bound to its key everywhere else.
        await ready(chip)
        own = (await logged_in(chip))["access_token"]
        answer = await bench.client.get("/api/whoami", headers={"authorization": f"Bearer {own}"})
        assert answer.status_code == 401
        strict = OAuthClient(bench, chip.client_id, key=client.key)
        strict.attestation = strict.attest()
        await strict.fresh()
        refused(await strict.redeem("x"), "invalid_client", 401)

    run(tmp_path, check)


def test_other_clients_are_answered_there_as_everywhere(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        client = await new_client(bench)
        answer = await client.send(f"{BASE_PATH}/authorize-challenge", {"acr_values": "uaf", "scope": "openid"})
        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_authorization")
        refused(await chip.challenge("enroll", password=PASSWORD), "invalid_dpop_proof")

    run(tmp_path, check)


REGISTRATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no statement": ({"software_statement": None}, "invalid_request"),
    "a stranger's statement": ({"software_statement": "other"}, "unapproved_software_statement"),
    "an expired statement": ({"software_statement": "expired"}, "invalid_software_statement"),
    "no evidence": ({"evidence": None}, "invalid_request"),
    "evidence by another key": ({"signing": {"key": OTHER_KEY}}, "bad_attestation"),
    "evidence of another kind": ({"signing": {"typ": "dpop+jwt"}}, "bad_attestation"),
    "old evidence": ({"claims": {"iat": 1_000_000}}, "bad_attestation"),
    "evidence without a checksum": ({"claims": {"app_checksum": None}}, "bad_attestation"),
    "keys that are no text": ({"jwks": {"keys": []}}, "invalid_request"),
    "no key": ({"jwks": '{"keys":[]}'}, "invalid_client_metadata"),
    "a private key": ({"jwks": '{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ"}]}'}, "invalid_client_metadata"),
    "another way back": ({"redirect_uris": ["https://evil.example/"]}, "invalid_redirect_uri"),
}


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_a_registration_that_breaks_a_rule_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        changes, code = REGISTRATIONS[name]
        statements = {
            "other": chip.statement(ec.generate_private_key(ec.SECP256R1())),
            "expired": chip.statement(exp=chip.now),
        }
        statement = changes.get("software_statement", "")
        if statement in statements:
            changes = {**changes, "software_statement": statements[statement]}
        refused(await chip.register(**changes), code)
        assert await count(bench, "oauth_client") == 0
        assert await count(bench, "oauth_replay") == 0

    run(tmp_path, check)


def test_evidence_and_statements_that_are_good_once_are_not_taken_twice(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        body = chip.registration()
        assert (await bench.client.post(f"{BASE_PATH}/register", json=body)).status_code == 201
        refused(await bench.client.post(f"{BASE_PATH}/register", json=body), "bad_attestation")
        once = chip.statement(one_time_use=True)
        assert (await chip.register(software_statement=once)).status_code == 201
        refused(await chip.register(software_statement=once), "invalid_software_statement")
        assert await count(bench, "oauth_client") == 2

    run(tmp_path, check)


def test_a_policy_that_does_not_name_such_apps_denies_them(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        await ready(chip)
        code = (await chip.login()).json()["authorization_code"]
        write_policy(bench, {"rules": POLICY["rules"][1:]})
        refused(await chip.token(code), "invalid_client_attestation", 401)
        refused(await chip.register(), "invalid_client_attestation", 401)
        assert (await chip.login()).status_code == 401

    run(tmp_path, check)


def test_a_password_opens_one_enrolment_for_a_while_for_its_user_alone(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        assert (await chip.register()).status_code == 201
        assert (await chip.enrol()).status_code == 401
        for password, code in (("wrong password", "username_or_password_invalid"), (None, "password_required")):
            refused(await chip.challenge("enroll", password=password), code, 401)
        assert (await chip.enrol()).status_code == 401
        await chip.challenge("enroll", password=PASSWORD)
        assert (await chip.fido("attestation/options", {"username": "mia"})).status_code == 403
        body = {"username": "jeff", "displayName": "jeff"}
        assert (await bench.post("/fido2/attestation/options", body, JSON, api=False)).status_code == 401
        assert (await chip.enrol()).status_code == 200
        chip.passkey = Passkey()
        assert (await chip.enrol()).status_code == 401
        await chip.challenge("enroll", password=PASSWORD)
        bench.clock.advance(121)
        assert (await chip.enrol()).status_code == 401

    run(tmp_path, check)


def test_an_assertion_is_good_once_and_for_its_user(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        await ready(chip)
        text = await chip.assertion()
        refused(
            await chip.challenge("authenticate", username="mia", assertion_result_request=text), "access_denied", 401
        )
        refused(await chip.challenge("authenticate", assertion_result_request=text), "access_denied", 401)
        refused(await chip.challenge("authenticate", assertion_result_request="x"), "access_denied", 401)
        refused(await chip.challenge("authenticate"), "invalid_request", 401)
        refused(await chip.challenge("steal"), "invalid_request", 401)
        refused(await chip.login(acr_values="uaf"), "unmet_authentication_requirements", 401)
        stranger = await enrolled(bench, "mia")
        chip.passkey = stranger
        assert (await chip.login()).status_code == 401

    run(tmp_path, check)


def test_a_code_needs_secret_and_key_and_is_good_once(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        await ready(chip)
        code = (await chip.login()).json()["authorization_code"]
        for basic in (chip.basic("x" * 43), "Basic !", "Basic eA==", f"Bearer {chip.secret}"):
            refused(await chip.token(code, basic=basic), "invalid_client", 401)
        for dpop in (chip.proof(key=OTHER_KEY), chip.proof("https://evil.example"), chip.proof(f"{BASE}/token"), "x"):
            refused(await chip.token(code, dpop=dpop), "invalid_dpop_proof")
        other = Chip(bench)
        assert (await other.register()).status_code == 201
        refused(await other.token(code), "invalid_grant")
        proof = chip.proof(f"{BASE}{BASE_PATH}/token")
        token = (await chip.token(code, dpop=proof)).json()["access_token"]
        refused(await chip.token(code, dpop=proof), "invalid_grant")
        assert (await chip.userinfo(token)).status_code == 401

    run(tmp_path, check)


def test_userinfo_is_for_a_good_token_shown_in_one_way(tmp_path: Path) -> None:
    async def check(bench: Bench, chip: Chip) -> None:
        await ready(chip)
        tokens = await logged_in(chip)
        token = tokens["access_token"]
        refused(await chip.userinfo(token, body=token[:-1]), "invalid_request")
        refused(await chip.form("userinfo", {"access_token": token}), "invalid_request")
        for wrong in (token[:-2], tokens["refresh_token"]):
            answer = await chip.userinfo(wrong)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
        bench.clock.advance(bench.config.oauth.access_token)
        assert (await chip.userinfo(token)).status_code == 401

    run(tmp_path, check)
