"""`fidoloop card run` as a user or a script meets it, in the virtual reader of a real pcscd."""

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from fido2.ctap2 import Ctap2  # type: ignore[attr-defined]  # the package's name, as its users import it
from fido2.pcsc import CtapPcscDevice
from smartcard.System import readers

from fidoloop.cli.exits import Exit
from fidoloop.hsm.sim.readers import wait_for_card
from fidoloop.hsm.uri import parse_uri
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol import strictjson
from tests.cli.command import invoke, run, running
from tests.lab import SOFTHSM_PIN, Lab


def ykpiv(*arguments: str) -> str:
    done = subprocess.run(
        ["yubico-piv-tool", "-r", "Virtual PCD 00 00", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def announced(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401  # JSON
    """Read the line that says the card is in its reader."""
    assert process.stdout is not None
    return strictjson.loads(process.stdout.readline())


@pytest.fixture
def reader(fidoloop_pcscd: PrivatePcscd) -> Iterator[tuple[str, ...]]:
    """The options that name the session's first reader, which is empty before and after."""
    wait_for_card(fidoloop_pcscd.readers[0], present=False)
    yield ("--port", str(fidoloop_pcscd.port))
    wait_for_card(fidoloop_pcscd.readers[0], present=False)


def test_a_card_runs_until_it_is_stopped_and_remembers(reader: tuple[str, ...], tmp_path: Path) -> None:
    command = ("card", "run", *reader, "--home", str(tmp_path), "--json")
    with running(*command) as process:
        answer = announced(process)
        serial = answer["serial"]
        assert answer == {
            "uri": f"piv:reader=Virtual%20PCD%2000%2000;serial={serial}",
            "reader": "Virtual PCD 00 00",
            "serial": serial,
            "state": str(tmp_path / "card"),
            "factory_ca": str(tmp_path / "factory" / "factory-ca.pem"),
        }
        x509.load_pem_x509_certificate(Path(answer["factory_ca"]).read_bytes())
        assert f"Serial Number:\t{serial}" in ykpiv("-a", "status")
        ykpiv("-a", "change-pin", "-P", "123456", "-N", "654321")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK
    with running(*command) as process:
        assert announced(process)["serial"] == serial
        assert (
            "Successfully verified PIN"
            in subprocess.run(
                ["yubico-piv-tool", "-r", "Virtual PCD 00 00", "-a", "verify-pin", "-P", "654321"],
                capture_output=True,
                text=True,
                check=True,
            ).stderr
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == Exit.OK


def test_a_pin_try_survives_the_cards_sudden_end(reader: tuple[str, ...], tmp_path: Path) -> None:
    command = ("card", "run", *reader, "--state", str(tmp_path / "s"), "--factory", str(tmp_path / "f"), "--json")
    for tries in ("3", "2"):
        with running(*command) as process:
            announced(process)
            assert f"PIN tries left:\t{tries}" in ykpiv("-a", "status")
            subprocess.run(
                ["yubico-piv-tool", "-r", "Virtual PCD 00 00", "-a", "verify-pin", "-P", "000000"],
                capture_output=True,
                check=False,
            )
            process.kill()
            process.wait()


def test_people_read_one_line(reader: tuple[str, ...], tmp_path: Path) -> None:
    with running("card", "run", *reader, "--home", str(tmp_path)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("card ")
        assert "in reader Virtual PCD 00 00: piv:reader=Virtual%20PCD%2000%2000;serial=" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == Exit.OK
        assert process.stderr is not None
        assert "pulled" in process.stderr.read()


def test_a_new_card_takes_version_and_shape_an_old_one_keeps_them(reader: tuple[str, ...], tmp_path: Path) -> None:
    command = ("card", "run", *reader, "--home", str(tmp_path))
    with running(*command, "--firmware", "5.4.3", "--yubikey-shape") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "Version:\t5.4.3" in ykpiv("-a", "status")
        ykpiv("-a", "generate", "-s", "9a", "-A", "ECCP256")
        leaf = x509.load_pem_x509_certificate(ykpiv("-a", "attest", "-s", "9a").encode())
        assert leaf.subject.rfc4514_string() == "CN=YubiKey PIV Attestation 9a"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK
    refused = invoke(*command, "--firmware", "5.7.0")
    assert refused.code == Exit.USAGE
    assert "otherwise" in refused.err


def test_where_the_reader_goes_away_the_card_waits_for_it(tmp_path: Path) -> None:
    with PrivatePcscd() as pcscd:
        # Not this session's pcscd: this process's PC/SC cannot see it, and the command is told by its environment.
        environment = {"PCSCLITE_CSOCK_NAME": str(pcscd.socket)}
        with running(
            "card", "run", "--port", str(pcscd.port), "--home", str(tmp_path), "--json", **environment
        ) as card:
            announced(card)
            pcscd.stop(kill=True)
            assert card.stderr is not None
            assert "waiting" in card.stderr.readline()
            pcscd.start()
            assert "again" in card.stderr.readline()
            card.send_signal(signal.SIGTERM)
            assert card.wait(30) == Exit.OK


def test_a_reader_of_another_pcscd_has_no_name_here(fidoloop_pcscd: PrivatePcscd, tmp_path: Path) -> None:
    wait_for_card(fidoloop_pcscd.readers[1], present=False)
    command = ("card", "run", "--port", str(fidoloop_pcscd.port + 1), "--home", str(tmp_path), "--json")
    with running(*command, PCSCLITE_CSOCK_NAME=str(tmp_path / "nobody")) as process:
        answer = announced(process)
        assert (answer["reader"], answer["uri"]) == (None, f"piv:serial={answer['serial']}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK
    wait_for_card(fidoloop_pcscd.readers[1], present=False)


@pytest.mark.parametrize("uaf", [False, True])
def test_without_a_reader_the_error_says_what_to_do_before_a_pin_is_asked_for(
    fidoloop_token: str, tmp_path: Path, uaf: bool
) -> None:
    keys = ("--uaf", "--keys", parse_uri(fidoloop_token).without_pin()) if uaf else ()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run("card", "run", "--home", str(tmp_path), "--port", str(taken.getsockname()[1]), *keys)
    assert (done.code, done.out) == (Exit.DEVICE, "")
    assert "no virtual reader listens" in done.err
    assert "vsmartcard-vpcd" in done.err


def test_a_card_another_process_runs_is_refused(reader: tuple[str, ...], tmp_path: Path) -> None:
    command = ("card", "run", *reader, "--home", str(tmp_path))
    with running(*command, "--json") as process:
        announced(process)
        refused = run(*command, "--json")
        assert refused.code == Exit.DEVICE
        assert refused.json["error"] == "card_state"
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.parametrize("version", ["5", "5.7", "5.7.x", "5.7.256", "5.7.0.1", "-1.0.0"])
def test_a_version_is_three_numbers(tmp_path: Path, version: str) -> None:
    done = invoke("card", "run", "--home", str(tmp_path), f"--firmware={version}")
    assert done.code == Exit.USAGE
    assert list(tmp_path.iterdir()) == []


def test_a_card_is_a_uaf_authenticator_with_keys_in_a_key_store(
    reader: tuple[str, ...], fidoloop_make_token: Callable[[], str], tmp_path: Path
) -> None:
    uri = fidoloop_make_token()
    command = ("card", "run", *reader, "--home", str(tmp_path), "--json", "--uaf", "--keys", uri)
    with running(*command) as process:
        name = announced(process)["reader"]
        (found,) = [one for one in readers() if str(one) == name]
        connection = found.createConnection()
        connection.connect()
        assert connection.transmit(list(bytes.fromhex("00a4040c08a000000647af0001"))) == ([], 0x90, 0)
        assert connection.transmit([0, 0x20, 0, 0, 6, *b"000000"]) == ([], 0x63, 0xC7)
        assert connection.transmit([0, 0x20, 0, 0, 6, *SOFTHSM_PIN.encode()]) == ([], 0x90, 0)
        data, sw1, _ = connection.transmit(list(bytes.fromhex("8036000004 01340000 00")))
        assert sw1 == 0x61  # more of it: the card is many models
        assert b"F10B#0891" in bytes(data)
        connection.release()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK
    done = invoke("keys", "metadata", uri, "--uaf-card", "--out", str(tmp_path / "md"), "--json")
    written = {Path(path).stem for path in done.json["metadata"]}
    assert {"F10B-0891", "F10B-08A1", "F10B-28A1"} <= written
    assert {name[6] for name in written} == {"8"}


def test_a_card_is_a_security_key_that_remembers(
    reader: tuple[str, ...], fidoloop_make_token: Callable[[], str], tmp_path: Path
) -> None:
    uri = fidoloop_make_token()
    command = ("card", "run", *reader, "--home", str(tmp_path), "--json", "--fido", "--uaf", "--keys", uri)
    rp, user = {"id": "rp.example"}, {"id": b"1"}
    algorithms: list[Mapping[str, Any]] = [{"type": "public-key", "alg": -7}]
    with running(*command) as process:
        (device,) = CtapPcscDevice.list_devices(announced(process)["reader"])
        made = Ctap2(device).make_credential(bytes(32), rp, user, algorithms, options={"rk": True})
        device.close(release=True)
        process.kill()
        process.wait(30)
    assert (tmp_path / "card" / "fido.sqlite").stat().st_mode & 0o777 == 0o600
    with running(*command) as process:
        (device,) = CtapPcscDevice.list_devices(announced(process)["reader"])
        found = Ctap2(device).get_assertion("rp.example", bytes(32))
        assert made.auth_data.credential_data is not None
        found.verify(bytes(32), made.auth_data.credential_data.public_key)
        assert found.auth_data.counter > made.auth_data.counter
        device.close(release=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK


def test_a_phone_registers_and_logs_in_with_a_uaf_card_in_a_reader(
    reader: tuple[str, ...], fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path
) -> None:
    """The card's keys are in SoftHSM; the phone's own key store is the card's PIV side."""
    uri = parse_uri(fidoloop_token).without_pin()
    statements = invoke("keys", "metadata", uri, "--uaf-card", "--out", str(tmp_path / "md"), pin=SOFTHSM_PIN)
    assert statements.code == Exit.OK, statements.all
    added = [str(path) for path in sorted((tmp_path / "md").iterdir())]
    home = str(fidoloop_lab.server.home)
    assert invoke("server", "metadata", "add", *added, "--home", home).code == Exit.OK
    username = fidoloop_lab.new_user()
    command = ("card", "run", *reader, "--home", str(tmp_path), "--json", "--uaf", "--keys", fidoloop_token)

    def phone(*arguments: str, pin: str = SOFTHSM_PIN) -> Any:  # noqa: ANN401  # JSON
        return run("phone", *arguments, "--home", str(tmp_path), "--json", pin="123456", card_pin=pin)

    with running(*command) as process:
        name = announced(process)["reader"]
        enrolment = (
            *("register", fidoloop_lab.server.enrol(username), "--yes", "--uaf-card", name),
            *("--keys", f"piv:reader={quote(name, safe='')}?management-key=default", "--uv", "auto"),
            *("--ca", str(fidoloop_lab.server.ca), "--server", fidoloop_lab.server.url),
        )
        done = phone(*enrolment)
        assert done.code == Exit.OK, done.all
        assert [key["aaid"] for key in done.json["keys"]] == ["F10B#0811"]
        assert SOFTHSM_PIN not in done.all
        refused = phone("register", fidoloop_lab.server.enrol(username), "--yes", "--uaf-card", "Another")
        assert (refused.code, "set up with its UAF card" in refused.all) == (Exit.USAGE, True), refused.all
        done = phone("login")
        assert done.code == Exit.OK, done.all
        (target,) = fidoloop_lab.laptop.targets(username)
        token = fidoloop_lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link").response
        done = phone("scan", token, "--yes")
        assert done.code == Exit.OK, done.all
        done = phone("list")
        assert done.json["registrations"] == []
        assert [(one["aaid"], one["username"]) for one in done.json["onCards"]] == [("F10B#0811", username)]
        done = phone("login", pin="000000")
        assert done.code == Exit.USER, done.all  # asked once by script, then nobody is there
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK


def test_a_security_key_verifies_its_user_by_the_tokens_pin(
    reader: tuple[str, ...], fidoloop_make_token: Callable[[], str], tmp_path: Path
) -> None:
    uri = parse_uri(fidoloop_make_token()).without_pin()
    command = ("card", "run", *reader, "--home", str(tmp_path), "--json", "--fido", "--keys", uri, "--uv", "pin")
    rp, user = {"id": "rp.example"}, {"id": b"1"}
    algorithms: list[Mapping[str, Any]] = [{"type": "public-key", "alg": -7}]
    with running(*command, FIDOLOOP_PIN=SOFTHSM_PIN) as process:
        (device,) = CtapPcscDevice.list_devices(announced(process)["reader"])
        ctap = Ctap2(device)
        assert ctap.info.options["uv"] is True
        made = ctap.make_credential(bytes(32), rp, user, algorithms, options={"uv": True})
        assert made.auth_data.is_user_verified()
        device.close(release=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK


@pytest.mark.parametrize("options", [("--uaf",), ("--fido",), ("--keys", "pkcs11:token=lab")])
def test_an_authenticator_needs_keys_and_keys_an_authenticator(tmp_path: Path, options: tuple[str, ...]) -> None:
    refused = invoke("card", "run", "--home", str(tmp_path), *options)
    assert refused.code == Exit.USAGE
    assert "--keys" in refused.err
    assert not (tmp_path / "card").exists()


def test_without_the_kernels_file_a_key_on_usb_says_what_to_do(fidoloop_token: str, tmp_path: Path) -> None:
    refused = run(
        "card",
        "usb",
        "--home",
        str(tmp_path),
        "--keys",
        fidoloop_token,
        "--device",
        str(tmp_path / "uhid"),
        pin=SOFTHSM_PIN,
    )
    assert refused.code == Exit.DEVICE
    assert "modprobe uhid" in refused.err
    assert not (tmp_path / "usb").exists()
