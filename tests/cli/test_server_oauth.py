"""`fidoloop server oauth`: clients, keys, device policies."""

from pathlib import Path

from fidoloop.cli.exits import Exit
from tests.cli.command import invoke


def test_the_example_of_a_policy_can_be_used(tmp_path: Path) -> None:
    printed = invoke("server", "oauth", "policy", "example")
    file = tmp_path / "device-policy.json"
    file.write_text(printed.out)
    found = invoke("server", "oauth", "policy", "check", str(file), "--json").json["rules"]
    assert [rule["rule"] for rule in found] == ["old firmware", "PIV cards", "TPMs"]
    assert found[0]["acr"] == "denied"
    file.write_text('{"rules": [{"name": "x", "grant": {}}]}')
    refused = invoke("server", "oauth", "policy", "check", str(file))
    assert refused.code == Exit.REFUSED
    assert "$.rules[0]" in refused.all


def test_the_policy_that_is_checked_is_the_servers_where_none_is_named(tmp_path: Path) -> None:
    command = ("server", "oauth", "policy", "check", "--home", str(tmp_path), "--json")
    file = tmp_path / "oauth" / "device-policy.json"
    missing = invoke(*command)
    assert (missing.code, str(file) in missing.err) == (Exit.REFUSED, True)
    file.parent.mkdir()
    file.write_text('{"rules": [{"name": "mine", "tiers": ["unattested"]}]}')
    assert [rule["rule"] for rule in invoke(*command).json["rules"]] == ["mine"]


def test_keys_are_made_beside_the_ones_before(tmp_path: Path) -> None:
    first = invoke("server", "oauth", "rotate-keys", "--home", str(tmp_path), "--json").json
    assert first["removed"] == []
    assert {name.partition("-")[0] for name in first["made"]} == {"as", "attester"}
    for name in first["made"]:
        assert (tmp_path / "oauth" / name).stat().st_mode & 0o777 == 0o600


def test_a_grant_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    assert invoke("server", "oauth", "grant", "list", "--home", str(tmp_path), "--json").json == {"grants": []}
    assert invoke("server", "oauth", "grant", "revoke", "x", "--home", str(tmp_path)).code == Exit.REFUSED


def test_a_client_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    assert invoke("server", "oauth", "client", "list", "--home", str(tmp_path), "--json").json == {"clients": []}
    assert invoke("server", "oauth", "client", "revoke", "x", "--home", str(tmp_path)).code == Exit.REFUSED
