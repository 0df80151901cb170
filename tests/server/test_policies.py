"""Named policies: what a wrong file is told, and what a changed one changes."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol.errors import MalformedError
from fidoloop.server.errors import ConfigError
from fidoloop.server.policies import Policies, parse_policy, shipped_policies
from fidoloop.server.watched_files import WatchedFiles
from tests.cli.command import invoke
from tests.server.harness import Bench, running, write_metadata
from tests.server.phone import FULL_AAID, SURROGATE_AAID, Phone, full_model, surrogate_model

ONLY_FULL = {"accepted": [[{"aaid": [FULL_AAID]}]]}
ONLY_SURROGATE = {"accepted": [[{"aaid": [SURROGATE_AAID]}]]}
PLAIN = {"authenticationAlgorithms": [1], "assertionSchemes": ["UAFV1TLV"]}


def run(home: Path, check: Callable[[Bench], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with running(home) as bench:
            await check(bench)

    asyncio.run(scenario())


def write(home: Path, name: str, document: object) -> Path:
    directory = home / "policies"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    staged = path.with_suffix(".new")
    staged.write_text(document if isinstance(document, str) else json.dumps(document))
    staged.replace(path)
    return path


WRONG: list[tuple[Any, str]] = [
    ('{\n "accepted": [[\n  {"aaid": ["F1D0#0001"],}\n]]}', "p:3: not JSON: "),
    ("", "p:1: not JSON: "),
    ('{"accepted": [], "accepted": []}', "p: $: duplicate member 'accepted'"),
    ({}, "p: $: Object missing required field `accepted`"),
    ({"accepted": []}, "p: $.accepted: Expected `array` of length >= 1"),
    ({"accepted": [[]]}, "p: $.accepted[0]: Expected `array` of length >= 1"),
    ({"accepted": [[{"aaid": "F1D0#0001"}]]}, "p: $.accepted[0][0].aaid: Expected `array`, got `str`"),
    ({"accepted": [[{"aaid": ["F1D0-0001"]}]]}, "p: $.accepted[0][0].aaid[0]: not of the form HHHH#HHHH"),
    ({"accepted": [[{"aaid": ["F1D0#0001"], "keyProtection": 1}]]}, "p: $.accepted[0][0].keyProtection: may not stand"),
    ({"accepted": [[PLAIN], [PLAIN, {"userVerification": 2}]]}, "p: $.accepted[1][1].authenticationAlgorithms: is req"),
    ({"accepted": [[PLAIN | {"userVerfication": 2}]]}, "p: $.accepted[0][0].userVerfication: no such member"),
    ({"accepted": [[PLAIN]], "dissallowed": []}, "p: $.dissallowed: no such member"),
    ({"accepted": [[PLAIN]], "disallowed": [{"vendorID": ["F1D"]}]}, "p: $.disallowed[0].authenticationAlgorithms"),
    ({"accepted": [[PLAIN]] * 257}, "p: $.accepted: Expected `array` of length <= 256"),
    ({"accepted": [[PLAIN]], "disallowed": [PLAIN] * 4000}, "p: 2"),
]


@pytest.mark.parametrize(("document", "reason"), WRONG)
def test_a_wrong_policy_says_what_and_where(tmp_path: Path, document: Any, reason: str) -> None:  # noqa: ANN401 - JSON
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(MalformedError) as caught:
        parse_policy(text.encode(), "p")
    assert str(caught.value).startswith(reason)
    path = write(tmp_path, "wrong", text)
    with pytest.raises(ConfigError, match=r"policies: wrong\.json"):
        Policies(tmp_path / "policies")
    done = invoke("server", "policy", "check", str(path), "--home", str(tmp_path))
    assert done.code == 1
    assert str(path) in done.err


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(MalformedError, match="not UTF-8"):
        parse_policy(b'{"accepted": "\xff"}', "p")


def test_the_shipped_policies_keep_to_the_rules() -> None:
    assert sorted(shipped_policies()) == ["biometrics_only", "default", "password_only", "pin_only"]


@pytest.mark.parametrize("name", ["a b", "x" * 65, "ä"])
def test_a_name_that_no_request_could_say_stops_the_start(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, ONLY_FULL)
    with pytest.raises(ConfigError, match="the name of a policy has"):
        Policies(tmp_path / "policies")


def test_a_changed_policy_is_taken_up_and_issued_requests_keep_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(bench: Bench) -> None:
        full = await bench.registered(model=bench.full)

        async def log_in(phone: Phone, request: dict[str, Any]) -> int:
            return int((await bench.respond("Auth", phone.authenticate(request)))["statusCode"])

        async def issue() -> dict[str, Any]:
            # Another second: the directory is looked at again.
            bench.clock.advance(1)
            return await bench.uaf_request("Auth", {"policy": "mine"}, api=False)

        assert (await bench.request("Auth", {"policy": "mine"}))["statusCode"] == 1400
        write(tmp_path, "mine", ONLY_FULL)
        before = await issue()
        assert before["policy"] == ONLY_FULL
        write(tmp_path, "mine", ONLY_SURROGATE)
        after = await issue()
        assert after["policy"] == ONLY_SURROGATE
        assert await log_in(full, after) == 1492
        assert await log_in(full, before) == 1200
        write(tmp_path, "mine", '{"accepted": [[{"aaid": ["F10B#0113"], "tcDisplay": 1}]]}')
        assert (await issue())["policy"] == ONLY_SURROGATE
        told = "mine.json cannot be used: $.accepted[0][0].tcDisplay: may not stand beside aaid"
        assert caplog.messages == [told]
        (tmp_path / "policies" / "mine.json").unlink()
        bench.clock.advance(1)
        assert (await bench.request("Auth", {"policy": "mine"}))["statusCode"] == 1400

    run(tmp_path, check)


def test_an_own_policy_stands_before_the_shipped_one_until_it_is_removed(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        shipped = (await bench.uaf_request("Auth", {}, api=False))["policy"]
        path = write(tmp_path, "default", ONLY_FULL)
        bench.clock.advance(1)
        assert (await bench.uaf_request("Auth", {}, api=False))["policy"] == ONLY_FULL
        path.unlink()
        bench.clock.advance(1)
        assert (await bench.uaf_request("Auth", {}, api=False))["policy"] == shipped

    run(tmp_path, check)


def test_a_file_that_cannot_be_read_is_told_and_leaves_what_was_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.json"
    path.write_text("1")
    readable = True

    def parse(file: Path) -> int:
        if not readable:
            raise PermissionError(13, "Permission denied", str(file))
        return int(file.read_text())

    files = WatchedFiles(tmp_path, parse, logging.getLogger("fidoloop.test"))
    assert files.refresh(10_000)
    readable = False
    path.write_text("2")
    os.utime(path, (1, 1))
    assert not files.refresh(10_999)  # not looked at: the second is not over
    assert not files.refresh(11_000)
    assert files.values() == {"a.json": 1}
    assert caplog.messages == ["a.json cannot be read: Permission denied"]
    readable = True
    assert files.refresh(12_000)
    assert files.values() == {"a.json": 2}


def test_the_commands_list_show_and_check(tmp_path: Path) -> None:
    write_metadata(tmp_path, full_model(), surrogate_model())
    home = ("--home", str(tmp_path))
    path = write(tmp_path, "mine", ONLY_FULL)
    listed = invoke("server", "policy", "list", "--json", *home).json["policies"]
    assert {entry["name"]: entry["origin"] for entry in listed} == {
        "biometrics_only": "shipped",
        "default": "shipped",
        "mine": "own",
        "password_only": "shipped",
        "pin_only": "shipped",
    }
    assert json.loads(invoke("server", "policy", "show", "mine", *home).out) == ONLY_FULL
    assert invoke("server", "policy", "show", "other", *home).code == 1
    checked = invoke("server", "policy", "check", str(path), "--json", *home)
    assert checked.json == {"alternatives": 1, "accepts": [FULL_AAID]}
    both = write(tmp_path, "both", {"accepted": [[PLAIN]], "disallowed": [{"aaid": [FULL_AAID]}]})
    assert invoke("server", "policy", "check", str(both), "--json", *home).json["accepts"] == [SURROGATE_AAID]
    assert invoke("server", "policy", "check", str(tmp_path / "none.json"), *home).code == 2
