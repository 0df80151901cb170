"""Looking into modules: each in a process of its own, so that what one does disturbs nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fidoloop.hsm.discovery import Discovered, discover
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.pkcs11.installed import InstalledModule
from fidoloop.hsm.pkcs11.probe import probe
from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import find_softhsm_module

from .conftest import PIN
from .quirky import Quirky

SOFTHSM = str(find_softhsm_module())


def test_a_token_is_described_and_opened_by_the_uri_given(uri: str) -> None:
    label = parse_uri(uri).token
    (found,) = discover([InstalledModule(SOFTHSM, "softhsm2")])
    assert found.found.manufacturer == "SoftHSM"
    (token,) = [slot.token for slot in found.found.slots if slot.token is not None and slot.token.label == label]
    assert (token.kind, token.hardware, token.signs, token.usable) == ("softhsm", False, True, True)
    with open_key_store(found.uri(token), pin=PIN) as store:
        assert store.info().label == label
    new = [slot.token for slot in found.found.slots if slot.token is not None and not slot.token.usable]
    assert [token.state for token in new] == ["not initialised"]


def test_tokens_with_one_label_are_told_apart_by_their_serial_numbers(make_token: Callable[..., str]) -> None:
    for _ in range(2):
        make_token("same")
    (found,) = discover([InstalledModule(SOFTHSM)])
    twins = [slot.token for slot in found.found.slots if slot.token is not None and slot.token.label == "same"]
    serials = set()
    for token in twins:
        with open_key_store(found.uri(token), pin=PIN) as store:
            serials.add(store.info().serial)
    assert len(serials) == len(twins) == 2


def test_what_stands_in_the_way_of_a_token_is_said(quirky: Quirky) -> None:
    module = parse_uri(quirky.uri).module_path
    assert module is not None
    quirky.become("pad", "hardware")
    found = probe(module)
    label = parse_uri(quirky.uri).token
    (token,) = [slot.token for slot in found.slots if slot.token is not None and slot.token.label == label]
    assert (token.pin_pad, token.hardware) == (True, False)  # SoftHSM, whatever it says
    quirky.become("pulled")
    assert not any(slot.token for slot in probe(module).slots)


@pytest.mark.parametrize(
    ("quirk", "error"), [("hangs", "does not answer within 0.5 s"), ("crashes", r"crashed (signal 6)")]
)
def test_a_module_that_hangs_or_crashes_says_so(quirky: Quirky, quirk: str, error: str) -> None:
    module = parse_uri(quirky.uri).module_path
    assert module is not None
    quirky.become(quirk)
    assert probe(module, seconds=0.5 if quirk == "hangs" else 20).error == error


def test_a_file_that_is_no_module_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    assert probe(str(tmp_path / "text.so")).error == "file too short"
    assert "No such file" in probe("/does/not/exist.so").error


def test_broken_modules_hide_no_other(quirky: Quirky, uri: str) -> None:
    path = parse_uri(quirky.uri).module_path
    assert path is not None
    quirky.become("crashes")
    told: list[Discovered] = []
    modules = [
        InstalledModule("/does/not/exist.so"),
        InstalledModule(path),
        InstalledModule(SOFTHSM),
        InstalledModule("/nss.so", "nss", proxy_only=True),
    ]
    found = discover(modules, on_found=told.append)
    assert [one.installed for one in found] == modules
    assert [bool(one.found.error) for one in found] == [True, True, False, True]
    assert "p11-kit-proxy" in found[-1].found.error
    assert len(told) == len(modules)
    labels = {slot.token.label for slot in found[2].found.slots if slot.token is not None}
    assert parse_uri(uri).token in labels
