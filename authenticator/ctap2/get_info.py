"""authenticatorGetInfo (CTAP 2.1, section 6.4): what is here, and nothing else."""

from typing import Any

from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.extensions import SUPPORTED
from fidoloop.authenticator.ctap2.limits import (
    MAX_CRED_BLOB,
    MAX_CREDENTIAL_ID,
    MAX_LARGE_BLOBS,
    MAX_LIST,
    MAX_MESSAGE,
    MAX_RP_IDS,
)
from fidoloop.authenticator.ctap2.members import PUBLIC_KEY
from fidoloop.authenticator.ctap2.models import FIRMWARE_VERSION

PASSCODE_EXTERNAL = 0x0800
"""USER_VERIFY_PASSCODE_EXTERNAL (FIDO registry 3.1): the token's PIN is typed on this machine, not on the token."""


def u2f_enabled(core: Core) -> bool:
    """Tell whether U2F is served: not under alwaysUv, since U2F verifies nobody (CTAP 2.1, section 7.2)."""
    return not core.state.settings.always_uv


def get_info(core: Core) -> dict[int, Any]:
    """Describe the authenticator."""
    settings = core.state.settings
    info: dict[int, Any] = {
        0x01: (["U2F_V2"] if u2f_enabled(core) else []) + ["FIDO_2_0", "FIDO_2_1"],
        0x02: list(SUPPORTED),
        0x03: core.aaguid,
        0x04: _options(core),
        0x05: MAX_MESSAGE,
        0x06: list(core.protocols),
        0x07: MAX_LIST,
        0x08: MAX_CREDENTIAL_ID,
        0x0A: [{"alg": number, "type": PUBLIC_KEY} for number in core.algorithms],
        0x0B: MAX_LARGE_BLOBS,
        0x0C: settings.force_pin_change,
        0x0D: settings.min_pin_length,
        0x0E: FIRMWARE_VERSION,
        0x0F: MAX_CRED_BLOB,
        0x10: MAX_RP_IDS,
        0x14: core.room(),
    }
    if core.transports:
        info[0x09] = list(core.transports)
    if core.interaction.verifies:
        info[0x12] = PASSCODE_EXTERNAL
    return info


def _options(core: Core) -> dict[str, bool]:
    always = core.state.settings.always_uv
    options = {
        "rk": True,
        "up": True,
        "plat": False,
        "alwaysUv": always,
        "credMgmt": True,
        "authnrCfg": True,
        "clientPin": core.pin_set,
        "largeBlobs": True,
        "pinUvAuthToken": True,
        "setMinPINLength": True,
        "makeCredUvNotRqd": not always,
    }
    if core.interaction.verifies:
        options["uv"] = True
    return options
