"""FIDO2 registration and authentication over HTTP, in nevisFIDO's shape (HTTP contract 11, 12)."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.webauthn.messages import UserVerification
from fidoloop.server import admin
from fidoloop.server.config import ServerConfig
from fidoloop.server.fido2.authentication import REFUSED
from fidoloop.server.fido2.credentials import list_credentials, remove_credential
from fidoloop.server.settings.declared import Lifetimes
from fidoloop.server.settings.fido2 import ClonePolicy, Fido2
from fidoloop.server.settings.rate_limits import RateLimitSettings
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.open import open_store
from tests.protocol.builders import AT
from tests.protocol.webauthn.builders import AAGUID, BE, BS, UP, UV, model_entry, packed
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.passkeys import (
    RP_ID,
    Passkey,
    creation_options,
    enrolled,
    log_in,
    post,
    request_options,
    status,
)


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


def failed(answer: Any, code: int = 400) -> str:  # noqa: ANN401 - a response
    """Return what is said of a refusal."""
    assert answer.status_code == code, answer.text
    body = answer.json()
    assert set(body) == {"status", "errorMessage"}
    assert body["status"] == "failed"
    return str(body["errorMessage"])


def test_a_passkey_is_registered_and_logs_in(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        options = await creation_options(bench, authenticatorSelection={"residentKey": "required"})
        assert options["status"] == "ok"
        assert options["rp"] == {"id": RP_ID, "name": "fidoloop"}
        assert options["user"]["name"] == "jeff"
        assert options["user"]["displayName"] == "Jeff"
        assert len(base64url.decode(options["user"]["id"])) == 32
        assert len(base64url.decode(options["challenge"])) == 32
        assert options["pubKeyCredParams"][0] == {"type": "public-key", "alg": -7}
        assert options["excludeCredentials"] == []
        assert options["authenticatorSelection"] == {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "preferred",
        }
        assert options["attestation"] == "none"
        assert options["timeout"] == 300_000
        assert (await status(bench, options))["status"] == "initialized"
        passkey = Passkey()
        body = {"clientExtensionResults": {"credProps": {"rk": True}}}
        credential = passkey.create(options, response={"transports": ["internal"]}, body=body)
        answer = await post(bench, "attestation/result", credential, api=True)
        assert answer.json() == {"status": "ok", "errorMessage": "", "fido2SessionId": options["fido2SessionId"]}
        assert (await status(bench, options))["status"] == "succeeded"
        (kept,) = await list_credentials(bench.store, "jeff")
        assert (kept.id, kept.discoverable, kept.transports) == (passkey.name, 1, '["internal"]')

        asked = await request_options(bench)
        assert asked["allowCredentials"] == [{"type": "public-key", "id": passkey.name, "transports": ["internal"]}]
        assert asked["rpId"] == RP_ID
        answer = await post(bench, "assertion/result", passkey.get(asked))
        assert answer.json() == {"status": "ok", "errorMessage": "", "fido2SessionId": asked["fido2SessionId"]}
        found = await status(bench, asked)
        assert (found["status"], found["userId"], found["credentialId"], found["userVerified"]) == (
            "succeeded",
            "jeff",
            passkey.name,
            True,
        )
        (kept,) = await list_credentials(bench.store)
        assert kept.sign_count == 1
        entries = await admin.audit_entries(bench.store, "jeff")
        assert {(entry.event, entry.outcome, entry.key_id) for entry in entries} == {
            ("user-added", 1200, None),
            ("fido2-authentication", 1200, passkey.name),
            ("fido2-registration", 1200, passkey.name),
        }

    run(tmp_path, check)


def test_whoever_answers_is_logged_in_where_nobody_is_named(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, "mia")
        options = await request_options(bench, None, userVerification="required")
        assert options["allowCredentials"] == []
        assert options["userVerification"] == "required"
        without = passkey.get(options, response={"userHandle": None})
        assert failed(await post(bench, "assertion/result", without)) == REFUSED
        options = await request_options(bench, None)
        assert (await post(bench, "assertion/result", passkey.get(options))).status_code == 200
        assert (await status(bench, options))["userId"] == "mia"

    run(tmp_path, check)


def test_enrolment_takes_the_same_api_credential_twice(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        body = {"username": "jeff", "displayName": "Jeff"}
        assert (await post(bench, "attestation/options", body)).status_code == 401
        options = await creation_options(bench)
        credential = Passkey().create(options)
        assert (await post(bench, "attestation/result", credential)).status_code == 401
        other = await admin.add_api_key(bench.store, "other", now=bench.clock())
        headers = JSON | {"authorization": f"Bearer {other.bearer}"}
        elsewhere = await bench.post("/fido2/attestation/result", credential, headers)
        assert "another caller" in failed(elsewhere, 403)
        assert await list_credentials(bench.store) == []
        assert (await post(bench, "attestation/result", credential, api=True)).status_code == 200

    run(tmp_path, check)


def test_only_users_who_are_there_can_be_enrolled(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        body = {"username": "nobody", "displayName": "Nobody"}
        assert failed(await post(bench, "attestation/options", body, api=True), 403) == "no such user"
        credential = Passkey().create(await creation_options(bench))
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        assert "disabled" in failed(await post(bench, "attestation/result", credential, api=True))
        assert await list_credentials(bench.store) == []

    run(tmp_path, check)


def test_a_challenge_is_good_once_in_time_and_for_its_own_ceremony(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = Passkey()
        options = await creation_options(bench)
        credential = passkey.create(options)
        assert (await post(bench, "attestation/result", credential, api=True)).status_code == 200
        assert "used before" in failed(await post(bench, "attestation/result", credential, api=True))

        asked = await request_options(bench)
        as_creation = Passkey().create(options | {"challenge": asked["challenge"]})
        assert "no options" in failed(await post(bench, "attestation/result", as_creation, api=True))
        assertion = passkey.get(asked)
        bench.clock.advance(301)
        assert "expired" in failed(await post(bench, "assertion/result", assertion))
        assert (await status(bench, asked))["status"] == "failed"

        asked = await request_options(bench)
        wrong = passkey.get(asked, client={"origin": "https://evil.example"})
        assert failed(await post(bench, "assertion/result", wrong)) == REFUSED
        assert "used before" in failed(await post(bench, "assertion/result", passkey.get(asked)))
        assert (await status(bench, asked))["status"] == "failed"
        made_up = passkey.get(asked | {"challenge": base64url.encode(b"c" * 32)})
        assert "no options" in failed(await post(bench, "assertion/result", made_up))

    run(tmp_path, check)


def test_of_two_results_at_once_one_wins(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench) -> None:
        credential = Passkey().create(await creation_options(bench))
        answers = await asyncio.gather(*(post(bench, "attestation/result", credential, api=True) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
        passkey = await enrolled(bench, "mia")
        assertion = passkey.get(await request_options(bench, "mia"))
        answers = await asyncio.gather(*(post(bench, "assertion/result", assertion) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
        # One counter value in two ceremonies: the second is a clone's.
        first, second = await request_options(bench, "mia"), await request_options(bench, "mia")
        one = passkey.get(first)
        passkey.count -= 1
        answers = await asyncio.gather(*(post(bench, "assertion/result", each) for each in (one, passkey.get(second))))
        assert sorted(answer.status_code for answer in answers) == [200, 400]

    run(tmp_path, check, database=database)


def test_no_credential_is_registered_twice(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench)
        options = await creation_options(bench)
        assert [entry["id"] for entry in options["excludeCredentials"]] == [passkey.name]
        for username in ("jeff", "mia"):
            credential = passkey.create(await creation_options(bench, username))
            assert "registered already" in failed(await post(bench, "attestation/result", credential, api=True))
        (kept,) = await list_credentials(bench.store)
        assert kept.username == "jeff"

    run(tmp_path, check)


def test_nobody_logs_in_as_somebody_else(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        jeff, mia = await enrolled(bench, "jeff"), await enrolled(bench, "mia")
        assert failed(await log_in(bench, mia, "jeff")) == REFUSED
        # Jeff's handle beside Mia's key, and Mia's key under the id of Jeff's.
        assert failed(await log_in(bench, mia, None, response={"userHandle": jeff.handle})) == REFUSED
        assert failed(await log_in(bench, jeff, "jeff", key=mia.key)) == REFUSED
        assert (await log_in(bench, jeff)).status_code == 200
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        assert failed(await log_in(bench, jeff, None)) == REFUSED
        await admin.enable_user(bench.store, "jeff", now=bench.clock())
        assert (await log_in(bench, jeff)).status_code == 200
        await remove_credential(bench.store, jeff.name, now=bench.clock())
        assert failed(await log_in(bench, jeff)) == REFUSED

    run(tmp_path, check)


def test_users_who_are_not_there_seem_to_have_credentials(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await enrolled(bench, "mia", response={"transports": ["usb"]})
        real = await request_options(bench, "mia")
        seen = set()
        for username in ("nobody", "jeff", "someone", "else", "another"):
            first, again = await request_options(bench, username), await request_options(bench, username)
            assert set(first) == set(real)
            assert first["allowCredentials"] == again["allowCredentials"]
            assert first["challenge"] != again["challenge"]
            for entry in first["allowCredentials"]:
                assert set(entry) == {"type", "id", "transports"}
                seen.add(entry["id"])
            liar = Passkey(id=base64url.decode(first["allowCredentials"][0]["id"]), handle="")
            assert failed(await post(bench, "assertion/result", liar.get(first))) == REFUSED
            assert (await status(bench, first))["status"] == "failed"
        assert len(seen) >= 5
        liar = Passkey(id=base64url.decode(real["allowCredentials"][0]["id"]), handle="")
        assert failed(await post(bench, "assertion/result", liar.get(real))) == REFUSED

    run(tmp_path, check)


def test_decoys_are_others_on_another_server(tmp_path: Path) -> None:
    found: list[object] = []

    async def check(bench: Bench) -> None:
        found.append((await request_options(bench, "nobody"))["allowCredentials"])

    run(tmp_path / "one", check)
    run(tmp_path / "two", check)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("least", "asked", "flags", "taken"),
    [
        ("preferred", "discouraged", UP, True),
        ("preferred", "required", UP, False),
        ("preferred", "required", UP | UV, True),
        ("required", "discouraged", UP, False),
        ("required", None, UP, False),
        ("discouraged", None, UP, True),
    ],
)
def test_user_verification_is_what_was_asked_for_or_the_least_there_must_be(
    tmp_path: Path,
    least: UserVerification,
    asked: str | None,
    flags: int,
    taken: bool,
) -> None:
    async def check(bench: Bench) -> None:
        members = {} if asked is None else {"userVerification": asked}
        passkey = await enrolled(bench)
        options = await request_options(bench, **members)
        answer = await post(bench, "assertion/result", passkey.get(options, flags=flags))
        assert answer.status_code == (200 if taken else 400)
        creation = await creation_options(bench, authenticatorSelection=members)
        credential = Passkey().create(creation, flags=flags)
        assert (await post(bench, "attestation/result", credential, api=True)).status_code == (200 if taken else 400)
        if taken:
            assert (await status(bench, options))["userVerified"] is bool(flags & UV)

    run(tmp_path, check, fido2=Fido2(user_verification=least))


def test_options_that_discourage_verification_live_shorter(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        options = await request_options(bench, userVerification="discouraged")
        assert options["timeout"] == 7_000
        assert (await request_options(bench, userVerification="preferred"))["timeout"] == 9_000

    lifetimes = Lifetimes(fido2_verified=9, fido2_unverified=7)
    run(tmp_path, check, fido2=Fido2(user_verification="discouraged"), lifetimes=lifetimes)


@pytest.mark.parametrize("policy", ["refuse", "report"])
def test_a_counter_that_goes_back_is_refused_or_reported(
    tmp_path: Path,
    policy: ClonePolicy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, passkey=Passkey(count=5))
        assert (await log_in(bench, passkey)).status_code == 200
        passkey.count = 2
        with caplog.at_level(logging.WARNING, "fidoloop.server.fido2"):
            answer = await log_in(bench, passkey)
        assert answer.status_code == (200 if policy == "report" else 400)
        assert any("a clone?" in record.getMessage() for record in caplog.records) is (policy == "report")
        events = [entry.event for entry in await admin.audit_entries(bench.store, "jeff")]
        assert ("fido2-clone-suspected" in events) is (policy == "report")
        (kept,) = await list_credentials(bench.store)
        assert kept.sign_count == 6
        passkey.count = 9
        assert (await log_in(bench, passkey)).status_code == 200

    run(tmp_path, check, fido2=Fido2(clones=policy))


def test_credentials_that_are_synchronised_can_be_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        credential = Passkey().create(await creation_options(bench), flags=UP | UV | BE)
        assert "one device" in failed(await post(bench, "attestation/result", credential, api=True))

    run(tmp_path, check, fido2=Fido2(backup_eligible="refused"))


def test_the_backup_state_follows_the_authenticator(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, passkey=Passkey(flags=UP | UV | BE))
        for flags, state in ((UP | UV | BE | BS, 1), (UP | UV | BE, 0)):
            assert (await log_in(bench, passkey, flags=flags)).status_code == 200
            (kept,) = await list_credentials(bench.store)
            assert kept.backup_state == state
        assert failed(await log_in(bench, passkey, flags=UP | UV)) == REFUSED

    run(tmp_path, check)


def test_one_address_begins_so_many_authentications_a_minute(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for _ in range(3):
            await request_options(bench)
        answer = await post(bench, "attestation/options", {"username": "jeff"})
        assert "too many" in failed(answer, 429)
        assert answer.headers["retry-after"] == "20"
        await creation_options(bench)
        bench.clock.advance(20)
        await request_options(bench)

    run(tmp_path, check, rate_limits=RateLimitSettings(begun=3, exempt=()))


def test_only_models_of_the_metadata_where_that_is_demanded(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.clock.now = int(AT.timestamp() * 1000)
        options = await creation_options(bench)
        assert options["attestation"] == "direct"
        credential = Passkey().create(options, statement=packed())
        assert "not in the metadata" in failed(await post(bench, "attestation/result", credential, api=True))
        directory = tmp_path / "fido2-metadata"
        directory.mkdir()
        (directory / "model.json").write_text(json.dumps(model_entry()))
        bench.clock.advance(2)
        passkey = await enrolled(bench, statement=packed())
        (kept,) = await list_credentials(bench.store)
        assert (kept.trusted, kept.model, kept.attestation_type) == (1, "a model", "basic")
        assert kept.aaguid.replace("-", "") == AAGUID.hex()
        assert (await log_in(bench, passkey)).status_code == 200
        (directory / "model.json").write_text(json.dumps(model_entry("REVOKED")))
        bench.clock.advance(2)
        credential = Passkey().create(await creation_options(bench), statement=packed())
        assert "REVOKED" in failed(await post(bench, "attestation/result", credential, api=True))

    run(tmp_path, check, fido2=Fido2(trust="metadata"))


BAD_BODIES: list[tuple[str, object, str]] = [
    ("attestation/options", b"{", "not JSON"),
    ("attestation/options", b"[]", "object"),
    ("attestation/options", {"displayName": "x"}, "username"),
    ("attestation/options", {"username": "", "displayName": "x"}, "username"),
    ("attestation/options", {"username": "u" * 129, "displayName": "x"}, "username"),
    ("attestation/options", {"username": "jeff", "attestation": "some"}, "attestation"),
    ("attestation/options", {"username": "jeff", "attestation": "none", "userVerification": "required"}, "Selection"),
    ("attestation/options", {"username": "jeff", "userVerification": "maybe"}, "userVerification"),
    ("attestation/options", {"username": "jeff", "documentDomain": "evil.example"}, "documentDomain"),
    (
        "attestation/options",
        {"username": "jeff", "attestation": "none", "extensions": {"credentialProtectionPolicy": "all"}},
        "credentialProtectionPolicy",
    ),
    ("attestation/options", {"username": "jeff", "attestation": "none", "extensions": {"credProps": 1}}, "credProps"),
    (
        "attestation/options",
        {"username": "jeff", "attestation": "none", "extensions": {"x": "y" * 5000}},
        "extensions",
    ),
    (
        "attestation/options",
        {"username": "jeff", "attestation": "none", "extensions": {str(n): n for n in range(17)}},
        "extensions",
    ),
    ("attestation/options", {"username": "jeff", "extensions": {"x": "y" * 5000}}, "extensions"),
    ("attestation/options", b'{"username":"jeff","username":"mia","displayName":"x"}', "duplicate"),
    ("attestation/result", {}, "id"),
    ("attestation/result", {"id": "AAAA", "type": "password", "response": {}}, "enum"),
    ("attestation/result", {"id": "AAAA", "type": "public-key", "response": {}}, "clientDataJSON"),
    (
        "attestation/result",
        {"id": "AAAA", "type": "public-key", "response": {"clientDataJSON": "%", "attestationObject": "AAAA"}},
        "base64url",
    ),
    ("assertion/result", {"id": 5}, "id"),
    (
        "assertion/result",
        {
            "id": "AAAA",
            "type": "public-key",
            "response": {"clientDataJSON": "e30", "authenticatorData": "AAAA", "signature": "AAAA"},
        },
        "clientDataJSON",
    ),
    ("status", {}, "fido2SessionId"),
    ("status", {"fido2SessionId": "x" * 65}, "fido2SessionId"),
]


@pytest.mark.parametrize(("path", "body", "said"), BAD_BODIES, ids=[str(n) for n in range(len(BAD_BODIES))])
def test_a_bad_body_is_refused_by_name(tmp_path: Path, path: str, body: object, said: str) -> None:
    async def check(bench: Bench) -> None:
        assert said in failed(await post(bench, path, body, api=True))
        assert await list_credentials(bench.store) == []

    run(tmp_path, check)


def test_a_session_that_nobody_knows_is_unknown(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert (await status(bench, {"fido2SessionId": "none"}))["status"] == "unknown"

    run(tmp_path, check)


def test_other_origins_and_apps_may_be_allowed(tmp_path: Path) -> None:
    app = "android:apk-key-hash:abc"

    async def check(bench: Bench) -> None:
        options = await creation_options(bench)
        assert options["rp"]["id"] == "example.org"
        passkey = Passkey()
        wrong = passkey.create(options, client={"origin": BASE})
        assert BASE in failed(await post(bench, "attestation/result", wrong, api=True))
        await enrolled(bench, passkey=passkey, client={"origin": "https://login.example.org"})
        for origin in ("https://login.example.org", app):
            assert (await log_in(bench, passkey, client={"origin": origin})).status_code == 200

    run(tmp_path, check, fido2=Fido2(rp_id="example.org", origins=("https://login.example.org", app)))


def test_credentials_of_another_relying_party_id_are_not_offered(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'kept.sqlite'}"

    async def enrol(bench: Bench) -> None:
        await enrolled(bench)

    run(tmp_path / "one", enrol, database=database)

    async def again() -> None:
        config = ServerConfig(home=tmp_path, base_url="https://other.example", database=database)
        store = await open_store(database)
        found = await store.fetch_all(fido2_queries.CREDENTIALS_OF, username="jeff", rp_id=config.fido2.rp_id)
        await store.close()
        assert found == []

    asyncio.run(again())
