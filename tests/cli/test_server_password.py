"""`fidoloop server user password`."""

from pathlib import Path

import pytest

from tests.cli.command import invoke


def test_a_password_is_set_by_the_environment_and_is_nowhere_in_the_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIDOLOOP_USER_PASSWORD", "correct horse")
    assert invoke("server", "user", "add", "alice", "--home", str(tmp_path)).code == 0
    done = invoke("server", "user", "password", "alice", "--home", str(tmp_path))
    assert done.code == 0, done.all
    assert b"correct horse" not in (tmp_path / "server.sqlite").read_bytes()
    assert invoke("server", "user", "password", "bob", "--home", str(tmp_path)).code == 1
    monkeypatch.setenv("FIDOLOOP_USER_PASSWORD", "short")
    refused = invoke("server", "user", "password", "alice", "--home", str(tmp_path))
    assert refused.code == 2
    assert "8 to 256" in refused.all
