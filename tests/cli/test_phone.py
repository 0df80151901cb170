"""`fidoloop phone` as a user or a script meets it."""

import json
import os
import pty
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fidoloop.bridge.errors import ClientFailureError, NetworkError
from fidoloop.bridge.profile import Account, Profile
from fidoloop.cli.exits import Exit, exit_for
from fidoloop.hsm.uri import parse_uri
from fidoloop.protocol import base64url, outofband, qr, strictjson
from fidoloop.protocol.uaf.status import AsmStatus, ClientError
from tests.bridge.stub import Reply, stub
from tests.cli.command import COMMAND, Done, environment, invoke, run
from tests.lab import SOFTHSM_PIN, Lab


@dataclass
class Cli:
    """`fidoloop phone` with a home of its own, and everything it ever printed."""

    lab: Lab
    home: Path
    keys: str
    said: list[Done]

    def phone(self, *arguments: str, pin: str | None = SOFTHSM_PIN, code: int = Exit.OK) -> Done:
        done = invoke("phone", *arguments, "--home", str(self.home), pin=pin)
        assert done.code == code, done.all
        self.said.append(done)
        return done

    def register(self, source: str, *more: str, code: int = Exit.OK) -> Done:
        options = ("--keys", self.keys, "--ca", str(self.lab.server.ca), "--server", self.lab.server.url, "--yes")
        return self.phone("register", source, *options, *more, code=code)

    def enrolled(self, *more: str) -> str:
        """Enrol for a new user and return the name."""
        username = self.lab.new_user()
        self.register(self.lab.server.enrol(username), "--target-name", f"{username}'s phone", *more)
        return username

    def dispatched(self, username: str, *, transaction: str | None = None) -> str:
        (target,) = self.lab.laptop.targets(username)
        return self.lab.laptop.dispatch(
            username=username, target_id=target.id, dispatcher="link", transaction=transaction
        ).response


@pytest.fixture
def cli(fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path) -> Cli:
    return Cli(fidoloop_lab, tmp_path / "home", parse_uri(fidoloop_token).without_pin(), [])


def token_in(text: str) -> str:
    """The token of a plain payload."""
    return outofband.open_payload(outofband.decode_scanned(text), None).token


@pytest.mark.parametrize("form", ["code", "link", "qr", "link qr"])
def test_a_phone_enrols_by_code_link_or_picture(cli: Cli, form: str, tmp_path: Path) -> None:
    username = cli.lab.new_user()
    text = cli.lab.server.enrol(username)
    if "link" in form:
        text = f"fidoloop://enrol?{outofband.LINK_PARAMETER}={text}"
    source = text
    if "qr" in form:
        source = str(tmp_path / "enrol.png")
        Path(source).write_bytes(qr.png(text))
    value = cli.register(source, "--json").json
    assert (value["operation"], value["username"], value["statusCode"]) == ("registration", username, 1200)
    assert len(value["keys"]) == 1


def test_the_life_of_a_phone(cli: Cli) -> None:
    username = cli.enrolled()
    listed = cli.phone("list", "--json").json
    (account,), (registration,) = listed["accounts"], listed["registrations"]
    assert (account["server"], account["username"]) == (cli.lab.server.url, username)
    assert account["dispatchTargetName"] == f"{username}'s phone"
    assert registration["username"] == username
    key = {"aaid": registration["aaid"], "keyID": registration["keyID"]}
    assert len(base64url.decode(key["keyID"])) == 32

    for done in (
        cli.phone("login", "--json"),
        cli.phone("scan", cli.dispatched(username), "--yes", "--json"),
        cli.phone("confirm", cli.dispatched(username, transaction="Pay 5 CHF"), "--yes", "--json"),
    ):
        assert (done.json["operation"], done.json["statusCode"], done.json["keys"]) == ("authentication", 1200, [key])
    assert "you confirm: Pay 5 CHF" in cli.said[-1].err

    shown = cli.phone("list").out
    row = next(line for line in shown.splitlines() if key["keyID"] in line)
    assert username in row
    assert cli.lab.server.url in row

    gone = cli.phone("deregister", "--user", username, "--yes", "--json").json
    assert gone == {"deleted": [key]}
    assert cli.lab.laptop.targets(username) == ()
    assert cli.phone("list").out.strip() == "no registrations"
    left = cli.phone("list", "--json").json
    assert left == {"accounts": [], "registrations": [], "adopted": [], "onCards": []}


