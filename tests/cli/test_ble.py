"""`--ble` as a user meets it: a laptop and a phone, each with a radio of its own, in range of each other."""

import sys
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.protocol import outofband, strictjson
from tests.cli.command import invoke, line_with, run, running
from tests.cli.test_phone import Cli, cli
from tests.lab import SOFTHSM_PIN, Lab

__all__ = ["cli"]


def laptop(lab: Lab, *arguments: str) -> list[str]:
    return ["laptop", "login", "--server", lab.server.url, "--ca", str(lab.server.ca), *arguments]


def test_a_phone_near_the_laptop_logs_in(cli: Cli, fidoloop_radios: tuple[str, str]) -> None:
    username = cli.enrolled()
    at_laptop, at_phone = fidoloop_radios
    arguments = laptop(cli.lab, "--user", username, "--ble", "--hci", at_laptop, "--json")
    with running(*arguments, FIDOLOOP_API_KEY=cli.lab.api_key) as process:
        station = line_with(process, "station: ")
        done = cli.phone("scan", "--ble", "--station", station.lower(), "--hci", at_phone, "--yes", "--json")
        assert done.json["statusCode"] == 1200
        out, _ = process.communicate()
    assert process.returncode == Exit.OK
    final = strictjson.loads(out)
    assert isinstance(final, dict)
    assert (final["status"], final["userId"]) == ("succeeded", username)
    assert final["tokenInformation"]["dispatcherInformation"]["name"] == "ble"


def test_a_phone_that_reads_the_token_elsewhere_is_told_to_come_near(cli: Cli) -> None:
    username = cli.enrolled()
    (target,) = cli.lab.laptop.targets(username)
    dispatched = cli.lab.laptop.dispatch(
        username=username, target_id=target.id, dispatcher="link", information={"channelLinking": {"mode": "ble"}}
    )
    done = cli.phone("scan", dispatched.response, "--yes", code=Exit.USER)
    assert "wants to be answered by the laptop's station: take it with --ble" in done.err
    assert cli.lab.laptop.status(dispatched.session_id).status == "failed"


def test_a_token_dispatched_elsewhere_is_served(cli: Cli, fidoloop_radios: tuple[str, str], tmp_path: Path) -> None:
    username = cli.enrolled()
    (target,) = cli.lab.laptop.targets(username)
    dispatched = cli.lab.laptop.dispatch(
        username=username, target_id=target.id, dispatcher="ble", information={"channelLinking": {"mode": "ble"}}
    )
    answer = outofband.DispatchResponse(
        "dispatched",
        dispatcherInformation=outofband.DispatcherInformation("ble", dispatched.response),
        channelLinking=dispatched.linking,  # type: ignore[arg-type]
    )
    at_laptop, at_phone = fidoloop_radios
    with running("laptop", "serve-ble", strictjson.encode(answer), "--hci", at_laptop) as process:
        station = line_with(process, "station: ")
        cli.phone("scan", "--ble", "--station", station, "--hci", at_phone, "--yes")
    assert cli.lab.laptop.status(dispatched.session_id).status == "succeeded"


PLAIN = outofband.qr_text(outofband.encode_payload({"token": "t", "redeem_url": "https://localhost/"}, None))
NOWHERE = "unix-client:/no/such/radio"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["phone", "scan"], Exit.USAGE, "either SOURCE or --ble"),
        (["phone", "scan", "text", "--ble"], Exit.USAGE, "either SOURCE or --ble"),
        (["phone", "scan", "--ble", "--hci", NOWHERE], Exit.DEVICE, "the Bluetooth radio unix-client:/no/such/radio"),
        (["phone", "scan", "--ble"], Exit.DEVICE, "there is no Bluetooth here"),
        (["laptop", "login", "--server", "https://localhost:1", "--ble", "--number"], Exit.USAGE, "--number or --ble"),
        (["laptop", "login", "--server", "https://localhost:1", "--ble"], Exit.USAGE, "--user"),
        (["laptop", "serve-ble", PLAIN], Exit.REFUSED, "the token is not encrypted"),
        (["laptop", "serve-ble", "nonsense"], Exit.REFUSED, "not a dispatched token"),
        (["laptop", "serve-ble", '{"dispatchResult":"userNotFound"}'], Exit.REFUSED, "dispatched: userNotFound"),
        (["laptop", "serve-ble", "x" * 70_000], Exit.REFUSED, "more than 65536 characters"),
    ],
)
def test_wrong_use_is_told_apart(arguments: list[str], code: Exit, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
    done = invoke(*arguments, pin=SOFTHSM_PIN)
    assert done.code == code, done.all
    assert said in " ".join(done.err.replace("│", " ").split())


def test_standard_input_is_served_too(tmp_path: Path) -> None:
    done = run("laptop", "serve-ble", "-", "--hci", NOWHERE, typed=PLAIN)
    assert done.code == Exit.REFUSED
    assert "the token is not encrypted" in done.err


@pytest.mark.parametrize("arguments", [["phone", "scan", "--ble"], ["laptop", "serve-ble", "token"]])
def test_without_the_extra_it_is_said_what_to_install(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fidoloop.bridge.ble.blocking", None)
    monkeypatch.setattr("fidoloop.cli.ble.parse_dispatch", lambda text: (b"x", None))
    done = invoke(*arguments)
    assert done.code == Exit.USAGE
    assert "pip install 'fidoloop[ble]'" in done.err
