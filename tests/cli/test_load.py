"""`fidoloop load`: its report, its exit code, what it leaves behind."""

import json
import signal
from pathlib import Path

from fidoloop.bridge.load.keys import KEY_LABEL
from fidoloop.cli.exits import Exit
from tests.lab import Lab

from .command import invoke, line_with, run, running


def options(lab: Lab, prefix: str, accounts: int = 2) -> tuple[str, ...]:
    lab.server.add_user(*(f"{prefix}{number}" for number in range(accounts)))
    at_server = ("load", "--server", lab.server.url, "--ca", str(lab.server.ca))
    return (*at_server, "--user-prefix", prefix, "--accounts", str(accounts))


def of(lab: Lab, prefix: str, event: str) -> list[str]:
    """Users of an event in the audit trail."""
    return [user for seen, user in lab.server.audit() if seen == event and user.startswith(prefix)]


def test_without_a_server_it_runs_one_and_every_request_may_come_twice() -> None:
    done = run("load", "--accounts", "2", "--count", "6", "--log-in", "out-of-band", "--twice", "race", "--json")
    assert done.code == Exit.OK, done.all
    assert (done.json["succeeded"], done.json["failed"], done.json["connections"]) == (6, 0, 2)
    assert done.json["twice"]["acceptedTwice"] == 0
    assert len(done.json["clientCpu"]) == 1
    assert done.json["latency"]["p50"] <= done.json["latency"]["p99"] <= done.json["latency"]["max"]


def test_phones_with_keys_in_a_token_leave_nothing_behind(fidoloop_lab: Lab, fidoloop_token: str) -> None:
    asked = (*options(fidoloop_lab, "in-token-"), "--keys", fidoloop_token, "--count", "5", "--deregister")
    done = run(*asked, api_key=fidoloop_lab.api_key)
    assert done.code == Exit.OK, done.all
    assert "log-ins/s: 5 in " in done.out
    assert "p50" in done.out
    assert len(of(fidoloop_lab, "in-token-", "authentication")) == 5
    assert len(of(fidoloop_lab, "in-token-", "deregistration")) == 2
    assert not [key for key in fidoloop_lab.store.list() if key.label == KEY_LABEL]


def test_interrupted_it_reports_and_tidies_up(fidoloop_lab: Lab, fidoloop_token: str) -> None:
    asked = (*options(fidoloop_lab, "stopped-"), "--keys", fidoloop_token, "--seconds", "600", "--deregister", "--json")
    with running(*asked, FIDOLOOP_API_KEY=fidoloop_lab.api_key) as process:
        line_with(process, "logging in")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == Exit.OK, out + err
    report = json.loads(out)
    assert report["interrupted"]
    assert report["succeeded"] > 0
    assert len(of(fidoloop_lab, "stopped-", "deregistration")) == 2


def test_the_exit_code_says_what_was_wrong(fidoloop_lab: Lab, fidoloop_token: str) -> None:
    gone = run("load", "--server", "https://127.0.0.1:1", "--count", "1")
    assert (gone.code, "refused" in gone.err) == (Exit.NETWORK, True), gone.all
    unknown = (
        "load",
        "--server",
        fidoloop_lab.server.url,
        "--ca",
        str(fidoloop_lab.server.ca),
        "--keys",
        fidoloop_token,
    )
    refused = run(*unknown, "--user-prefix", "nobody-", "--count", "1", api_key=fidoloop_lab.api_key)
    assert refused.code == Exit.REFUSED
    assert "UAF 1400" in refused.err
    assert "docs/load.md" in refused.err
    assert invoke("load", "--server", "http://login.example").code == Exit.NETWORK
    assert invoke("load", "--accounts", "1", "--processes", "2").code == Exit.USAGE
    assert invoke("load", "--log-in", "fido2", "--deregister").code == Exit.USAGE


def test_a_log_in_that_failed_is_exit_code_one(fidoloop_lab: Lab, fidoloop_token: str) -> None:
    asked = (*options(fidoloop_lab, "failing-", 1), "--keys", fidoloop_token, "--count", "2", "--json")
    done = run(*asked, "--log-in", "out-of-band", "--dispatcher", "pigeon", api_key=fidoloop_lab.api_key)
    assert done.code == Exit.REFUSED
    (error,) = done.json["errors"]
    assert (error["service"], error["kind"], error["count"]) == ("dispatch", "dispatcherNotFound", 2)
    assert "dispatcherNotFound" in error["first"]


def test_the_phones_metadata_can_be_given_to_a_server(fidoloop_token: str, tmp_path: Path) -> None:
    assert invoke("load", "--metadata", str(tmp_path)).code == Exit.OK
    assert invoke("load", "--metadata", str(tmp_path), "--keys", fidoloop_token).code == Exit.OK
    home = tmp_path / "home"
    assert invoke("server", "user", "add", "load-", "--numbered", "3", "--home", str(home)).code == Exit.OK
    listed = invoke("server", "user", "list", "--home", str(home), "--json").json["users"]
    assert [user["username"] for user in listed] == ["load-0", "load-1", "load-2"]
    files = sorted(path.name for path in tmp_path.glob("*.json"))
    assert files == ["F10B-0193.json", "FFFF-0001.json"]
    added = invoke("server", "metadata", "add", *(str(tmp_path / name) for name in files), "--home", str(home))
    assert added.code == Exit.OK, added.all