@pytest.mark.parametrize("base", ["fidoloop://authenticate", "https://login.example/link", "https://a.example/?x=1"])
def test_a_link_is_opened_whatever_it_begins_with(cli: Cli, base: str) -> None:
    username = cli.enrolled()
    payload = strictjson.encode(outofband.decode_scanned(cli.dispatched(username)))
    done = cli.phone("open", outofband.link(base, payload), "--yes", "--json").json
    assert (done["username"], done["statusCode"]) == (username, 1200)
    cli.phone("open", outofband.link(base, payload), "--yes", code=Exit.REFUSED)
    cli.phone("open", payload, "--yes", code=Exit.USAGE)
    cli.phone("open", base, "--yes", code=Exit.REFUSED)


def test_a_dispatched_deregistration_deletes_what_it_names(cli: Cli) -> None:
    username = cli.enrolled()
    (target,) = cli.lab.laptop.targets(username)
    sent = cli.lab.laptop.dispatch(
        operation="Dereg", username=username, target_id=target.id, context={"mode": "username"}, dispatcher="link"
    )
    cli.phone("confirm", sent.response, "--yes", code=Exit.REFUSED)
    assert "1 key(s) deleted" in cli.phone("deregister", sent.response, "--yes").out
    assert cli.phone("list", "--json").json["registrations"] == []
    cli.phone("login", code=Exit.REFUSED)


def test_the_algorithm_of_a_new_key_can_be_chosen(cli: Cli) -> None:
    cli.enrolled("--algorithm", "ed25519_eddsa_sha512_raw")
    (registration,) = cli.phone("list", "--json").json["registrations"]
    assert registration["aaid"] == "F10B#2121"
    unknown = cli.phone("register", "eyJ9", "--keys", cli.keys, "--algorithm", "rot13", code=Exit.USAGE)
    assert "secp256r1_ecdsa_sha256_raw" in unknown.err


def test_a_phone_of_another_form_is_of_other_models(cli: Cli, tmp_path: Path) -> None:
    written = invoke(
        "keys", "metadata", cli.keys, "--form", "second-factor", "--out", str(tmp_path / "md"), pin=SOFTHSM_PIN
    )
    assert written.code == Exit.OK, written.all
    assert {path.stem[-1] for path in (tmp_path / "md").iterdir()} == {"5"}
    for command in (("phone", "register", "eyJ9"), ("keys", "metadata", cli.keys), ("keys", "attest-init", cli.keys)):
        keys = ("--keys", cli.keys, "--home", str(cli.home)) if command[0] == "phone" else ()
        refused = invoke(*command, *keys, "--form", "image-display", "--uv", "auto", pin=SOFTHSM_PIN)
        assert refused.code == Exit.USAGE
        assert "nobody looks" in refused.err


def test_a_phone_that_asks_nobody_is_another_model(cli: Cli) -> None:
    cli.enrolled("--uv", "auto")
    (registration,) = cli.phone("list", "--json").json["registrations"]
    assert registration["aaid"].endswith("3")


