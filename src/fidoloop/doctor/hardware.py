"""Checks of key hardware: PKCS#11 modules, SoftHSM, smart cards, TPM."""

import os
from collections.abc import Iterator
from pathlib import Path

from fidoloop.doctor.values import Finding, Machine, broken, note, ok
from fidoloop.hsm.discovery import Discovered, discover
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.piv.discovery import find_cards
from fidoloop.hsm.pkcs11.installed import installed_modules

_INSTALL_SOFTHSM = "apt install softhsm2, or install your token's PKCS#11 module"
_PCSCD = "usr/sbin/pcscd"
_CONFIGURATION_NAME = "softhsm2.conf"


def check_modules(machine: Machine) -> Iterator[Finding]:
    """PKCS#11 modules: found, loaded in a process of their own, and with tokens in them."""
    installed = installed_modules(root=machine.root, environment=machine.environment)
    if not installed:
        yield broken("modules", "no PKCS#11 module is installed", _INSTALL_SOFTHSM)
        return
    found = discover(installed)
    yield from map(_module, found)
    if not any(one.installed.proxy_only or not one.found.error for one in found):
        yield broken("modules", "no PKCS#11 module works", _INSTALL_SOFTHSM)


def _module(one: Discovered) -> Finding:
    path, found = one.installed.path, one.found
    if one.installed.proxy_only:
        return ok("modules", f"{path}: p11-kit loads it")
    if found.error:
        return note("modules", f"{path}: {found.error}", "check its package and configuration, or remove the module")
    tokens = [slot.token for slot in found.slots if slot.token is not None and slot.token.usable]
    if not tokens:
        fix = "plug in or initialise a token; `fidoloop keys tokens` lists them"
        return note("modules", f"{path}: works, no token that can be used", fix)
    return ok("modules", f"{path}: {', '.join(token.label or token.kind for token in tokens)}")


def check_softhsm(machine: Machine) -> Finding:
    """SoftHSM's configuration: readable, and its directory of tokens there and writable."""
    configuration = _softhsm_configuration(machine)
    if configuration is None:
        return note("softhsm", "SoftHSM has no configuration", "see docs/tutorial/first-log-in.md; demo needs none")
    where = f"{configuration}"
    try:
        text = configuration.read_text("utf-8", "replace")
    except OSError as error:
        named = "SOFTHSM2_CONF" in machine.environment
        fix = "point SOFTHSM2_CONF to a file of your own with directories.tokendir = DIR"
        said = f"{where} cannot be read ({error.strerror})"
        return broken("softhsm", said, fix) if named else note("softhsm", said, fix)
    values = dict(_setting(line) for line in text.splitlines() if "=" in line)
    directory = values.get("directories.tokendir", "")
    if not directory:
        return broken("softhsm", f"{where} has no directories.tokendir", "add directories.tokendir = DIR")
    if not Path(directory).is_dir():
        return broken("softhsm", f"{directory}, the tokens of {where}, is not there", f"mkdir -p {directory}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        fix = "point SOFTHSM2_CONF to a file with a directory of your own, or join the group softhsm"
        return note("softhsm", f"{directory}, the tokens of {where}, is not yours to write", fix)
    return ok("softhsm", f"{where}: tokens in {directory}")


def _softhsm_configuration(machine: Machine) -> Path | None:
    environment = machine.environment
    if named := environment.get("SOFTHSM2_CONF"):
        return Path(named)
    home = environment.get("HOME")
    places = [Path(home) / ".config/softhsm2" / _CONFIGURATION_NAME] if home else []
    places += [machine.at(f"etc/softhsm/{_CONFIGURATION_NAME}"), machine.at(f"etc/{_CONFIGURATION_NAME}")]
    return next((place for place in places if os.path.lexists(place)), None)


def _setting(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def check_readers(machine: Machine) -> Iterator[Finding]:
    """PC/SC: pcscd answers, and what is in its readers."""
    try:
        cards = find_cards()
    except KeyStoreError as error:
        yield note("readers", f"no smart cards: {error}", _to_have_pcscd(machine))
        return
    if not cards:
        fix = "plug in a reader or YubiKey; `fidoloop card run` is one in software (apt install vsmartcard-vpcd)"
        yield note("readers", "pcscd runs, and has no reader", fix)
    for card in cards:
        if card.identity is None:
            yield note("readers", f"{card.reader}: {card.problem}", "put a PIV card in")
        else:
            yield ok("readers", f"{card.reader}: {card.identity.label or 'PIV card'}")


def _to_have_pcscd(machine: Machine) -> str:
    start = "systemctl start pcscd.socket" if machine.at("run/systemd/system").is_dir() else "run pcscd as root"
    return f"start it: {start}" if machine.at(_PCSCD).exists() else f"apt install pcscd, and start it: {start}"


def check_tpm(machine: Machine) -> Finding:
    """A TPM: its device is there, ours to use, and has a PKCS#11 module."""
    device = machine.at("dev/tpmrm0")
    if not device.exists():
        fix = "turn it on in the firmware; without one, use another key store"
        return note("tpm", "no TPM 2.0 (/dev/tpmrm0)", fix)
    if not os.access(device, os.R_OK | os.W_OK):
        fix = "usermod -aG tss $USER, and log in again"
        return note("tpm", "/dev/tpmrm0 is there and not yours to use", fix)
    modules = [path for pattern in _TPM_MODULES for path in machine.root.glob(pattern)]
    if not modules:
        return note("tpm", "/dev/tpmrm0 is there, without a PKCS#11 module", "apt install libtpm2-pkcs11-1")
    return ok("tpm", f"/dev/tpmrm0, by {modules[0]}")


_TPM_MODULES = (
    "usr/lib/*/pkcs11/libtpm2_pkcs11.so",
    "usr/lib64/pkcs11/libtpm2_pkcs11.so",
    "usr/lib/*/libtpm2_pkcs11.so*",
)
