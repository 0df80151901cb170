"""The server as it is started: TLS by the lab CA, logs without secrets, operators' commands beside it."""

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.protocol import outofband
from fidoloop.server.tls import ensure_lab_tls
from tests.server.harness import JSON, REDEEM, UAF, write_metadata
from tests.server.phone import Phone, full_model
from tests.server.process import command, serving


def told(home: Path, *words: str) -> dict[str, Any]:
    done = command(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_an_enrolled_phone_logs_in_over_tls_and_nothing_secret_is_logged(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    phone = Phone(full_model())
    write_metadata(home, phone.model)
    told(home, "user", "add", "jeff")
    bearer = told(home, "apikey", "add", "test")["apiKey"]
    secrets = [bearer, bearer.partition(".")[2]]
    with serving(home, "--tls-dev", "--access-log", log=log) as (url, ca):
        assert url.startswith("https://localhost:")
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/healthz")
        context = ssl.create_default_context(cafile=ca)
        with httpx2.Client(base_url=url, verify=context) as client:
            assert client.get("/healthz").json() == {"status": "ok"}

            enrolment = told(home, "enrol", "jeff")
            payload = outofband.open_payload(outofband.decode_scanned(enrolment["link"]), None)
            assert payload.redeem_url == f"{url}/nevisfido/token/redeem/registration"
            returned = client.post(payload.redeem_url, json={"token": payload.token}, headers=REDEEM).json()
            request = json.loads(returned["uafRequest"])[0]
            secrets += [payload.token, request["challenge"], request["header"]["serverData"]]
            body = {
                "uafResponse": json.dumps([phone.register(request)]),
                "context": json.dumps({"dispatchTarget": phone.target()}),
            }
            assert client.post("/nevisfido/uaf/1.1/registration", json=body, headers=UAF).json()["statusCode"] == 1200

            api = {"authorization": f"Bearer {bearer}"}
            wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": "png-qr-code"}
            dispatched = client.post("/nevisfido/token/dispatch/authentication", json=wanted, headers=JSON | api).json()
            secrets.append(dispatched["token"])
            answer = client.post(
                "/nevisfido/token/redeem/authentication", json={"token": dispatched["token"]}, headers=REDEEM
            ).json()
            request = json.loads(answer["uafRequest"])[0]
            secrets += [request["challenge"], request["header"]["serverData"]]
            body = {"uafResponse": json.dumps([phone.authenticate(request)])}
            for code in (1200, 1491):
                answer = client.post("/nevisfido/uaf/1.1/authentication", json=body, headers=UAF).json()
                assert answer["statusCode"] == code
            client.post("/nevisfido/status", content=b"{", headers=JSON)

            (entry, *_) = told(home, "audit", "--user", "jeff")["entries"]
            assert (entry["event"], entry["outcome"], entry["username"]) == ("authentication", 1200, "jeff")
            assert (entry["keyId"], entry["address"]) == (phone.keys[0].text, "127.0.0.1")
    lines = log.read_text()
    assert "/nevisfido/uaf/1.1/authentication" in lines
    assert not [secret for secret in secrets if secret in lines]


def test_plain_http_is_for_loopback_only(tmp_path: Path) -> None:
    done = command(tmp_path, "run", "--insecure", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - refused
    assert done.returncode == 2
    assert "loopback" in done.stderr
    with serving(tmp_path, "--insecure") as (url, ca):
        assert ca is None
        assert httpx2.get(f"{url}/healthz").status_code == 200


def test_operators_commands_and_their_exit_codes(tmp_path: Path) -> None:
    told(tmp_path, "user", "add", "jeff")
    assert command(tmp_path, "user", "add", "jeff").returncode == 1
    assert command(tmp_path, "user", "disable", "nobody").returncode == 1
    assert told(tmp_path, "user", "list")["users"][0]["disabled"] is False
    key = told(tmp_path, "apikey", "add", "web")
    listed = told(tmp_path, "apikey", "list")["apiKeys"]
    assert [(entry["id"], entry["name"], entry["revoked"]) for entry in listed] == [(key["id"], "web", None)]
    told(tmp_path, "apikey", "revoke", key["id"])
    assert command(tmp_path, "apikey", "revoke", key["id"]).returncode == 1
    # No URL is known before the server ran.
    assert command(tmp_path, "enrol", "jeff").returncode == 2
    qr = tmp_path / "qr.png"
    enrolment = told(tmp_path, "enrol", "jeff", "--base-url", "https://fido.example", "--qr", str(qr))
    assert enrolment["qr"] == str(qr)
    assert qr.read_bytes().startswith(b"\x89PNG")
    assert command(tmp_path, "enrol", "nobody", "--base-url", "https://fido.example").returncode == 1
    (tmp_path / "fidoloop.toml").write_text("[server]\nbase_uri = 'https://fido.example'\n")
    assert command(tmp_path, "user", "list").returncode == 2


def test_metadata_is_checked_before_it_is_taken(tmp_path: Path) -> None:
    model = full_model()
    source = tmp_path / "statement.json"
    source.write_text(json.dumps(model.metadata()))
    assert told(tmp_path / "home", "metadata", "add", str(source))["aaids"] == [model.aaid]
    assert (tmp_path / "home" / "metadata" / "F1D0-0001.json").exists()
    source.write_text("{}")
    assert command(tmp_path / "home", "metadata", "add", str(source)).returncode == 2


def test_lab_tls_is_kept_until_it_runs_out(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 1, 1, tzinfo=UTC)
    first = ensure_lab_tls(tmp_path / "tls", at=now)
    held = [path.read_bytes() for path in (first.ca, first.certificate, first.key)]
    for key in (first.key, tmp_path / "tls" / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    ensure_lab_tls(tmp_path / "tls", at=now + timedelta(days=59))
    assert [path.read_bytes() for path in (first.ca, first.certificate, first.key)] == held
    ensure_lab_tls(tmp_path / "tls", at=now + timedelta(days=61))
    assert first.ca.read_bytes() == held[0]
    assert first.certificate.read_bytes() != held[1]
    renewed = first.certificate.read_bytes()
    ensure_lab_tls(tmp_path / "tls", at=now + timedelta(days=61), hosts=("fido.example",))
    assert first.certificate.read_bytes() != renewed
