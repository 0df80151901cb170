"""`fidoloop laptop login`: a process that shows a code and waits, while a phone reads it."""

import base64
import json
import os
from pathlib import Path

import pytest

from fidoloop.bridge.phone import Phone
from fidoloop.bridge.scan import scan_image
from fidoloop.cli.exits import Exit
from fidoloop.protocol import jose, outofband, qr
from tests.bridge.stub import Asked, Reply, stub
from tests.cli.command import Done, invoke, line_with, run, running
from tests.lab import SOFTHSM_PIN, Lab


def options(lab: Lab) -> tuple[str, ...]:
    return ("laptop", "login", "--server", lab.server.url, "--ca", str(lab.server.ca))


def login(lab: Lab, *more: str, code: int = Exit.OK, api_key: str | None = None) -> Done:
    done = invoke(*options(lab), *more, api_key=api_key or lab.api_key)
    assert done.code == code, done.all
    assert lab.api_key not in done.all
    assert "\x1b" not in done.all
    return done


def test_a_phone_scans_the_picture_and_the_laptop_is_logged_in(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], tmp_path: Path
) -> None:
    phone, username = enrolled_phone
    picture, key = tmp_path / "login.png", tmp_path / "key"
    key.write_text(fidoloop_lab.api_key + "\n")
    asked = ("--user", username, "--qr", str(picture), "--api-key-source", str(key))
    with running(*options(fidoloop_lab), *asked) as laptop:
        assert line_with(laptop, "QR code: ") == str(picture)
        text = scan_image(picture)
        payload = outofband.decode_scanned(text)
        assert isinstance(payload.nma_data, str), "with a target, the token is encrypted"
        assert jose.key_id(payload.nma_data) == phone.accounts()[0].encryption_thumbprint
        result = phone.scan(text)
        out, err = laptop.communicate(timeout=60)
    (_, key_id) = result.keys[0]
    assert laptop.returncode == Exit.OK, err
    assert out.strip() == f"logged in: {username} by {result.keys[0][0]} {key_id[:12]}…"
    assert "status: succeeded" in err
    assert [path.name for path in tmp_path.iterdir() if path not in (picture, key)] == []
    for shown in (out, err):
        assert fidoloop_lab.api_key not in shown
        assert "\x1b" not in shown


