"""Attested registration and the attester through HTTP (RFC 7591, RFC 7592; OAuth contract 3 and 7.3)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.token_claims import TokenClaims, token_claims_evidence
from fidoloop.protocol.evidence.values import Evidence, EvidenceKind
from fidoloop.protocol.oauth.client_attestation import verify_client_attestation
from fidoloop.protocol.oauth.device_evidence import make_device_evidence
from fidoloop.server.oauth.client_authentication import BY_DPOP
from tests.protocol.builders import AT, p256, root, spki
from tests.protocol.evidence.builders import (
    HSM_EXTENSIONS,
    OTHER_KEY,
    USER_KEY,
    Certified,
    attested,
    device,
    piv,
    pkix,
)
from tests.protocol.evidence.test_tpm import AK_CERTIFICATE
from tests.protocol.oauth.tokens import signed_jwt
from tests.server.harness import BASE, Bench, running
from tests.server.oauth.client import OAuthClient, write_policy

POLICY = {
    "rules": [
        {"name": "old firmware", "swversion": {"max": "5.6"}},
        {
            "name": "cards",
            "evidence_types": ["piv-attestation"],
            "pin_policy": ["once", "always"],
            "grants": {"acr": ["uaf"], "scopes": ["openid", "api"]},
        },
    ]
}
REGISTER, ATTEST = f"{BASE}/register", f"{BASE}/attester/attest"
KEY = p256(USER_KEY)


def run(home: Path, check: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        anchors = home / "oauth" / "anchors"
        anchors.mkdir(parents=True)
        (anchors / "factory.pem").write_bytes(root().public_bytes(Encoding.PEM))
        async with running(home) as bench:
            bench.clock.now = int(AT.timestamp() * 1000)
            write_policy(bench, POLICY)
            await check(bench)

    asyncio.run(whole())


async def nonce(bench: Bench, path: str = "/register") -> str:
    if path == "/register":
        answer = await bench.client.post(path, json={"client_name": "phone"})
        assert (answer.status_code, answer.json()["error"]) == (400, "stale_evidence")
        return str(answer.json()["nonce"])
    return str((await bench.client.post("/attester/nonce")).json()["nonce"])


def evidence(
    bench: Bench, text: str, *, audience: str = REGISTER, key: int = USER_KEY, made: Evidence | None = None
) -> str:
    raw = base64url.decode(text)
    return make_device_evidence(
        p256(key),
        made or piv(nonce=raw),
        nonce=text,
        audience=audience,
        now=bench.clock() // 1000,
        token_id="t",
        app_name="phone",
    )


async def registered(bench: Bench, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    body = {"client_name": "phone", "evidence": evidence(bench, await nonce(bench)), **metadata}
    answer = await bench.client.post("/register", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refused(answer: httpx2.Response, code: str, status: int = 400) -> None:
    assert (answer.json()["error"], answer.status_code) == (code, status), answer.text
    assert answer.headers["cache-control"] == "no-store"


def bearer(client: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {client['registration_access_token']}"}


def test_a_device_that_proves_its_key_becomes_a_client_which_gets_tokens(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench, jwks={"keys": [jose.public_jwk(KEY.public_key()).members]}, extra="ignored")
        assert "evidence" not in made
        assert "extra" not in made
        assert made["dpop_bound_access_tokens"] is True
        assert made["registration_client_uri"] == f"{REGISTER}/{made['client_id']}"
        client = OAuthClient(bench, made["client_id"], key=KEY, attestation=made["client_attestation"])
        await client.fresh()
        assert (await client.redeem(await client.code())).status_code == 200

    run(tmp_path, check)


def test_the_attestation_says_what_the_device_is_and_not_which(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        attesters = bench.environment.authorization_server.attester.public_keys()
        found = verify_client_attestation(
            [made["client_attestation"]], attesters=attesters, now=bench.clock() // 1000
        ).claims
        assert (found["tier"], found["swversion"][0], found["pin_policy"]) == ("attested", "5.7.1", "once")
        assert found["ear"]["ear_status"] == 2
        assert "12345678" not in json.dumps(found)

    run(tmp_path, check)


def test_an_instance_asks_the_attester_anew(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        text = await nonce(bench, "/attester/nonce")
        token = evidence(bench, text, audience=ATTEST)
        body = {"client_id": made["client_id"], "evidence": token}
        answer = await bench.client.post("/attester/attest", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["expires_in"] == 3600
        refused(await bench.client.post("/attester/attest", json=body), "stale_evidence")
        other = evidence(bench, await nonce(bench, "/attester/nonce"), audience=ATTEST)
        refused(
            await bench.client.post("/attester/attest", json=body | {"client_id": "x", "evidence": other}),
            "bad_attestation",
        )

    run(tmp_path, check)


def test_the_attester_vouches_for_no_other_clients_key(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        text = await nonce(bench, "/attester/nonce")
        theirs = piv(attested(p256(OTHER_KEY)), device(), key=p256(OTHER_KEY), nonce=base64url.decode(text))
        token = evidence(bench, text, audience=ATTEST, key=OTHER_KEY, made=theirs)
        refused(
            await bench.client.post("/attester/attest", json={"client_id": made["client_id"], "evidence": token}),
            "bad_attestation",
        )

    run(tmp_path, check)


def soft_claims(text: str, **forged: Any) -> Evidence:  # noqa: ANN401 - of TokenClaims
    said: dict[str, Any] = {
        "spki": base64url.encode(spki(KEY)),
        "token_kind": "softhsm",
        "manufacturer": "SoftHSM project",
        "model": "SoftHSM v2",
        "serial": "1",
        "firmware": "2.6",
        "sensitive": True,
        "extractable": False,
        "never_extractable": True,
        "local": True,
        "purposes": ("sign",),
    }
    claims = TokenClaims(**(said | forged))
    return token_claims_evidence(claims, nonce=base64url.decode(text), key=KEY)


Bad = Callable[[Bench, str], dict[str, Any]]
REFUSALS: dict[str, tuple[Bad, str]] = {
    "another service's evidence": (lambda b, n: {"evidence": evidence(b, n, audience=ATTEST)}, "bad_attestation"),
    "a nonce of somebody else": (
        lambda b, n: {"evidence": evidence(b, base64url.encode(b"n" * 32), made=piv(nonce=b"n" * 32))},
        "stale_evidence",
    ),
    "evidence for another nonce": (lambda b, n: {"evidence": evidence(b, n, made=piv())}, "bad_attestation"),
    "signed by another key": (lambda b, n: {"evidence": evidence(b, n, key=OTHER_KEY)}, "bad_attestation"),
    "another key in jwks": (
        lambda b, n: {
            "evidence": evidence(b, n),
            "jwks": {"keys": [jose.public_jwk(p256(OTHER_KEY).public_key()).members]},
        },
        "bad_attestation",
    ),
    "two keys in jwks": (
        lambda b, n: {"evidence": evidence(b, n), "jwks": {"keys": [jose.public_jwk(KEY.public_key()).members] * 2}},
        "invalid_client_metadata",
    ),
    "a private key in jwks": (
        lambda b, n: {
            "evidence": evidence(b, n),
            "jwks": {"keys": [{**jose.public_jwk(KEY.public_key()).members, "d": "AA"}]},
        },
        "invalid_client_metadata",
    ),
    "unsigned claims of a software token": (
        lambda b, n: {"evidence": evidence(b, n, made=soft_claims(n))},
        "bad_attestation",
    ),
    "an old firmware": (
        lambda b, n: {
            "evidence": evidence(
                b,
                n,
                made=piv(
                    attested(KEY, extensions={3: bytes((5, 4, 3)), 7: b"\x02\x01\x07", 8: bytes((2, 1))}),
                    device(),
                    nonce=base64url.decode(n),
                ),
            )
        },
        "bad_attestation",
    ),
    "a device that no anchor vouches for": (
        lambda b, n: {
            "evidence": evidence(b, n, made=piv(attested(KEY, issuer_key=OTHER_KEY), nonce=base64url.decode(n)))
        },
        "bad_attestation",
    ),
    "no JWT": (lambda b, n: {"evidence": "x"}, "bad_attestation"),
    "a redirect URI without TLS": (
        lambda b, n: {"evidence": evidence(b, n), "redirect_uris": ["http://app.example/"]},
        "invalid_redirect_uri",
    ),
    "a redirect URI with fragment": (
        lambda b, n: {"evidence": evidence(b, n), "redirect_uris": ["https://app.example/#x"]},
        "invalid_redirect_uri",
    ),
    "a script for a redirect URI": (
        lambda b, n: {"evidence": evidence(b, n), "redirect_uris": ["javascript:alert(1)"]},
        "invalid_redirect_uri",
    ),
    "another grant type": (
        lambda b, n: {"evidence": evidence(b, n), "grant_types": ["password"]},
        "invalid_client_metadata",
    ),
    "unbound tokens": (
        lambda b, n: {"evidence": evidence(b, n), "dpop_bound_access_tokens": False},
        "invalid_client_metadata",
    ),
    "another authentication": (
        lambda b, n: {"evidence": evidence(b, n), "token_endpoint_auth_method": "none"},
        "invalid_request",
    ),
    "a statement that nobody signed": (
        lambda b, n: {"evidence": evidence(b, n), "software_statement": "x"},
        "invalid_software_statement",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_registration_that_breaks_a_rule_is_refused_and_leaves_the_nonce(tmp_path: Path, name: str) -> None:
    async def check(bench: Bench) -> None:
        text = await nonce(bench)
        make, code = REFUSALS[name]
        refused(await bench.client.post("/register", json={"client_name": "phone", **make(bench, text)}), code)
        good = await bench.client.post("/register", json={"evidence": evidence(bench, text)})
        assert good.status_code == 201, good.text
        refused(await bench.client.post("/register", json={"evidence": evidence(bench, text)}), "stale_evidence")

    run(tmp_path, check)


def tpm(raw: bytes) -> Evidence:
    return Certified(nonce=raw, ak_chain=(AK_CERTIFICATE,)).evidence()


def yubihsm(raw: bytes) -> Evidence:
    subject = "YubiHSM Attestation id 0x1234"
    certificate = attested(KEY, arc=oids.YUBICO_HSM, subject=subject, extensions=HSM_EXTENSIONS)
    return piv(certificate, device(), nonce=raw, kind=EvidenceKind.YUBIHSM)


KINDS: dict[str, Callable[[bytes], Evidence]] = {
    "piv-attestation": lambda raw: piv(nonce=raw),
    "yubihsm-attestation": yubihsm,
    "tpm2-certify": tpm,
    "pkix-evidence": lambda raw: pkix(nonce=raw),
    "p11-claims": lambda raw: soft_claims(base64url.encode(raw)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_evidence_registers_where_the_policy_names_it(tmp_path: Path, kind: str) -> None:
    async def check(bench: Bench) -> None:
        grants = {"acr": ["uaf"], "scopes": ["openid"]}
        tiers = ["attested", "unattested"]
        rules = [{"name": name, "evidence_types": [name], "tiers": tiers, "grants": grants} for name in KINDS]
        others = [rule for rule in rules if rule["name"] != kind]
        for allowed, status in ((others, 400), (rules, 201)):
            write_policy(bench, {"rules": allowed})
            text = await nonce(bench)
            body = {"evidence": evidence(bench, text, made=KINDS[kind](base64url.decode(text)))}
            answer = await bench.client.post("/register", json=body)
            assert answer.status_code == status, answer.text
            if status == 400:
                refused(answer, "bad_attestation")
        found = json.loads(jose.parse_compact(answer.json()["client_attestation"]).payload)
        tier = "unattested" if kind == "p11-claims" else "attested"
        assert (found["evidence_type"], found["tier"]) == (kind, tier)

    run(tmp_path, check)


@pytest.mark.parametrize(
    "forged",
    [
        {"token_kind": "yubihsm", "manufacturer": "Yubico (www.yubico.com)", "model": "YubiHSM"},
        {"firmware": "99.0"},
        {"serial": "12345678"},
    ],
)
def test_what_a_software_token_says_of_itself_is_never_attested_whatever_it_says(
    tmp_path: Path, forged: dict[str, str]
) -> None:
    async def check(bench: Bench) -> None:
        # Whoever is attested is let in, and nobody else.
        write_policy(bench, {"rules": [{"name": "any", "grants": {"acr": ["uaf"], "scopes": ["openid"]}}]})
        await registered(bench)
        text = await nonce(bench)
        body = {"evidence": evidence(bench, text, made=soft_claims(text, **forged))}
        refused(await bench.client.post("/register", json=body), "bad_attestation")

    run(tmp_path, check)


@pytest.mark.parametrize("typ", ["JWT", "dpop+jwt", "at+jwt", "oauth-client-attestation+jwt", None])
def test_no_other_jwt_is_evidence(tmp_path: Path, typ: str | None) -> None:
    async def check(bench: Bench) -> None:
        text = await nonce(bench)
        good = jose.parse_compact(evidence(bench, text))
        header = {"typ": typ, "alg": "ES256", "jwk": jose.public_jwk(KEY.public_key()).members}
        wrong = signed_jwt(header, json.loads(good.payload), KEY)
        refused(await bench.client.post("/register", json={"evidence": wrong}), "bad_attestation")
        right = signed_jwt(header | {"typ": "eat+jwt"}, json.loads(good.payload), KEY)
        assert (await bench.client.post("/register", json={"evidence": right})).status_code == 201

    run(tmp_path, check)


def test_a_nonce_grows_old(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        text = await nonce(bench)
        bench.clock.advance(300)
        answer = await bench.client.post("/register", json={"evidence": evidence(bench, text)})
        refused(answer, "stale_evidence")
        assert len(base64url.decode(answer.json()["nonce"])) == 32

    run(tmp_path, check)


def test_a_registration_is_read_changed_and_deleted_by_its_token(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        path = f"/register/{made['client_id']}"
        found = (await bench.client.get(path, headers=bearer(made))).json()
        assert found["client_name"] == "phone"
        assert "registration_access_token" not in found
        change = {"client_id": made["client_id"], "client_name": "tablet", "token_endpoint_auth_method": BY_DPOP}
        changed = (await bench.client.put(path, json=change, headers=bearer(made))).json()
        assert (changed["client_name"], changed["token_endpoint_auth_method"]) == ("tablet", BY_DPOP)
        for wrong, code in (
            (change | {"client_id": "x"}, "invalid_request"),
            ({"client_name": "x"}, "invalid_request"),
            (change | {"registration_access_token": "x"}, "invalid_request"),
            (change | {"jwks": {"keys": [jose.public_jwk(p256(OTHER_KEY).public_key()).members]}}, "stale_evidence"),
        ):
            refused(await bench.client.put(path, json=wrong, headers=bearer(made)), code)
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": bearer(made)["authorization"][7:]}):
            refused(await bench.client.get(path, headers=headers), "invalid_token", 401)
        refused(await bench.client.get("/register/unknown", headers=bearer(made)), "invalid_token", 401)
        assert (await bench.client.delete(path, headers=bearer(made))).status_code == 204
        refused(await bench.client.get(path, headers=bearer(made)), "invalid_token", 401)

    run(tmp_path, check)


def test_with_a_new_key_what_the_old_one_had_ends(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        client = OAuthClient(bench, made["client_id"], key=KEY, attestation=made["client_attestation"])
        await client.fresh()
        tokens = await client.tokens()
        text = await nonce(bench)
        other = piv(attested(p256(OTHER_KEY)), device(), key=p256(OTHER_KEY), nonce=base64url.decode(text))
        change = {"client_id": made["client_id"], "evidence": evidence(bench, text, key=OTHER_KEY, made=other)}
        changed = await bench.client.put(f"/register/{made['client_id']}", json=change, headers=bearer(made))
        assert changed.status_code == 200, changed.text
        refused(await client.refresh(tokens["refresh_token"]), "invalid_client", 401)
        renewed = OAuthClient(
            bench, made["client_id"], key=p256(OTHER_KEY), attestation=changed.json()["client_attestation"]
        )
        await renewed.fresh()
        refused(await renewed.refresh(tokens["refresh_token"]), "invalid_grant")

    run(tmp_path, check)


def test_a_deleted_clients_tokens_are_worth_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        made = await registered(bench)
        client = OAuthClient(bench, made["client_id"], key=KEY, attestation=made["client_attestation"])
        await client.fresh()
        tokens = await client.tokens()
        await bench.client.delete(f"/register/{made['client_id']}", headers=bearer(made))
        refused(await client.refresh(tokens["refresh_token"]), "invalid_client", 401)
        form = {"content-type": "application/x-www-form-urlencoded"} | bench.api
        found = await bench.client.post("/introspect", content=f"token={tokens['access_token']}", headers=form)
        assert found.json() == {"active": False}

    run(tmp_path, check)


PUBLISHER = p256(40)


def statement(**claims: object) -> str:
    text = json.dumps({"iss": "https://publisher.example", "software_id": "loop", **claims})
    return jose.sign_compact(text.encode(), PUBLISHER, {"typ": "JWT"})


def test_what_a_publisher_says_of_the_software_wins(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        refused(
            await bench.client.post(
                "/register", json={"evidence": evidence(bench, await nonce(bench)), "software_statement": statement()}
            ),
            "unapproved_software_statement",
        )
        publishers = bench.config.oauth_directory / "software-publishers"
        publishers.mkdir()
        pem = PUBLISHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (publishers / "publisher.pem").write_bytes(pem)
        bench.clock.advance(2)
        said = statement(client_name="as published")
        made = await registered(bench, client_name="mine", software_statement=said)
        assert (made["client_name"], made["software_id"], made["software_statement"]) == ("as published", "loop", said)
        once = statement(one_time_use=True, jti="s1")
        await registered(bench, software_statement=once)
        for wrong in (once, statement(exp=bench.clock() // 1000), statement(one_time_use=True), statement(scope=1)):
            body = {"evidence": evidence(bench, await nonce(bench)), "software_statement": wrong}
            refused(await bench.client.post("/register", json=body), "invalid_software_statement")

    run(tmp_path, check)


def test_a_yubikeys_own_arc_is_another_maker_than_a_simulated_one(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        rule = {"name": "yubico", "oemid": [41482], "grants": {"acr": ["uaf"], "scopes": ["api"]}}
        write_policy(bench, {"rules": [rule]})
        text = await nonce(bench)
        refused(await bench.client.post("/register", json={"evidence": evidence(bench, text)}), "bad_attestation")
        real = piv(attested(KEY, arc=oids.YUBICO_PIV), device(), nonce=base64url.decode(text))
        answer = await bench.client.post("/register", json={"evidence": evidence(bench, text, made=real)})
        assert answer.status_code == 201, answer.text

    run(tmp_path, check)


@pytest.mark.parametrize("body", ["", "[]", '{"client_name":1}', '{"evidence":1}', '{"a":1,"a":1}', "{" * 40])
def test_what_is_no_registration_is_refused(tmp_path: Path, body: str) -> None:
    async def check(bench: Bench) -> None:
        refused(await bench.client.post("/register", content=body), "invalid_request")

    run(tmp_path, check)
