"""`fidoloop phone app`: the OAuth walk by commands, keys in a real token, a real server over TLS."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.cli.exits import Exit
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from fidoloop.protocol import strictjson
from tests.cli.command import Done, invoke
from tests.lab import SOFTHSM_PIN, Lab, running_lab

PASSWORD = "correct horse battery"
ACRS = ["pw-enroll", "uaf", "fido2"]
GRANTS = {"acr": ACRS, "scopes": ["openid", "api"]}
ANY: dict[str, object] = {"name": "lab tokens", "tiers": ["unattested"], "grants": GRANTS}


@dataclass
class Cli:
    """The commands, against a lab of their own."""

    lab: Lab
    home: Path
    token: str
    user: str

    def app(self, verb: str, *arguments: str, code: int = Exit.OK, as_json: bool = True) -> Done:
        options = ["--home", str(self.home), *(["--json"] if as_json else [])]
        done = invoke("phone", "app", verb, *options, *arguments, pin=SOFTHSM_PIN)
        assert done.code == code, done.all
        return done

    @property
    def server(self) -> tuple[str, str]:
        return "--server", self.lab.server.url

    def enroll(self, *more: str, code: int = Exit.OK) -> Done:
        phone = ("--keys", parse_uri(self.token).without_pin(), "--ca", str(self.lab.server.ca))
        return self.app("enroll", *self.server, "--user", self.user, *phone, *more, code=code)

    def call(self, path: str, *more: str, code: int = Exit.OK) -> Done:
        return self.app("call", self.lab.server.url + path, *more, code=code, as_json=False)

    def keys(self) -> int:
        return len(self.lab.store.list())


def write_policy(lab: Lab, *rules: dict[str, object]) -> None:
    path = lab.server.home / "oauth" / "device-policy.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rules": list(rules)}))


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("app")) as running:
        write_policy(running, ANY)
        yield running


@pytest.fixture
def cli(lab: Lab, fidoloop_token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("FIDOLOOP_USER_PASSWORD", PASSWORD)
    user = lab.new_user()
    assert invoke("server", "user", "password", user, "--home", str(lab.server.home)).code == 0
    return Cli(lab, tmp_path / "phone", fidoloop_token, user)


def test_the_walk(cli: Cli) -> None:
    """Register, enrol, call, step up, refresh, log out: OAuth contract 8."""
    before = cli.keys()
    made = cli.enroll().json
    assert made == {"username": cli.user, "acr": "pw-enroll", "scope": "openid api", "fresh": True}
    who = strictjson.loads(cli.call("/api/whoami").out)
    assert (who["username"], who["acr"]) == (cli.user, "pw-enroll")
    logged_in = cli.app("login", *cli.server).json
    assert (logged_in["acr"], logged_in["fresh"]) == ("uaf", True)
    assert cli.app("login", *cli.server).json["fresh"] is False
    assert cli.app("login", *cli.server, "--force").json["fresh"] is True
    weak = cli.call("/api/sign-demo", "--data", '{"text":"a"}', code=Exit.REFUSED)
    assert "insufficient_user_authentication" in weak.all
    assert f"login --server {cli.lab.server.url} --acr ACR`, ACR being one of fido2-hw uaf-hw" in weak.err
    assert cli.app("refresh", *cli.server).json["acr"] == "uaf"
    assert strictjson.loads(cli.call("/api/whoami").out)["acr"] == "uaf"
    cli.app("logout", *cli.server)
    cli.call("/api/whoami", code=Exit.REFUSED)
    cli.app("logout", *cli.server, code=Exit.REFUSED)
    assert cli.app("login", *cli.server).json["fresh"] is True
    # Two keys of the app, one of UAF; the app's go with it.
    assert cli.keys() == before + 3
    cli.app("logout", *cli.server, "--unregister")
    assert cli.keys() == before + 1
    cli.app("login", *cli.server, code=Exit.REFUSED)


def test_passkeys_enrol_and_log_in(cli: Cli) -> None:
    cli.enroll("--passkey")
    assert cli.app("login", *cli.server, "--acr", "fido2").json["acr"] == "fido2"
    assert strictjson.loads(cli.call("/api/whoami").out)["acr"] == "fido2"
    refused = cli.app("login", *cli.server, "--acr", "fido2-hw", code=Exit.REFUSED)
    assert "unmet_authentication_requirements" in refused.all


def test_a_wrong_password_leaves_no_key_of_uaf_and_no_phone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cli.keys()
    monkeypatch.setenv("FIDOLOOP_USER_PASSWORD", "wrong password")
    refused = cli.enroll(code=Exit.REFUSED)
    assert "username_or_password_invalid" in refused.all
    assert "wrong password" not in refused.all
    assert not (cli.home / "phone" / "phone.sqlite").exists()
    assert cli.keys() == before


def test_a_device_that_the_policy_denies_gets_nothing(cli: Cli) -> None:
    before = cli.keys()
    cli.lab.server.stop()
    write_policy(cli.lab, {**ANY, "tiers": ["attested"]})
    cli.lab.server.start()
    try:
        refused = cli.enroll(code=Exit.REFUSED)
    finally:
        cli.lab.server.stop()
        write_policy(cli.lab, ANY)
        cli.lab.server.start()
    assert "bad_attestation" in refused.all
    assert cli.keys() == before


def test_a_card_that_proves_its_key_is_attested(
    fidoloop_card: LabCard, fidoloop_card_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIDOLOOP_USER_PASSWORD", PASSWORD)
    uri = f"{fidoloop_card.uri}?management-key=default"
    with running_lab(f"{uri}&pin-value={CARD_PIN}", tmp_path / "lab") as lab:
        anchors = lab.server.home / "oauth" / "anchors"
        anchors.mkdir()
        (anchors / "factory.pem").write_bytes(fidoloop_card_factory.certificate.public_bytes(Encoding.PEM))
        rule = {"name": "cards", "evidence_types": ["piv-attestation"], "pin_policy": ["once", "always"]}
        write_policy(lab, {**rule, "grants": GRANTS})
        lab.server.stop()
        lab.server.start()
        user = lab.new_user()
        assert invoke("server", "user", "password", user, "--home", str(lab.server.home)).code == 0
        phone = ["--home", str(tmp_path / "phone"), "--server", lab.server.url]
        made = ["--user", user, "--keys", uri, "--ca", str(lab.server.ca)]
        done = invoke("phone", "app", "enroll", *phone, *made, "--json", pin=CARD_PIN)
        assert done.code == 0, done.all
        again = invoke("phone", "app", "login", *phone, "--json", pin=CARD_PIN)
        assert again.json["acr"] == "uaf", again.all


def test_no_secret_is_said(cli: Cli) -> None:
    done = cli.enroll()
    assert PASSWORD not in done.all
    log = (cli.lab.server.home / "server.log").read_text()
    assert PASSWORD not in log


def test_an_app_enrols_in_no_other_key_store(cli: Cli, fidoloop_make_token: Callable[[], str]) -> None:
    cli.enroll()
    done = cli.enroll("--keys", fidoloop_make_token(), code=Exit.USAGE)
    assert "another key store" in done.err
