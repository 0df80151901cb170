"""The plugin in somebody else's test run: what it costs, what it skips and why, and that it leaves no trace."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fidoloop import pcscd, pytest_plugin, softhsm, swtpm
from fidoloop.hsm.errors import ModuleError
from fidoloop.lab import LabServer
from fidoloop.testing import options as of_plugin

LOG_IN = """
import pytest

@pytest.mark.parametrize("n", range(2))
def test_log_in(n, fidoloop_phone, fidoloop_laptop, fidoloop_user):
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code")
    fidoloop_phone.redeem(fidoloop_laptop.shown(dispatched))
    assert fidoloop_laptop.status(dispatched.session_id).status == "succeeded"
"""
HEAVY = ["cryptography", "msgspec", "starlette", "httpx2", "pkcs11", "fidoloop.hsm", "fidoloop.bridge"]


def test_unused_it_imports_nothing_of_what_it_needs() -> None:
    """Whoever has fidoloop installed and tests something else pays for one small module."""
    script = (
        "import pytest, sys; before = {*sys.modules}; import fidoloop.pytest_plugin; print({*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "fidoloop.pytest_plugin" in done.stdout
    assert [name for name in HEAVY if f"'{name}'" in done.stdout] == []


def test_its_names_are_all_its_own() -> None:
    fixtures = [
        name for name, value in vars(pytest_plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert len(fixtures) > 15
    assert all(name.startswith("fidoloop_") for name in fixtures)


def run(pytester: pytest.Pytester, text: str, *arguments: str, conftest: str = "") -> pytest.RunResult:
    """Run pytest on a project whose test file is `text`."""
    pytester.makepyfile(text)
    pytester.makeconftest(conftest)
    return pytester.runpytest_inprocess("-ra", "-p", "no:cacheprovider", *arguments)


def test_the_own_server_without_tls_and_with_settings(pytester: pytest.Pytester) -> None:
    text = LOG_IN + "def test_it(fidoloop_server):\n    assert fidoloop_server.url.startswith('http://')\n"
    settings = "[server.lifetimes]\nauthentication_token = 77\n"
    text += "    assert 'authentication_token = 77' in (fidoloop_server.local.home / 'fidoloop.toml').read_text()\n"
    conftest = f"import pytest\n@pytest.fixture(scope='session')\ndef fidoloop_server_settings(): return {settings!r}\n"
    run(pytester, text, "--fidoloop-tls", "none", conftest=conftest).assert_outcomes(passed=3)


def _nowhere(name: str, package: str) -> str:
    raise ModuleError(f"{name} is not installed (Debian: apt install {package})")


def test_what_is_not_installed_skips_with_the_packages_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softhsm, "_MODULES", ())
    monkeypatch.setattr(pcscd, "_DRIVERS", ())
    monkeypatch.setattr(swtpm, "find_program", _nowhere)
    monkeypatch.setattr(of_plugin, "installed", lambda module: False)
    fixtures = {
        "fidoloop_token": "apt install softhsm2",
        "fidoloop_card": "apt install pcscd vsmartcard-vpcd",
        "fidoloop_tpm_token": "apt install swtpm",
        "fidoloop_radios": "pip install 'fidoloop?ble?'",
    }
    text = "".join(f"def test_{number}({name}): pass\n" for number, name in enumerate(fixtures))
    skipped = run(pytester, text)
    skipped.assert_outcomes(skipped=4)
    skipped.stdout.fnmatch_lines_random([f"SKIPPED*{said}*" for said in fixtures.values()])
    required = run(pytester, text, "--fidoloop-require")
    required.assert_outcomes(errors=4)
    required.stdout.fnmatch_lines_random([f"*{said}*(--fidoloop-require)" for said in fixtures.values()])
    required.stdout.no_fnmatch_line("*During handling of the above exception*")


def test_a_key_store_that_there_is_not_ends_the_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(): pass", "--fidoloop-keys", "floppy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: key store 'floppy' is none of softhsm, tpm, piv, and no pkcs11: or piv: URI"])


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A server that was started by somebody else, with a user."""
    with LabServer(tmp_path_factory.mktemp("elsewhere") / "home") as server:
        server.add_user("jeff")
        yield server


def aimed_at(server: LabServer) -> list[str]:
    return ["--fidoloop-server", server.url, "--fidoloop-ca", str(server.ca)]


def test_the_phone_is_aimed_at_a_server_elsewhere(
    pytester: pytest.Pytester, elsewhere: LabServer, tmp_path: Path
) -> None:
    key = tmp_path / "api-key"
    key.write_text(elsewhere.add_api_key("tests") + "\n", encoding="utf-8")
    options = ["--fidoloop-user", "jeff", "--fidoloop-metadata", str(elsewhere.home / "metadata")]
    text = LOG_IN + "def test_local(fidoloop_local_server): pass\n"
    result = run(pytester, text, *aimed_at(elsewhere), "--fidoloop-api-key", str(key), *options)
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs the plugin's own server: --fidoloop-server names another"])
    events = elsewhere.audit()
    assert ("registration", "jeff") in events
    assert ("authentication", "jeff") in events


def test_a_server_that_does_not_know_the_model_is_told_with_the_options_name(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    with LabServer(tmp_path / "home") as stranger:
        stranger.add_user("jeff")
        key = tmp_path / "api-key"
        key.write_text(stranger.add_api_key("tests"), encoding="utf-8")
        options = ["--fidoloop-user", "jeff", "--fidoloop-api-key", str(key)]
        result = run(pytester, LOG_IN, *aimed_at(stranger), *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(["the server refused the registration: 14*--fidoloop-metadata*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling of the above exception*")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "needs a user of that server: --fidoloop-user"),
        (["--fidoloop-user", "jeff"], "needs the server's API credential: --fidoloop-api-key"),
    ],
)
def test_what_was_not_said_of_it_skips_with_the_options_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, elsewhere: LabServer, options: list[str], why: str
) -> None:
    monkeypatch.delenv(of_plugin.API_KEY_VARIABLE, raising=False)
    result = run(pytester, LOG_IN, *aimed_at(elsewhere), *options)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines([f"SKIPPED*{why}*"])
