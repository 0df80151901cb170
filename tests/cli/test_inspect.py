"""`fidoloop inspect` as a user or a script meets it."""

import json
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.protocol import qr
from fidoloop.protocol.inspect.kinds import KINDS

from ..protocol.inspect.examples import DPOP, JWK, PAYLOAD, PRIVATE_D, RFC_9449, examples
from .command import invoke, run


def test_a_text_a_file_and_a_pipe_are_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "proof"
    file.write_text(DPOP, encoding="utf-8")
    by_text, by_file, by_pipe = invoke("inspect", DPOP), invoke("inspect", str(file)), run("inspect", "-", typed=DPOP)
    assert by_text.out == by_file.out == by_pipe.out
    assert (by_text.code, by_file.code, by_pipe.code) == (0, 0, 0)
    assert "htm: POST  method of the request it is for" in by_text.out
    assert "nothing verified" in by_text.out
    assert run("inspect", typed=DPOP).out == by_text.out


@pytest.mark.parametrize("kind", examples())
def test_every_kind_prints_and_is_one_json_object(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(examples()[kind][0])
    assert invoke("inspect", str(file)).code == Exit.OK
    done = invoke("inspect", str(file), "--json")
    assert (done.code, done.json["kind"], done.json["verified"]) == (Exit.OK, kind, None)
    assert done.json["nodes"][0]["depth"] == 0


def test_a_picture_is_read(tmp_path: Path) -> None:
    file = tmp_path / "code.png"
    file.write_bytes(qr.png(PAYLOAD))
    done = invoke("inspect", str(file))
    assert "QR code" in done.out
    assert "redeem_url: https://a.example/redeem" in done.out


@pytest.mark.parametrize("as_file", [True, False])
def test_a_key_verifies(as_file: bool, tmp_path: Path) -> None:
    key = JWK.to_json()
    if as_file:
        key = str(tmp_path / "key")
        Path(key).write_text(JWK.to_json(), encoding="utf-8")
    done = invoke("inspect", DPOP, "--key", key)
    assert done.code == Exit.OK
    assert "signature verified by the key given" in done.out
    other = invoke("inspect", RFC_9449, "--key", key, "--json")
    assert (other.code, other.json["verified"]) == (Exit.REFUSED, False)
    unsigned = invoke("inspect", PAYLOAD, "--key", key)
    assert "there is no signature that the key could be held against" in unsigned.out


def test_a_private_key_is_never_echoed() -> None:
    private = json.dumps({**JWK.members, "d": PRIVATE_D})
    for options in ((), ("--json",)):
        done = run("inspect", *options, typed=private)
        assert "private, not shown" in done.out
        assert PRIVATE_D not in done.all
    refused = invoke("inspect", DPOP, "--key", private)
    assert refused.code == Exit.USAGE
    assert PRIVATE_D not in refused.all


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("absent.bin",), Exit.USAGE, "there is no file"),
        (("no such thing",), Exit.REFUSED, "none of the kinds"),
        ((DPOP, "--as", "nonsense"), Exit.USAGE, "--as list"),
        ((DPOP, "--as", "jwe"), Exit.REFUSED, "a JWE has 5"),
        ((DPOP, "--key", "absent"), Exit.USAGE, "no public key"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(arguments: tuple[str, ...], code: Exit, said: str) -> None:
    done = invoke("inspect", *arguments)
    assert done.code == code
    assert said in done.all


def test_what_is_nothing_known_is_told_with_what_to_do_next() -> None:
    done = run("inspect", typed="hello, world")
    assert done.code == Exit.REFUSED
    assert "next: give the whole of it; --as KIND reads what is broken" in done.err


def test_the_kinds_are_listed() -> None:
    assert set(invoke("inspect", "--as", "list", "--json").json["kinds"]) == set(KINDS)
    assert all(name in invoke("inspect", "--as", "list").out for name in KINDS)


def test_the_page_about_it_names_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs/inspect.md").read_text("utf-8")
    assert not [name for name in KINDS if f"`{name}`" not in page]


def test_what_is_said_inside_cannot_drive_the_terminal() -> None:
    done = run("inspect", "--as", "jwk", typed=json.dumps({"kty": "\x1b[2J\u202e"}))
    assert "\x1b" not in done.out
    assert "\\u202e" in done.out