@pytest.mark.parametrize(
    "arguments",
    [
        ("register", "eyJ9", "--yes"),
        ("register", "eyJ9", "--keys", "pkcs11:tokn=x"),
        ("register", "eyJ9", "--keys", "pkcs11:token=x", "--uv", "hope"),
        ("register", "eyJ9", "--keys", "pkcs11:token=x", "--ca", "/absent.pem"),
        ("register",),
        ("login", "--name", "../../etc/passwd"),
        ("login", "--name", "nobody"),
        ("list", "--name", "nobody"),
        ("scan", "eyJ9", "--name", "nobody"),
        ("deregister",),
        ("deregister", "eyJ9", "--user", "alice"),
        ("dance",),
    ],
    ids=range(12),
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    if arguments[0] == "dance":
        assert invoke("phone", *arguments).code == Exit.USAGE
        return
    done = cli.phone(*arguments, code=Exit.USAGE)
    assert done.out == ""
    assert not list(cli.home.rglob("*.sqlite*"))


def test_accounts_are_told_apart_by_their_server(cli: Cli) -> None:
    username = cli.enrolled()
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    profile.save_account(Account("https://other.example", username, "https://other.example/facets"))
    profile.close()
    ambiguous = cli.phone("deregister", "--user", username, "--yes", code=Exit.USAGE)
    assert "https://other.example" in ambiguous.err
    cli.phone("deregister", "--user", "nobody", "--yes", code=Exit.USAGE)
    cli.phone("login", code=Exit.REFUSED)
    cli.phone("login", "--server", cli.lab.server.url)
    cli.phone("deregister", "--user", username, "--server", "https://other.example/", "--yes")
    assert [account["server"] for account in cli.phone("list", "--json").json["accounts"]] == [cli.lab.server.url]
    assert len(cli.phone("list", "--json").json["registrations"]) == 1


def test_a_card_that_is_gone_is_told_before_anybody_is_asked_to_delete(cli: Cli) -> None:
    username = cli.enrolled()
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    profile.save_keys(cli.lab.server.url, username, [("F10B#08FF", "AAAA")])
    profile.close()
    done = cli.phone("deregister", "--user", username, code=Exit.DEVICE)
    assert "Delete all keys" not in done.all
    assert "the card F10B#08FF" in done.err
    assert len(cli.phone("list", "--json").json["registrations"]) == 1


def test_a_phone_without_a_uaf_card_gets_none_later(cli: Cli) -> None:
    cli.enrolled()
    code = cli.lab.server.enrol(cli.lab.new_user())
    done = cli.phone("register", code, "--uaf-card", "Bogus", "--yes", code=Exit.USAGE)
    assert "no UAF card" in done.err
    assert len(cli.phone("list", "--json").json["accounts"]) == 1


def test_an_enrolled_phone_keeps_its_key_store(cli: Cli, fidoloop_make_token: Callable[[], str]) -> None:
    cli.enrolled()
    code = cli.lab.server.enrol(cli.lab.new_user())
    done = cli.phone("register", code, "--keys", fidoloop_make_token(), "--yes", code=Exit.USAGE)
    assert "another key store" in done.err
    cli.phone("register", code, "--keys", f"{cli.keys}&pin-value={SOFTHSM_PIN}", "--yes", pin=SOFTHSM_PIN)
    assert len(cli.phone("list", "--json").json["accounts"]) == 2


def test_a_first_enrolment_that_fails_can_be_tried_again_with_better_options(cli: Cli) -> None:
    """Each failure is another exit code, and none leaves half a phone: the next attempt names everything anew."""
    username = cli.lab.new_user()
    code, ca = cli.lab.server.enrol(username), str(cli.lab.server.ca)
    before = {info.key_id for info in cli.lab.store.list()}
    absent = "pkcs11:token=nobody?" + cli.keys.partition("?")[2]
    for keys, more, exit_code in (
        (absent, ("--ca", ca), Exit.DEVICE),
        (cli.keys, (), Exit.NETWORK),
        (cli.keys, ("--ca", ca, "--server", "https://other.example"), Exit.REFUSED),
    ):
        cli.phone("register", code, "--keys", keys, "--yes", *more, code=exit_code)
        assert not list(cli.home.rglob("*.sqlite*"))
        assert cli.phone("list", code=Exit.USAGE).out == ""
    cli.phone("register", code, "--keys", cli.keys, "--ca", ca, code=Exit.USER)  # nobody there to confirm
    assert not list(cli.home.rglob("*.sqlite*"))
    assert {info.key_id for info in cli.lab.store.list()} == before
    cli.register(code)
    assert cli.phone("list", "--json").json["accounts"][0]["username"] == username


def test_a_later_enrolment_that_fails_leaves_the_phone_alone(cli: Cli) -> None:
    username = cli.enrolled()
    cli.phone("register", cli.lab.server.enrol(cli.lab.new_user()), "--yes", "--deny", code=Exit.USER)
    assert [account["username"] for account in cli.phone("list", "--json").json["accounts"]] == [username]


def test_refusals(cli: Cli) -> None:
    username = cli.enrolled()
    text = cli.dispatched(username)
    cli.phone("scan", text, "--yes")
    assert "redeemed already" in cli.phone("scan", text, "--yes", code=Exit.REFUSED).err
    assert "no image file" in cli.phone("scan", "absent.png", "--yes", code=Exit.REFUSED).err
    cli.phone("scan", "hello", "--yes", code=Exit.REFUSED)
    cli.phone("scan", cli.lab.server.enrol(username), "--yes", code=Exit.REFUSED)
    done = run("phone", "scan", "hello", "--json", "--home", str(cli.home), pin=SOFTHSM_PIN)
    assert (done.code, done.json["error"]) == (Exit.REFUSED, "malformed_payload")


def test_the_device(cli: Cli) -> None:
    cli.enrolled()
    cli.phone("login", pin=None, code=Exit.DEVICE)
    cli.phone("login", pin="999999", code=Exit.DEVICE)
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    profile._db.execute("UPDATE phone SET keys_uri = replace(keys_uri, 'token=', 'token=gone-')")
    profile.close()
    cli.phone("login", code=Exit.DEVICE)


def test_a_key_that_left_the_token_is_a_device_error(cli: Cli) -> None:
    cli.enrolled()
    (registration,) = cli.phone("list", "--json").json["registrations"]
    cli.lab.store.delete(base64url.decode(registration["keyID"]))
    done = cli.phone("login", code=Exit.DEVICE)
    assert "KEY_DISAPPEARED_PERMANENTLY" in done.err


def test_the_network(cli: Cli) -> None:
    with stub(lambda _: Reply()) as down:
        pass
    payload = {"token": "t", "redeem_url": f"{down.url}/nevisfido/token/redeem/registration"}
    text = outofband.qr_text(outofband.encode_payload(payload, None))
    options = ("--keys", cli.keys, "--yes", "--insecure")
    assert "127.0.0.1" in cli.phone("register", text, *options, code=Exit.NETWORK).err
    assert "https URL" in cli.phone("register", text, *options[:-1], code=Exit.NETWORK).err
    code = cli.lab.server.enrol(cli.lab.new_user())
    assert "CERTIFICATE" in cli.phone("register", code, *options, code=Exit.NETWORK).err


def test_the_user_says_no_or_is_not_there(cli: Cli, tmp_path: Path) -> None:
    pin_file = tmp_path / "pin"
    pin_file.write_text(SOFTHSM_PIN)
    cli.keys += f"&pin-source={pin_file}"
    username = cli.enrolled()
    laptop = cli.lab.laptop

    def after(*arguments: str, pin: str | None = SOFTHSM_PIN) -> tuple[str, int]:
        sent = laptop.dispatch(username=username, dispatcher="link")
        cli.phone("scan", sent.response, *arguments, pin=pin, code=Exit.USER)
        final = laptop.status(sent.session_id)
        return final.status, final.clientErrorCode or 0

    assert after("--yes", "--deny") == ("failed", ClientError.USER_CANCELLED)
    # The token opens by the PIN file; the user, who should type it, is not there.
    assert after("--yes", pin=None) == ("failed", ClientError.USER_NOT_RESPONSIVE)
    # Nobody can be asked whether to follow the token: it stays as it was, for when somebody is there.
    assert after() == ("tokenCreated", 0)
    cli.phone("login", "--deny", code=Exit.USER)
    cli.phone("deregister", "--user", username, code=Exit.USER)
    assert len(cli.phone("list", "--json").json["registrations"]) == 1


@pytest.mark.parametrize(
    ("typed", "code", "status"),
    [("y\n", Exit.OK, "succeeded"), ("n\n", Exit.USER, "failed"), ("\x04", Exit.USER, "failed")],
    ids=["yes", "no", "ctrl-d"],
)
def test_the_user_at_the_terminal_decides(cli: Cli, typed: str, code: int, status: str) -> None:
    username = cli.enrolled()
    (target,) = cli.lab.laptop.targets(username)
    sent = cli.lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    leader, follower = pty.openpty()
    command = [*COMMAND, "phone", "scan", sent.response, "--home", str(cli.home)]
    env = environment(FIDOLOOP_PIN=SOFTHSM_PIN)
    with subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, env=env, start_new_session=True
    ) as process:
        os.close(follower)
        seen = b""
        while b"Go on?" not in seen:
            seen += os.read(leader, 4096)
        os.write(leader, typed.encode())
        process.communicate(timeout=60)
        assert process.returncode == code
    os.close(leader)
    shown = seen.decode()
    assert f"account: {username}" in shown
    assert "asked for by:" in shown
    assert cli.lab.laptop.status(sent.session_id).status == status


