"""`fidoloop keys` as a user or a script meets it: in a process of its own, on a real token."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fidoloop.cli.exits import Exit, exit_for
from fidoloop.hsm.errors import KeyGone, PinLocked, TokenAmbiguous, UriError
from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

PIN = "271828"
COMMAND = [sys.executable, "-c", "from fidoloop.cli import run; run()", "keys"]


def keys(*arguments: str, pin: str | None = PIN, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "FIDOLOOP_PIN"}
    if pin is not None:
        environment["FIDOLOOP_PIN"] = pin
    return subprocess.run(
        [*COMMAND, *arguments], input=typed, capture_output=True, text=True, check=False, env=environment
    )


def answer(*arguments: str) -> Any:  # noqa: ANN401  # JSON
    done = keys(*arguments, "--json")
    assert done.returncode == Exit.OK, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token whose URI holds no PIN."""
    directory = current_softhsm_directory() or tmp_path_factory.mktemp("softhsm")
    return parse_uri(make_softhsm_token(directory, "cli-keys", PIN, "31415926")).without_pin()


def test_a_key_is_made_listed_described_and_destroyed(uri: str) -> None:
    made = answer("generate", uri, "--algorithm", "rsa2048", "--usage", "decrypt", "--id", "0A0b", "--label", "[red]x")
    assert (made["id"], made["algorithm"], made["usage"], made["label"]) == ("0a0b", "rsa2048", ["decrypt"], "[red]x")
    assert made["local"] is made["sensitive"] is made["never_extractable"] is True
    assert made["extractable"] is False
    load_pem_public_key(made["public_key"].encode())
    assert made in answer("list", uri)["keys"]
    assert answer("info", uri, "--id", "0a0b") == made
    listed = keys("list", uri)
    assert "0a0b" in listed.stdout
    assert "[red]x" in listed.stdout
    assert "\x1b" not in listed.stdout  # colours are for terminals
    assert answer("delete", uri, "--id", "0a0b", "--yes") == {"deleted": "0a0b"}
    gone = keys("info", uri, "--id", "0a0b")
    assert (gone.returncode, gone.stdout) == (Exit.DEVICE, "")
    assert gone.stderr.startswith("error: ")


def test_an_id_is_made_up_when_none_is_given(uri: str) -> None:
    ids = {answer("generate", uri)["id"] for _ in range(2)}
    assert len(ids) == 2
    again = keys("generate", uri, "--id", ids.pop(), "--json")
    assert again.returncode == Exit.DEVICE
    assert json.loads(again.stdout)["error"] == "key_exists"


def test_the_token_is_described_for_people_and_for_programs(uri: str) -> None:
    info = answer("info", uri)
    assert (info["kind"], info["hardware"], info["label"]) == ("softhsm", False, "cli-keys")
    assert "ECDSA" in info["mechanisms"]
    assert "kind: softhsm" in keys("info", uri).stdout


@pytest.mark.parametrize(("pin", "code"), [(None, "pin_required"), ("999999", "pin_incorrect"), ("", "pin_incorrect")])
def test_a_missing_or_wrong_pin_is_a_device_error(uri: str, pin: str | None, code: str) -> None:
    done = keys("list", uri, "--json", pin=pin)
    assert done.returncode == Exit.DEVICE
    assert json.loads(done.stdout)["error"] == code


def test_a_pin_comes_from_a_file_and_is_not_printed(uri: str, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text(PIN + "\n")
    assert keys("list", f"{uri}&pin-source={file}", pin="wrong-one").returncode == Exit.OK
    shown = keys("info", f"{uri}&pin-value={PIN}", pin=None)
    assert shown.returncode == Exit.OK
    assert PIN not in shown.stdout + shown.stderr


def test_a_pin_typed_at_a_terminal_is_not_echoed(uri: str) -> None:
    leader, follower = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "FIDOLOOP_PIN"}
    command = [*COMMAND, "list", uri, "--json"]
    with subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, env=environment, start_new_session=True
    ) as process:
        os.close(follower)
        seen = b""
        while b"PIN of token" not in seen:
            seen += os.read(leader, 1024)
        os.write(leader, PIN.encode() + b"\n")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == Exit.OK
    os.close(leader)
    assert "keys" in json.loads(output)
    assert PIN.encode() not in seen + output


@pytest.mark.parametrize(
    ("typed", "code"), [("n\n", Exit.USER), ("\x04", Exit.USER), ("y\n", Exit.OK)], ids=["no", "ctrl-d", "yes"]
)
def test_a_key_is_destroyed_when_the_user_says_so(uri: str, typed: str, code: Exit) -> None:
    made = answer("generate", uri)["id"]
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "delete", uri, "--id", made],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"FIDOLOOP_PIN": PIN},
        start_new_session=True,
    ) as process:
        os.close(follower)
        seen = b""
        while b"for ever?" not in seen:
            seen += os.read(leader, 1024)
        os.write(leader, typed.encode())
        process.communicate(timeout=60)
        assert process.returncode == code
    os.close(leader)
    left = {key["id"] for key in answer("list", uri)["keys"]}
    assert (made in left) == (code is not Exit.OK)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "pkcs11:tokn=lab"),
        ("list", "nonsense"),
        ("generate", "pkcs11:token=x", "--algorithm", "dsa"),
        ("generate", "pkcs11:token=x", "--usage", "dance"),
        ("delete", "pkcs11:token=x", "--id", "zz", "--yes"),
        ("delete", "pkcs11:token=x", "--id", "", "--yes"),
        ("delete", "pkcs11:token=x", "--id", "0a"),
        ("delete", "pkcs11:token=x", "--yes"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = keys(*arguments)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_an_absent_token_and_a_missing_module_are_device_errors(uri: str) -> None:
    for wrong, code in (
        (uri.replace("cli-keys", "nobody"), "token_absent"),
        ("pkcs11:token=x?module-path=/none.so", "module"),
    ):
        done = keys("list", wrong, "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]) == (Exit.DEVICE, code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UriError("x"), Exit.USAGE),
        (TokenAmbiguous("x"), Exit.USAGE),
        (PinLocked("x"), Exit.DEVICE),
        (KeyGone("x"), Exit.DEVICE),
        (PermissionError(13, "Permission denied", "/file"), Exit.USAGE),
        (OSError(5, "Input/output error"), None),
        (KeyError("x"), None),
    ],
)
def test_exit_codes_by_family(error: Exception, code: Exit | None) -> None:
    assert exit_for(error) is code
