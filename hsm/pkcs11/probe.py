"""Looking into a PKCS#11 module in a process of its own: one that crashes or hangs takes nothing with it.

Run as a program, it writes what it found to a file descriptor: `python -m fidoloop.hsm.pkcs11.probe MODULE FD`.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import pkcs11 as p11
from pkcs11 import Mechanism, TokenFlag

from fidoloop.hsm.pkcs11.errors import ckr_name, reason_not_loaded
from fidoloop.hsm.pkcs11.kinds import is_hardware, kind_of
from fidoloop.hsm.pkcs11.token import has_pin_pad

PROBE_SECONDS = 10.0
NOT_INITIALISED, NO_PIN = "not initialised", "no user PIN yet"
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True)
class TokenFound:
    """A token as its module describes it; see `TokenInfo`. `state` is what stands in the way of using it, or ""."""

    kind: str
    label: str
    manufacturer: str
    model: str
    serial: str
    hardware: bool
    pin_pad: bool
    signs: bool
    state: str

    @property
    def usable(self) -> bool:
        """Whether a key store can be opened on it."""
        return self.signs and self.state not in (NOT_INITIALISED, NO_PIN)


@dataclass(frozen=True)
class SlotFound:
    """A slot, and the token in it if there is one; `error` says why a token that is there cannot be described."""

    slot_id: int
    description: str
    token: TokenFound | None = None
    error: str = ""


@dataclass(frozen=True)
class ModuleFound:
    """What a module says of itself and its slots; `error` says why it does not."""

    description: str = ""
    manufacturer: str = ""
    version: str = ""
    slots: list[SlotFound] = field(default_factory=list)
    error: str = ""


def probe(path: str, *, seconds: float = PROBE_SECONDS) -> ModuleFound:
    """Return what a module has; a module that cannot be looked into is one with an `error`.

    Args:
        path: the module's file.
        seconds: how long it may take.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as answers:
        command = [sys.executable, "-m", __spec__.name, path, str(writing)]
        try:
            # What modules write to the standard streams is noise.
            process = subprocess.Popen(
                command,
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(writing)
        with process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return ModuleFound(error=f"does not answer within {seconds:g} s")
        if code != 0:
            return ModuleFound(error=f"crashed (signal {-code})" if code < 0 else f"failed (exit code {code})")
        return _decode(json.loads(answers.read(_MAX_ANSWER)))


def look_into(path: str) -> ModuleFound:
    """Load a module into this process and describe it."""
    try:
        library = p11.lib(path)
        slots = [_slot(slot) for slot in library.get_slots()]
    except p11.PKCS11Error as error:
        return ModuleFound(error=reason_not_loaded(error, path))
    return ModuleFound(
        description=library.library_description,
        manufacturer=library.manufacturer_id,
        version=".".join(map(str, library.library_version)),
        slots=slots,
    )


def _slot(slot: p11.Slot) -> SlotFound:
    description = slot.slot_description
    try:
        token = slot.get_token()
    except (p11.TokenNotPresent, p11.TokenNotRecognised):
        return SlotFound(slot.slot_id, description)
    except p11.PKCS11Error as error:
        return SlotFound(slot.slot_id, description, error=ckr_name(error))
    try:
        signs = Mechanism.ECDSA in slot.get_mechanisms()
    except p11.PKCS11Error:
        signs = False
    found = TokenFound(
        kind=kind_of(token),
        label=token.label,
        manufacturer=token.manufacturer_id,
        model=token.model,
        serial=token.serial.decode(errors="replace").rstrip("\0 "),
        hardware=is_hardware(token),
        pin_pad=has_pin_pad(token),
        signs=signs,
        state=_state(token.flags),
    )
    return SlotFound(slot.slot_id, description, found)


def _state(flags: TokenFlag) -> str:
    if not flags & TokenFlag.TOKEN_INITIALIZED:
        return NOT_INITIALISED
    if flags & TokenFlag.LOGIN_REQUIRED and not flags & TokenFlag.USER_PIN_INITIALIZED:
        return NO_PIN
    if flags & TokenFlag.USER_PIN_LOCKED:
        return "PIN locked"
    return "one PIN try left" if flags & TokenFlag.USER_PIN_FINAL_TRY else ""


def _decode(value: dict[str, Any]) -> ModuleFound:
    slots = [
        SlotFound(**{**slot, "token": TokenFound(**slot["token"]) if slot["token"] else None})
        for slot in value.pop("slots")
    ]
    return ModuleFound(**value, slots=slots)


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "w") as answer:
        json.dump(asdict(look_into(sys.argv[1])), answer)
    os._exit(0)  # the module is not asked to finish: it may hang at that, too
