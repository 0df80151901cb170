"""`fidoloop doctor` as a user or a script meets it."""

from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit

from .command import run


@pytest.mark.parametrize("as_json", [True, False])
def test_a_machine_is_looked_at_and_what_is_broken_makes_it_fail(as_json: bool, tmp_path: Path) -> None:
    options = ("--json",) if as_json else ()
    home = tmp_path / "home"
    fine = run("doctor", "--home", str(home), *options)
    assert (fine.code, fine.err) == (Exit.OK, "")
    home.mkdir()
    home.chmod(0o755)
    wrong = run("doctor", "--home", str(home), *options)
    assert wrong.code == Exit.REFUSED
    if as_json:
        assert (fine.json["works"], wrong.json["works"]) == (True, False)
        (found,) = [one for one in wrong.json["findings"] if one["state"] == "broken"]
        assert (found["check"], found["fix"]) == ("home", f"chmod -R go= {home}")
    else:
        assert "try `fidoloop demo`" in fine.out
        assert f"→ chmod -R go= {home}" in wrong.out