def test_a_number_is_asked_for_at_the_terminal_until_it_is_right(cli: Cli) -> None:
    username = cli.enrolled()
    information = {"channelLinking": {"mode": "number"}}
    sent = cli.lab.laptop.dispatch(username=username, dispatcher="link", information=information)
    assert sent.linking is not None
    number = sent.linking.content
    answers = {
        b"Go on?": "y",
        b"(2 digits)?": "1",
        b"(2 digits)?:": f"{(int(number) + 1) % 100:02}",
        b"2 tries": number,
    }
    leader, follower = pty.openpty()
    command = [*COMMAND, "phone", "scan", sent.response, "--home", str(cli.home)]
    with subprocess.Popen(
        command,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment(FIDOLOOP_PIN=SOFTHSM_PIN),
        start_new_session=True,
    ) as process:
        os.close(follower)
        for question, typed in answers.items():
            seen = b""
            while question not in seen:
                seen += os.read(leader, 4096)
            os.write(leader, f"{typed}\n".encode())
        process.communicate(timeout=60)
        assert process.returncode == Exit.OK
    os.close(leader)
    assert cli.lab.laptop.status(sent.session_id).status == "succeeded"


def test_no_secret_is_printed_and_no_colour_in_a_pipe(cli: Cli) -> None:
    username = cli.lab.new_user()
    code = cli.lab.server.enrol(username)
    cli.keys += f"&pin-value={SOFTHSM_PIN}"
    cli.register(code)
    plain = cli.lab.laptop.dispatch(username=username, dispatcher="link").response
    cli.phone("scan", plain, "--yes")
    cli.phone("scan", plain, "--yes", code=Exit.REFUSED)
    cli.phone("scan", cli.dispatched(username), "--yes", "--deny", code=Exit.USER)
    cli.phone("list")
    cli.said.append(run("phone", "list", "--home", str(cli.home), pin=SOFTHSM_PIN))
    cli.said.append(run("phone", "login", "--home", str(cli.home), pin=SOFTHSM_PIN))
    assert [done.code for done in cli.said[-2:]] == [0, 0]
    for done in cli.said:
        for secret in (SOFTHSM_PIN, token_in(code), token_in(plain), cli.lab.api_key, code):
            assert secret not in done.all
        assert "\x1b" not in done.all
    state = (cli.home / "phone" / "phone.sqlite").read_bytes()
    assert SOFTHSM_PIN.encode() not in state


