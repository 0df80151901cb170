"""`fidoloop demo` as a process: the thirteen steps, what travelled, and what it leaves behind."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from fidoloop.bridge.errors import BridgeError
from fidoloop.cli.demo import say_step
from fidoloop.cli.exits import Exit
from fidoloop.demo import STEPS, Demo, Step
from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import find_softhsm_module
from tests.cli.command import Done, run, running
from tests.lab import SOFTHSM_PIN, Lab

PREFIX = "/nevisfido"
EXCHANGE = {"method", "path", "request_headers", "request_body", "status", "response_headers", "response_body", "ms"}

# Lists class and label of every object, in a process of its own.
LIST_OBJECTS = """
import sys, pkcs11
module, label, pin = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin) as session:
    for found in session.get_objects():
        print(found.object_class.name, found.label if hasattr(found, "label") else found[pkcs11.Attribute.LABEL])
"""


@pytest.fixture(scope="module")
def shown() -> Done:
    """The demonstration for people, into a pipe."""
    done = run("demo")
    assert done.code == Exit.OK, done.all
    return done


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """The demonstration's one record."""
    done = run("demo", "--json")
    assert (done.code, done.err) == (Exit.OK, "")
    value: dict[str, Any] = done.json
    return value


def test_thirteen_steps_are_shown_in_order_as_they_happen(shown: Done) -> None:
    steps = re.findall(r"^ *(\d+)  (.*?)  ([\d.]+) ms$", shown.out, re.MULTILINE)
    assert [(int(number), name) for number, name, _ in steps] == list(enumerate(STEPS, 1))
    for operation in ("registration", "log-in", "transaction confirmation", "deregistration"):
        assert f"{operation}: succeeded" in shown.out
    assert shown.out.rstrip().splitlines()[-1].startswith("succeeded: 13 steps, 4 operations")
    assert shown.err == ""
    assert "\x1b" not in shown.out


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_step_is_as_wide_as_its_terminal_at_most(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, soft_wrap=True)
    detail = "UAF registration F10B#0010 AbCdEfGhIjKl…, with the target's two public keys in its context"
    for number, name in enumerate(STEPS, 1):
        say_step(console, Step(number, name, 1234.56, detail))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    beginnings = [line[:5] for line in lines]
    assert set(beginnings) == {" " * 5, *(f"{number:>3}  " for number in range(1, 14))}
    said = " ".join(line[5:] for line in lines)
    assert said.count(detail) == len(STEPS)
    assert all(f"{name}  1234.6 ms" in said or f"{name} 1234.6 ms" in said for name in STEPS)


def test_the_record_has_these_members_and_no_others(record: dict[str, Any]) -> None:
    assert record.keys() == {"result", "steps", "exchanges"}
    assert record["result"] == "succeeded"
    assert [(step["n"], step["name"]) for step in record["steps"]] == list(enumerate(STEPS, 1))
    for step in record["steps"]:
        assert step.keys() == {"n", "name", "ms"}
        assert step["ms"] >= 0
    for exchange in record["exchanges"]:
        assert exchange.keys() == EXCHANGE
        assert isinstance(exchange["status"], int)
        assert exchange["ms"] > 0
        for name in ("method", "path", "request_body", "response_body"):
            assert isinstance(exchange[name], str)
        for name in ("request_headers", "response_headers"):
            assert all(isinstance(value, str) for value in exchange[name].values())


def of(record: dict[str, Any], method: str, path: str) -> list[dict[str, Any]]:
    wanted = (method, PREFIX + path)
    return [one for one in record["exchanges"] if (one["method"], urlsplit(one["path"]).path) == wanted]


