"""`fidoloop verify` as a user or a script meets it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fidoloop.cli.exits import Exit

DATA = Path(__file__).parents[1] / "data"
VECTORS = {example["id"]: example for example in json.loads((DATA / "vectors/uaf.json").read_text("utf-8"))}
COMMAND = [sys.executable, "-c", "from fidoloop.cli import run; run()", "verify"]


def verify(*arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
    typed = given if isinstance(given, str) else json.dumps(given)
    return subprocess.run([*COMMAND, *arguments], input=typed, capture_output=True, text=True, check=False)


def seed_body() -> dict[str, Any]:
    (path,) = (DATA / "seeds").glob("002_*.txt")
    text = path.read_text("utf-8")
    body: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index("\n{\n") + 1)[0]
    return body


@pytest.mark.parametrize(
    ("name", "code", "strict_code", "shown"),
    [
        (
            "spec-reg",
            0,
            1,
            ["[ok] attestation signature", "[not checked] attestation chain", "1 SECP256R1_ECDSA_SHA256_RAW"],
        ),
        ("spec-auth", 0, 0, ["[ok] signature", "[ok] counter: 1 to 2", "[ok] FCHash", "aaid: ABCD#ABCD"]),
        ("dds-reg", 0, 1, ["[ok] attestation signature", "[not checked] FCHash", "subject CN=MAGATAMA"]),
        ("dds-auth", 0, 0, ["[ok] signature", "[ok] FCHash", "2 SECP256R1_ECDSA_SHA256_DER"]),
        ("samsung-1-reg", 0, 1, ["[ok] attestation signature", "6 SECP256K1_ECDSA_SHA256_DER"]),
        ("raon-reg", 0, 1, ["[ok] attestation signature", "4 RSASSA_PSS_SHA256_DER", "0x103 RSA_2048_DER"]),
    ],
)
def test_the_published_examples(name: str, code: int, strict_code: int, shown: list[str], tmp_path: Path) -> None:
    file = tmp_path / "response.json"
    file.write_text(json.dumps(VECTORS[name]), encoding="utf-8")
    plain = verify(str(file))
    assert plain.returncode == code, plain.stderr
    for text in shown:
        assert text in plain.stdout
    as_json = verify("-", "--json", "--strict", given=VECTORS[name])
    assert as_json.returncode == strict_code
    report = json.loads(as_json.stdout)
    assert report["verified"] is (strict_code == 0)
    assert report["assertions"][0]["says"]["keyID"]
    assert {check["outcome"] for check in report["checks"]} <= {"ok", "failed", "not checked"}


def test_a_bare_response_is_read_and_an_authentication_alone_is_not_verified() -> None:
    assert verify("-", given=VECTORS["spec-reg"]["response"]).returncode == Exit.OK
    alone = verify("-", given=VECTORS["spec-auth"]["response"])
    assert alone.returncode == Exit.REFUSED
    assert "[not checked] signature" in alone.stdout


def test_the_seeds_example_prints_and_is_refused() -> None:
    body = seed_body()
    for given in (body, body["uafResponse"]):
        done = verify("-", given=given)
        assert done.returncode == Exit.REFUSED
        assert "aaid: ABCD#ABCD" in done.stdout
        assert "[failed] FCHash" in done.stdout


def test_malformed_input_is_refused_with_the_place() -> None:
    example = json.loads(json.dumps(VECTORS["spec-auth"]))
    example["response"][0]["assertions"][0]["assertion"] = "Aj4B"
    cut = verify("-", given=example)
    assert (cut.returncode, cut.stdout) == (Exit.REFUSED, "")
    assert "assertions[0].assertion" in cut.stderr
    broken = verify("-", "--json", given="{")
    assert broken.returncode == Exit.REFUSED
    assert "$" in json.loads(broken.stdout)["detail"]


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    for arguments in ([str(tmp_path / "absent")], [str(tmp_path)], []):
        assert verify(*arguments).returncode == Exit.USAGE


def test_what_a_response_says_cannot_drive_the_terminal() -> None:
    example = json.loads(json.dumps(VECTORS["spec-auth"]))
    example["response"][0]["header"]["appID"] = "https://a\x1b[2J\u202e"
    shown = verify("-", given=example).stdout
    assert "\x1b[2J" not in shown
    assert "\\x1b[2J\\u202e" in shown


def test_bytes_names_every_byte_and_says_what_is_wrong_also_where_nothing_can_be_verified() -> None:
    shown = verify("-", "--bytes", given=VECTORS["dds-auth"])
    assert shown.returncode == Exit.OK
    assert "   25     2          authenticatorVersion: 1" in shown.stdout
    example = json.loads(json.dumps(VECTORS["spec-auth"]))
    example["response"][0]["assertions"][0]["assertion"] = "Aj4B"
    cut = verify("-", "--bytes", given=example)
    assert cut.returncode == Exit.REFUSED
    assert "rest: 023e01  3 bytes are no tag and length" in cut.stdout


def test_bytes_are_a_tree_in_json() -> None:
    tree = json.loads(verify("-", "--bytes", "--json", given=VECTORS["raon-reg"]).stdout)["bytes"][0]
    assert (tree["offset"], tree["name"]) == (0, "assertion")
    assert tree["children"][0]["children"][0]["name"] == "UAFV1_KRD"