def test_what_a_server_says_cannot_drive_the_terminal(tmp_path: Path, cli: Cli) -> None:
    """A name chosen by the server, shown in one line with its control characters spelled out."""
    cli.enrolled()
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    profile._db.execute("UPDATE account SET base_url = 'https://x', username = ?", ("\x1b[2J\nall is well",))
    profile.close()
    done = cli.phone("deregister", "--user", "\x1b[2J\nall is well", "--yes", code=Exit.NETWORK)
    assert "\x1b" not in done.out
    payload = {"nma_data": {"token": "t"}, "nma_data_content_type": "application/\x1b[2J", "nma_data_version": "1"}
    assert "\x1b" not in run("phone", "scan", json.dumps(payload), "--home", str(cli.home), pin=SOFTHSM_PIN).err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientFailureError(ClientError.USER_CANCELLED, "x"), Exit.USER),
        (ClientFailureError(ClientError.USER_NOT_RESPONSIVE, "x"), Exit.USER),
        (ClientFailureError(ClientError.USER_LOCKOUT, "x"), Exit.DEVICE),
        (ClientFailureError(ClientError.UNTRUSTED_FACET_ID, "x"), Exit.REFUSED),
        (ClientFailureError(ClientError.NO_SUITABLE_AUTHENTICATOR, "x"), Exit.REFUSED),
        (
            ClientFailureError(
                ClientError.NO_SUITABLE_AUTHENTICATOR, "x", asm_status=AsmStatus.AUTHENTICATOR_DISCONNECTED
            ),
            Exit.DEVICE,
        ),
        (NetworkError("x"), Exit.NETWORK),
    ],
    ids=range(7),
)
def test_exit_codes_of_the_clients_failures(error: Exception, code: Exit) -> None:
    assert exit_for(error) is code
