"""`fidoloop demo --oauth`: ten steps, each as it must come out."""

import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from fidoloop.cli.demo_oauth import say_step
from fidoloop.cli.exits import Exit
from fidoloop.demo_oauth import PASSWORD, STEPS, OAuthStep
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import PIN, LabCard
from tests.cli.command import invoke
from tests.lab import SOFTHSM_PIN


@pytest.fixture(scope="module")
def report(fidoloop_token: str) -> dict[str, Any]:
    """The record of a run."""
    done = invoke("demo", "--oauth", "--json", "--keys", fidoloop_token, pin=SOFTHSM_PIN)
    assert done.code == Exit.OK, done.all
    value: dict[str, Any] = done.json
    return value


def test_every_step_comes_out_as_it_must(report: dict[str, Any]) -> None:
    assert report["result"] == "succeeded"
    assert [step["name"] for step in report["steps"]] == list(STEPS)
    assert all(step["as_expected"] and step["exchanges"] for step in report["steps"])
    paths = [exchange["path"] for step in report["steps"] for exchange in step["exchanges"]]
    assert {
        "/register",
        "/challenge",
        "/authorize-challenge",
        "/token",
        "/api/whoami",
        "/introspect",
        "/revoke",
    } <= set(paths)


def test_it_is_told_message_by_message_with_the_proofs_decoded(fidoloop_token: str) -> None:
    done = invoke("demo", "--oauth", "--keys", fidoloop_token, pin=SOFTHSM_PIN)
    assert done.code == Exit.OK, done.all
    refused = ("← 400 (expected) {error: stale_evidence", "← 401 (expected) {error: invalid_client_attestation")
    for text in ("→ POST /register", "dpop: dpop+jwt {jti: ", "htm: POST", "← 200 {", *refused):
        assert text in done.out
    assert PASSWORD not in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 120


def test_a_device_that_a_root_vouches_for_is_attested(
    fidoloop_card: LabCard, fidoloop_card_factory: Factory, tmp_path: Path
) -> None:
    root = tmp_path / "factory.pem"
    root.write_bytes(fidoloop_card_factory.certificate.public_bytes(Encoding.PEM))
    uri = f"{fidoloop_card.uri}?management-key=default"
    done = invoke("demo", "--oauth", "--keys", uri, "--root", str(root), pin=PIN)
    assert done.code == Exit.OK, done.all
    assert "evidence of tier attested: signed by the device" in done.out


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_it_is_as_wide_as_its_terminal_at_most(report: dict[str, Any], width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, soft_wrap=True)
    for step in report["steps"]:
        say_step(console, msgspec.convert(step, OAuthStep))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    exchanges = [exchange for step in report["steps"] for exchange in step["exchanges"]]
    asked = [line.strip() for line in lines if line.startswith("     → ")]
    more = sum(int(number) for number in re.findall(r"\((\d+) more with the same outcome\)", "".join(lines)))
    assert len(asked) + more == len(exchanges)
    assert set(asked) == {f"→ {exchange['method']} {exchange['path']}" for exchange in exchanges}
    # Of what a person reads nothing is left out.
    said = " ".join(line.strip() for line in lines)
    for exchange in exchanges:
        if "error_description" in exchange["response_body"]:
            assert msgspec.json.decode(exchange["response_body"])["error_description"] in said


@pytest.mark.parametrize("arguments", [("--root", "pyproject.toml"), ("--oauth", "--root", "missing.pem")])
def test_a_root_that_cannot_be_used_is_refused(arguments: tuple[str, ...]) -> None:
    assert invoke("demo", *arguments).code == Exit.USAGE
