"""The configuration as an operator meets it: refused starts, and what is in effect."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.server.process import command, serving


def write(home: Path, text: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    path = home / "fidoloop.toml"
    path.write_text(text)
    return path


def test_a_bad_value_stops_the_start_with_file_line_and_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\n\n[server.lifetimes]\ntarget = 'long'\n")
    done = command(tmp_path, "run", "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    error, _ = done.stderr.splitlines()
    assert error == f"error: {path}:4: lifetimes.target: expected `int`, got `str`"


def test_a_server_runs_by_its_file_alone(tmp_path: Path) -> None:
    write(tmp_path, "[server]\ninsecure = true\n")
    with serving(tmp_path) as (url, ca):
        assert ca is None
        assert httpx2.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("pair", ["lifetimes.target", "lifetime.target=5"])
def test_set_takes_names_and_values_of_settings_only(tmp_path: Path, pair: str) -> None:
    assert command(tmp_path, "run", "--set", pair).returncode == 2


def test_config_prints_what_is_in_effect_and_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "[server]\ndatabase = 'postgresql://fido:hunter2@db/fido'\nport = 1\n")
    monkeypatch.setenv("FIDOLOOP_SERVER_PORT", "2")
    done = command(tmp_path, "config", "--json", "--set", "lifetimes.target=60")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["settings"]}
    assert found["port"] == {
        "name": "port",
        "value": 2,
        "unit": None,
        "origin": "environment",
        "where": "FIDOLOOP_SERVER_PORT",
    }
    assert found["database"]["where"] == f"{path}:2"
    assert (found["lifetimes.target"]["value"], found["lifetimes.target"]["unit"]) == (60, "seconds")
    assert found["lifetimes.target"]["origin"] == "command line"
    assert found["host"]["origin"] == "default"
    assert found["base_url"]["value"] == "https://localhost:2"
    assert "hunter2" not in done.stdout
    assert "postgresql://fido:(hidden)@db/fido" in command(tmp_path, "config").stdout