def test_without_a_user_the_phone_decides_and_json_says_who(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    """The link is one line of standard error, however long: a script takes it from there."""
    phone, username = enrolled_phone
    with running(
        *options(fidoloop_lab), "--dispatcher", "link", "--json", FIDOLOOP_API_KEY=fidoloop_lab.api_key
    ) as laptop:
        link = "fidoloop:" + line_with(laptop, "fidoloop:")
        phone.scan(link)
        out, _ = laptop.communicate(timeout=60)
    final = json.loads(out)
    assert laptop.returncode == Exit.OK
    assert (final["status"], final["userId"]) == ("succeeded", username)
    assert outofband.open_payload(outofband.decode_scanned(link), None).token not in out


def test_a_users_no_is_told_to_the_laptop(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    profile = phone._profile
    phone.close()
    declining = fidoloop_lab.phone(profile=profile, confirm=lambda _: False)
    asked = ("--user", username, "--dispatcher", "link")
    with running(*options(fidoloop_lab), *asked, FIDOLOOP_API_KEY=fidoloop_lab.api_key) as laptop:
        link = "fidoloop:" + line_with(laptop, "fidoloop:")
        with pytest.raises(Exception, match="declined"):
            declining.scan(link)
        out, _ = laptop.communicate(timeout=60)
    assert laptop.returncode == Exit.USER
    assert "USER_CANCELLED" in out


@pytest.mark.parametrize(("right", "code"), [(True, Exit.OK), (False, Exit.USER)])
def test_a_number_is_shown_here_and_typed_on_the_phone(
    fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path, right: bool, code: Exit
) -> None:
    username = fidoloop_lab.new_user()
    at_home = ("--home", str(tmp_path), "--yes")
    trust = ("--keys", fidoloop_token, "--ca", str(fidoloop_lab.server.ca))
    enrolment = fidoloop_lab.server.enrol(username)
    assert invoke("phone", "register", enrolment, *trust, *at_home, pin=SOFTHSM_PIN).code == Exit.OK
    asked = ("--user", username, "--dispatcher", "link", "--number")
    with running(*options(fidoloop_lab), *asked, FIDOLOOP_API_KEY=fidoloop_lab.api_key) as laptop:
        number = line_with(laptop, "number to type on the phone: ")
        link = "fidoloop:" + line_with(laptop, "fidoloop:")
        typed = number if right else f"{(int(number) + 1) % 100:02}"
        scanned = invoke("phone", "scan", link, "--number", typed, *at_home, pin=SOFTHSM_PIN)
        out, _ = laptop.communicate(timeout=60)
    assert (scanned.code, laptop.returncode) == (code, code), scanned.all
    assert ("answered wrongly" in scanned.err) is not right
    assert out.startswith(f"logged in: {username}" if right else "failed")


def session(final: dict[str, object]) -> Reply:
    """A server whose dispatch is this session, ended."""
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(final).encode())


@pytest.mark.parametrize(
    ("final", "code", "said"),
    [
        ({"status": "succeeded", "userId": "alice"}, Exit.OK, "logged in: alice"),
        ({"status": "succeeded"}, Exit.OK, "unknown user"),
        ({"status": "failed"}, Exit.REFUSED, "failed"),
        ({"status": "failed", "uafStatusCode": 1498}, Exit.REFUSED, "failed (status 1498)"),
        ({"status": "failed", "uafStatusCode": 1408}, Exit.REFUSED, "1408"),
        ({"status": "failed", "clientErrorCode": 3}, Exit.USER, "USER_CANCELLED"),
        ({"status": "failed", "clientErrorCode": 14}, Exit.USER, "USER_NOT_RESPONSIVE"),
        ({"status": "failed", "clientErrorCode": 9}, Exit.REFUSED, "KEY_DISAPPEARED"),
        ({"status": "failed", "clientErrorCode": 4711}, Exit.REFUSED, "failed"),
        ({"status": "unknown"}, Exit.REFUSED, "unknown"),
        ({"status": "succeeded", "userId": "\x1b[2J[red]x"}, Exit.OK, "\\x1b[2J[red]x"),
    ],
    ids=range(11),
)
def test_how_a_session_ends(final: dict[str, object], code: Exit, said: str) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/status"):
            return session({"timestamp": "2026-01-01T00:00:00.000Z", **final})
        sent = {"name": "link", "response": "fidoloop://x"}
        return session({"dispatchResult": "dispatched", "sessionId": "s", "dispatcherInformation": sent})

    with stub(answer) as web:
        base = ("laptop", "login", "--server", web.url, "--insecure", "--dispatcher", "link")
        done, as_json = invoke(*base, api_key="key"), invoke(*base, "--json", api_key="key")
    assert (done.code, as_json.code) == (code, code)
    assert said in done.out
    assert as_json.json["status"] == final["status"]


@pytest.mark.parametrize(
    ("own", "asked", "dispatchers"),
    [
        (None, (), ["png-qr-code"]),
        ("link", (), ["png-qr-code"]),
        ("web-push", (), ["web-push", "png-qr-code"]),
        ("web-push", ("--dispatcher", "link"), ["link"]),
        (None, ("--dispatcher", "link", "--dispatcher", "png-qr-code"), ["link", "png-qr-code"]),
    ],
)
def test_a_push_is_backed_up_by_a_code_of_the_same_session(
    own: str | None, asked: tuple[str, ...], dispatchers: list[str]
) -> None:
    png = base64.b64encode(qr.png("fidoloop://x")).decode()
    seen: list[tuple[str, str | None]] = []

    def answer(asked: Asked) -> Reply:
        if "/targets" in asked.path:
            return session({"dispatchTargets": [{"name": "n", "id": "t", **({"dispatcher": own} if own else {})}]})
        body = json.loads(asked.body)
        if asked.path.endswith("/status"):
            assert body == {"sessionId": "s"}
            return session({"timestamp": "2026-01-01T00:00:00.000Z", "status": "succeeded"})
        assert body["dispatchTargetId"] == "t"
        seen.append((body["dispatcher"], body.get("sessionId")))
        sent = {"name": body["dispatcher"], "response": png if "qr" in body["dispatcher"] else "sent"}
        return session({"dispatchResult": "dispatched", "sessionId": "s", "dispatcherInformation": sent})

    with stub(answer) as web:
        base = ("laptop", "login", "--server", web.url, "--insecure", "--user", "alice")
        done = invoke(*base, *asked, api_key="key")
    assert done.code == Exit.OK, done.all
    assert seen == [(name, "s" if number else None) for number, name in enumerate(dispatchers)]
    assert ("web-push: sent" in done.err) is ("web-push" in dispatchers)


def test_time_runs_out(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    _, username = enrolled_phone
    done = login(fidoloop_lab, "--user", username, "--timeout", "0", code=Exit.USER)
    assert "no answer in time" in done.out
    as_json = login(fidoloop_lab, "--user", username, "--timeout", "0", "--json", code=Exit.USER)
    assert as_json.json["status"] == "tokenCreated"


def test_a_picture_nobody_asked_for_goes_with_the_login(
    fidoloop_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = login(fidoloop_lab, "--timeout", "0", code=Exit.USER)
    (picture,) = (line.removeprefix("QR code: ") for line in done.err.splitlines() if line.startswith("QR code: "))
    assert Path(picture).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_replaced_whole(fidoloop_lab: Lab, tmp_path: Path) -> None:
    picture = tmp_path / "login.png"
    picture.write_bytes(b"an older one")
    login(fidoloop_lab, "--timeout", "0", "--qr", str(picture), code=Exit.USER)
    assert outofband.decode_scanned(scan_image(picture))
    assert os.listdir(tmp_path) == ["login.png"]
    done = login(fidoloop_lab, "--qr", str(tmp_path / "absent" / "login.png"), code=Exit.USAGE)
    assert "cannot be written" in done.err


def test_refusals(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    _, username = enrolled_phone
    assert "401" in login(fidoloop_lab, code=Exit.REFUSED, api_key="not-the-key").err
    assert "403" in login(fidoloop_lab, "--user", "nobody", code=Exit.REFUSED).err
    assert "no dispatch target" in login(fidoloop_lab, "--user", username, "--target", "x", code=Exit.REFUSED).err
    assert "dispatchResult" in login(fidoloop_lab, "--dispatcher", "pigeon", code=Exit.REFUSED).err
    without = invoke(*options(fidoloop_lab))
    assert (without.code, "API credential" in without.err) == (Exit.REFUSED, True)


def test_one_of_several_targets_is_named(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    _, username = enrolled_phone
    fidoloop_lab.phone().register(fidoloop_lab.server.enrol(username), target_name="second")
    done = login(fidoloop_lab, "--user", username, code=Exit.USAGE)
    assert "second" in done.err
    named = login(fidoloop_lab, "--user", username, "--target", "second", "--timeout", "0", code=Exit.USER)
    assert "no answer in time" in named.out


def test_wrong_usage(fidoloop_lab: Lab) -> None:
    for arguments in (
        ("laptop", "login"),
        ("laptop", "login", "--server", "x", "--ca", "/absent.pem"),
        ("laptop", "login", "--server", "x", "--timeout", "soon"),
        ("laptop", "logout"),
    ):
        assert invoke(*arguments).code == Exit.USAGE


def test_the_network(fidoloop_lab: Lab) -> None:
    with stub(lambda _: Reply()) as down:
        pass
    for arguments in (
        ("--server", down.url, "--insecure"),
        ("--server", down.url),
        ("--server", fidoloop_lab.server.url),
        ("--server", "ftp://localhost"),
    ):
        done = run("laptop", "login", "--json", *arguments, api_key="key")
        assert (done.code, done.json["error"]) == (Exit.NETWORK, "network"), done.all