def test_the_wire_messages_of_the_steps_are_in_the_record(record: dict[str, Any]) -> None:
    (registered,) = of(record, "POST", "/uaf/1.1/registration")
    target = json.loads(json.loads(registered["request_body"])["context"])["dispatchTarget"]
    assert {"signatureKey", "encryptionKey", "name"} <= target.keys()
    target_id = json.loads(json.loads(registered["response_body"])["description"])["dispatchTargetId"]

    (queried,) = of(record, "GET", "/token/dispatch/targets")
    assert [entry["id"] for entry in json.loads(queried["response_body"])["dispatchTargets"]] == [target_id]

    login, confirmation = of(record, "POST", "/token/dispatch/authentication")
    asked, answered = json.loads(login["request_body"]), json.loads(login["response_body"])
    assert (asked["dispatchTargetId"], answered["dispatchResult"]) == (target_id, "dispatched")
    assert "transaction" in json.loads(json.loads(confirmation["request_body"])["getUafRequest"]["context"])

    redeemed, _ = of(record, "POST", "/token/redeem/authentication")
    assert json.loads(redeemed["request_body"]) == {"token": answered["token"]}
    assert redeemed["request_headers"]["accept"] == "application/fido+uaf"
    (triggered,) = json.loads(json.loads(redeemed["response_body"])["uafRequest"])
    assert triggered["header"]["op"] == "Auth"

    completed, _ = of(record, "POST", "/uaf/1.1/authentication")
    (response,) = json.loads(json.loads(completed["request_body"])["uafResponse"])
    assert response["header"] == triggered["header"]
    assert json.loads(completed["response_body"])["statusCode"] == 1200

    # The phone asked for the facet list once, and kept it for the operations that followed.
    assert len(of(record, "GET", "/uaf/1.1/facets")) == 1

    followed = of(record, "POST", "/status") + of(record, "POST", "/status/stream")
    session = [one for one in followed if json.loads(one["request_body"])["sessionId"] == answered["sessionId"]]
    assert any('"succeeded"' in one["response_body"] for one in session)
    assert len(of(record, "POST", "/token/redeem/deregistration")) == 1
    assert len(of(record, "DELETE", f"/token/dispatch/targets/{target_id}")) == 1


def test_people_are_shown_no_token_and_no_credential(shown: Done, record: dict[str, Any]) -> None:
    """The record holds them, as documented: its server is gone when the run ends."""
    for word in ("Bearer", "pin-value", "eyJ"):
        assert word not in shown.out
    (first, *_) = of(record, "POST", "/token/dispatch/authentication")
    assert first["request_headers"]["authorization"].startswith("Bearer ")


def objects(uri: str) -> list[str]:
    parsed = parse_uri(uri)
    arguments = [str(parsed.module_path), str(parsed.token), SOFTHSM_PIN]
    done = subprocess.run([sys.executable, "-c", LIST_OBJECTS, *arguments], capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines())


ATTESTATION = sorted(
    f"{kind} {label}"
    for kind in ("CERTIFICATE", "PRIVATE_KEY", "PUBLIC_KEY")
    for label in ("fidoloop attestation", "fidoloop attestation CA")
)


def test_on_another_token_only_the_attestation_objects_stay(fidoloop_make_token: Callable[[], str]) -> None:
    uri = fidoloop_make_token()
    for attempt in ("pin in the URI", "pin in the environment"):
        secret = None if attempt == "pin in the URI" else SOFTHSM_PIN
        done = run("demo", "--keys", uri if secret is None else parse_uri(uri).without_pin(), pin=secret)
        assert done.code == Exit.OK, done.all
        assert SOFTHSM_PIN not in done.all
        assert objects(uri) == ATTESTATION


def test_a_run_that_breaks_off_leaves_the_token_as_it_was(fidoloop_lab: Lab, fidoloop_token: str) -> None:
    before = objects(fidoloop_token)

    def stop(step: Step) -> None:
        if step.n == 9:
            raise BridgeError("the phone fell into the lake")

    demo = Demo(
        fidoloop_lab.store,
        fidoloop_lab.server,
        keys_uri=fidoloop_token,
        pin=SOFTHSM_PIN,
        say_step=stop,
        say_flow=lambda _: None,
    )
    with pytest.raises(BridgeError, match="lake"):
        demo.run()
    assert objects(fidoloop_token) == before


@pytest.mark.parametrize(
    ("arguments", "pin", "code"),
    [
        (("--keys", "pkcs11:tokn=x"), "123456", Exit.USAGE),
        (("--keys", "nonsense"), "123456", Exit.USAGE),
        (("--keys", f"pkcs11:token=nobody?module-path={find_softhsm_module()}"), "123456", Exit.DEVICE),
        (("--keys", "pkcs11:token=x?module-path=/absent.so"), "123456", Exit.DEVICE),
        (("--keys", f"pkcs11:token=nobody?module-path={find_softhsm_module()}"), None, Exit.DEVICE),
        (("--nonsense",), None, Exit.USAGE),
    ],
    ids=range(6),
)
def test_what_cannot_run_says_why(arguments: tuple[str, ...], pin: str | None, code: Exit) -> None:
    done = run("demo", *arguments, pin=pin)
    assert (done.code, done.out) == (code, "")
    assert done.err
    assert "Traceback" not in done.err


def test_a_reader_that_goes_away_ends_the_run_quietly() -> None:
    """As `demo | head -1` does."""
    with running("demo") as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert demo.stdout.readline().startswith("server")
        demo.stdout.close()
        said = demo.stderr.read()
        assert demo.wait(timeout=60) == Exit.REFUSED
    assert said == ""
