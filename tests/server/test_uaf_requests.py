"""The requests that the server makes, and sets of authenticators (UAF protocol 3.4.1, 3.5.1, 3.6.1).

Digest 3.1, 3.4 and 3.7. Numbers are those of the conformance tool's threads.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.server import admin
from fidoloop.server.store import queries
from tests.server.harness import Bench, running, session_id_of
from tests.server.phone import FULL_AAID, SURROGATE_AAID, Phone, surrogate_model, twisted

SECOND_FACTOR = surrogate_model("F1D0#0005")
TYPES = [0x3E07, 0x3E08]
POLICIES: dict[str, dict[str, Any]] = {
    "one_aaid": {"accepted": [[{"aaid": [FULL_AAID]}]]},
    "types": {
        "accepted": [
            [{"attestationTypes": TYPES, "authenticationAlgorithms": [1], "assertionSchemes": ["UAFV1TLV"]}],
        ]
    },
    "both": {"accepted": [[{"aaid": [FULL_AAID]}, {"aaid": [SURROGATE_AAID]}]]},
    "not_full": {
        "accepted": [[{"authenticationAlgorithms": [1], "assertionSchemes": ["UAFV1TLV"]}]],
        "disallowed": [{"aaid": [FULL_AAID]}],
    },
}


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **config: Any) -> None:  # noqa: ANN401
    for directory in ("policies", "metadata"):
        (home / directory).mkdir()
    for name, policy in POLICIES.items():
        (home / "policies" / f"{name}.json").write_text(json.dumps(policy))
    (home / "metadata" / "second.json").write_text(json.dumps(SECOND_FACTOR.metadata(isSecondFactorOnly=True)))

    async def scenario() -> None:
        async with running(home, **config) as bench:
            await check(bench)

    asyncio.run(scenario())


def pairs(*phones: Phone) -> list[tuple[str, str]]:
    return sorted((phone.model.aaid, key.text) for phone in phones for key in phone.keys)


def named(criteria: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((aaid, key_id) for one in criteria for aaid in one["aaid"] for key_id in one["keyIDs"])


def test_challenges_and_server_data_are_fresh_and_bound_to_operation_user_and_time(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        requests = [await bench.uaf_request(op, {"username": "jeff"}) for op in ("Reg", "Auth") for _ in range(3)]
        for values in ([one["challenge"] for one in requests], [one["header"]["serverData"] for one in requests]):
            assert len(set(values)) == len(values)
            assert {len(base64url.decode(value)) for value in values} == {64}
        registration, *_, login = requests
        # Of the other operation, of another user, too late: each with the other's challenge, honestly signed.
        crossed = phone.authenticate(login, twisted(challenge=registration["challenge"]))
        assert (await bench.respond("Auth", crossed))["statusCode"] == 1491
        hers = await bench.registered("mia")
        his = await bench.uaf_request("Auth", {"username": "jeff"})
        assert (await bench.respond("Auth", hers.authenticate(his)))["statusCode"] == 1498
        late = await bench.uaf_request("Auth", {"username": "jeff"})
        bench.clock.advance(bench.config.lifetimes.authentication_response)
        assert (await bench.respond("Auth", phone.authenticate(late)))["statusCode"] == 1491

    run(tmp_path, check)


def test_19_26_every_registered_key_of_the_user_is_disallowed_beside_what_the_policy_disallows(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        first, second = await bench.registered(), await bench.registered()
        other = await bench.registered(model=bench.surrogate)
        await bench.registered("mia")
        request = await bench.uaf_request("Reg", {"username": "jeff", "policy": "not_full"})
        own, *registered = request["policy"]["disallowed"]
        assert own == {"aaid": [FULL_AAID]}
        assert named(registered) == pairs(first, second, other)
        fresh = await bench.uaf_request("Reg", {"username": "jeff"})
        again = first.register(fresh, twisted(key_id=first.keys[0].key_id))
        assert (await bench.respond("Reg", again))["statusCode"] == 1492

    run(tmp_path, check)


def test_a_user_with_more_keys_than_one_entry_names_registers_one_more(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        more = {base64url.encode(number.to_bytes(32)) for number in range(1024)}
        key: dict[str, Any] = dict.fromkeys(("display_characteristics", "verification_methods"))
        async with bench.store.transaction() as transaction:
            for key_id in more:
                await transaction.fetch_one(
                    queries.ADD_CREDENTIAL,
                    **key,
                    aaid=FULL_AAID,
                    key_id=key_id,
                    app_id=bench.config.app_id,
                    username="jeff",
                    public_key=b"",
                    public_key_format=0x100,
                    signature_algorithm=1,
                    authenticator_version=1,
                    sign_counter=0,
                    registration_counter=0,
                    attestation_type=0x3E07,
                    key_attested=0,
                    now=1,
                )
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        disallowed = request["policy"]["disallowed"]
        assert sorted(len(entry["keyIDs"]) for entry in disallowed) == [1, 1024]
        assert named(disallowed) == sorted([*pairs(phone), *((FULL_AAID, key_id) for key_id in more)])
        assert (await bench.respond("Reg", Phone(bench.full).register(request)))["statusCode"] == 1200

    run(tmp_path, check)


def test_21_44_400_449_an_aaid_may_stand_alone_and_attestation_types_are_an_array(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        alone = await bench.uaf_request("Reg", {"username": "jeff", "policy": "one_aaid"})
        assert alone["policy"] == POLICIES["one_aaid"]
        types = await bench.uaf_request("Reg", {"username": "jeff", "policy": "types"})
        assert types["policy"]["accepted"][0][0]["attestationTypes"] == TYPES

    run(tmp_path, check)


def test_54_20_a_second_factors_keys_come_with_its_aaid_and_only_for_a_known_user(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(model=SECOND_FACTOR)
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        (alternative,) = request["policy"]["accepted"]
        assert named(alternative) == pairs(phone)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        # Who the user is, a second factor does not tell.
        anybody = await bench.uaf_request("Auth", {}, api=False)
        assert all("keyIDs" not in criteria for (criteria,) in anybody["policy"]["accepted"])
        assert (await bench.respond("Auth", phone.authenticate(anybody)))["statusCode"] == 1492

    run(tmp_path, check)


def test_a_policy_named_by_the_context_decides(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(model=bench.surrogate)
        for context in ({}, {"username": "jeff"}):
            expected = 1200 if not context else 1492
            answer = await bench.request("Auth", {"policy": "one_aaid"} | context)
            assert answer["statusCode"] == expected
        request = await bench.uaf_request("Auth", {"policy": "one_aaid"}, api=False)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1492
        for wrong in ("nope", "../default", "", "x" * 65):
            assert (await bench.request("Auth", {"policy": wrong}))["statusCode"] == 1400

    run(tmp_path, check)


# Several versions

VERSIONS = ("1.1", "1.0")


@pytest.mark.parametrize("context", [{}, {"username": "jeff"}], ids=["usernameless", "step-up"])
def test_a_request_holds_a_message_of_every_version_and_any_of_them_is_answered(
    tmp_path: Path, context: dict[str, str]
) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        for version, status in ((1, 1), 1200), ((1, 0), 1200), ((1, 2), 1491), ((2, 0), 1491):
            returned = await bench.request("Auth", context)
            first, second = json.loads(returned["uafRequest"])
            assert [one["header"].pop("upv") for one in (first, second)] == [
                {"major": 1, "minor": 1},
                {"major": 1, "minor": 0},
            ]
            assert first == second
            first["header"]["upv"] = {}
            answer = await bench.respond("Auth", phone.authenticate(first, twisted(version=version)))
            assert answer["statusCode"] == status

    run(tmp_path, check, uaf_versions=VERSIONS)


def test_a_registration_and_a_deregistration_are_made_in_every_version_too(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        returned = await bench.request("Reg", {"username": "jeff"})
        _, old = json.loads(returned["uafRequest"])
        assert (await bench.respond("Reg", phone.register(old)))["statusCode"] == 1200
        returned = await bench.request("Dereg", {"username": "jeff", "mode": "username"})
        messages = json.loads(returned["uafRequest"])
        assert [one["header"]["upv"]["minor"] for one in messages] == [1, 0]
        assert messages[0]["authenticators"] == messages[1]["authenticators"]

    run(tmp_path, check, uaf_versions=VERSIONS)


# Deregistration


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"mode": "username"}, [("", "")]),
        ({"mode": "aaid", "aaids": [FULL_AAID.lower()]}, [(FULL_AAID, "")]),
    ],
    ids=["all keys", "all of one AAID"],
)
def test_53_55_a_deregistration_by_wildcard_stands_alone(
    tmp_path: Path, context: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered()
        await bench.registered()
        before = await admin.list_credentials(bench.store)
        request = await bench.uaf_request("Dereg", {"username": "jeff", "wildcards": True} | context)
        assert [(one["aaid"], one["keyID"]) for one in request["authenticators"]] == expected
        assert (len(before), await admin.list_credentials(bench.store)) == (2, [])
        # What was deleted is named to whoever asks.
        assert len((await bench.status(session_id_of(request)))["authenticators"]) == 2
        # A client may hold what the server does not know.
        again = await bench.uaf_request("Dereg", {"username": "jeff", "wildcards": True} | context)
        assert again["authenticators"] == request["authenticators"]
        assert (await bench.request("Dereg", {"username": "jeff"} | context))["statusCode"] == 1404

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("context", "versions"),
    [
        ({"mode": "keyid", "authenticators": [{"aaid": FULL_AAID, "keyID": "AAAA"}]}, ("1.1",)),
        ({"mode": "aaid", "aaids": [FULL_AAID, SURROGATE_AAID]}, ("1.1",)),
        ({"mode": "aaid", "aaids": ["F1D0-0001"]}, ("1.1",)),
        ({"mode": "aaid", "aaids": [""]}, ("1.1",)),
        ({"mode": "aaid"}, ("1.1",)),
        ({"mode": "username"}, ("1.0",)),
    ],
    ids=["keys", "two AAIDs", "no AAID", "an empty AAID", "AAIDs missing", "a version without wildcards"],
)
def test_a_wildcard_that_cannot_be_said_deletes_nothing(
    tmp_path: Path, context: dict[str, Any], versions: tuple[str, ...]
) -> None:
    async def check(bench: Bench) -> None:
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        assert (await bench.respond("Reg", Phone(bench.full).register(request)))["statusCode"] == 1200
        answer = await bench.request("Dereg", {"username": "jeff", "wildcards": True} | context)
        assert answer == {"statusCode": 1400}
        assert len(await admin.list_credentials(bench.store)) == 1

    run(tmp_path, check, uaf_versions=versions)


def test_53_a_version_without_wildcards_is_left_out_of_a_deregistration_by_one(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered()
        context = {"username": "jeff", "mode": "username", "wildcards": True}
        (message,) = json.loads((await bench.request("Dereg", context))["uafRequest"])
        assert message["header"]["upv"] == {"major": 1, "minor": 1}

    run(tmp_path, check, uaf_versions=VERSIONS)


def test_53_keys_are_named_by_aaid_and_key_id(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        request = await bench.uaf_request("Dereg", {"username": "jeff", "mode": "username"})
        assert [(one["aaid"], one["keyID"]) for one in request["authenticators"]] == pairs(phone)
        assert all(re.fullmatch(r"[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}", one["aaid"]) for one in request["authenticators"])
        assert "serverData" not in request["header"]

    run(tmp_path, check)


# Sets of authenticators


def together(*responses: dict[str, Any]) -> dict[str, Any]:
    """Return one response with the assertions of several, made for one request."""
    first = responses[0]
    assert all(one["fcParams"] == first["fcParams"] for one in responses)
    return {**first, "assertions": [entry for one in responses for entry in one["assertions"]]}


def test_several_assertions_are_registered_and_used_together_or_not_at_all(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        full, surrogate = Phone(bench.full), Phone(bench.surrogate)
        context = {"username": "jeff", "policy": "both"}
        request = await bench.uaf_request("Reg", context)
        assert (await bench.respond("Reg", full.register(request)))["statusCode"] == 1492
        request = await bench.uaf_request("Reg", context)
        broken = together(full.register(request), surrogate.register(request, twisted(fc_hash=bytes(32))))
        assert (await bench.respond("Reg", broken))["statusCode"] == 1498
        assert await admin.list_credentials(bench.store) == []
        request = await bench.uaf_request("Reg", context)
        whole = together(surrogate.register(request), full.register(request))
        assert (await bench.respond("Reg", whole))["statusCode"] == 1200
        assert (await bench.status(session_id_of(request)))["authenticators"] == [
            {"aaid": phone.model.aaid, "keyId": phone.keys[-1].text} for phone in (full, surrogate)
        ]

        request = await bench.uaf_request("Auth", context)
        (alternative,) = request["policy"]["accepted"]
        assert [criteria["aaid"] for criteria in alternative] == [[FULL_AAID], [SURROGATE_AAID]]
        assert (await bench.respond("Auth", full.authenticate(request)))["statusCode"] == 1492
        request = await bench.uaf_request("Auth", context)
        broken = together(full.authenticate(request), surrogate.authenticate(request, twisted(fc_hash=bytes(32))))
        assert (await bench.respond("Auth", broken))["statusCode"] == 1498
        assert {key.sign_counter for key in await admin.list_credentials(bench.store)} == {0}
        request = await bench.uaf_request("Auth", context)
        both = together(full.authenticate(request), surrogate.authenticate(request))
        assert (await bench.respond("Auth", both))["statusCode"] == 1200
        assert min(key.sign_counter for key in await admin.list_credentials(bench.store)) > 0

    run(tmp_path, check)
