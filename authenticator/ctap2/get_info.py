"""authenticatorGetInfo (CTAP 2.1, section 6.4): what is here, and nothing else."""

from collections.abc import Iterable, Sequence
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
from fidoloop.authenticator.ctap2.pin_protocols import PREFERRED_PROTOCOLS
from fidoloop.authenticator.ctap2.state import Settings
from fidoloop.protocol.uaf.registry import UserVerification


def u2f_enabled(core: Core) -> bool:
    """Tell whether U2F is served: not under alwaysUv, since U2F verifies nobody (CTAP 2.1, section 7.2)."""
    return not core.state.settings.always_uv


def get_info(core: Core) -> dict[int, Any]:
    """Describe the authenticator."""
    return describe(
        core.state.settings,
        aaguid=core.aaguid,
        algorithms=core.algorithms,
        verifies=core.interaction.verifies,
        transports=core.transports,
        room=core.room(),
    )


def describe(
    settings: Settings,
    *,
    aaguid: bytes,
    algorithms: Iterable[int],
    verifies: bool,
    transports: Sequence[str],
    room: int,
) -> dict[int, Any]:
    """Return what getInfo says of an authenticator with these settings.

    `verifies` tells of built-in user verification, `room` how many discoverable credentials may still be made.
    """
    info: dict[int, Any] = {
        0x01: ([] if settings.always_uv else ["U2F_V2"]) + ["FIDO_2_0", "FIDO_2_1"],
        0x02: list(SUPPORTED),
        0x03: aaguid,
        0x04: _options(settings, verifies=verifies),
        0x05: MAX_MESSAGE,
        0x06: list(PREFERRED_PROTOCOLS),
        0x07: MAX_LIST,
        0x08: MAX_CREDENTIAL_ID,
        0x0A: [{"alg": number, "type": PUBLIC_KEY} for number in algorithms],
        0x0B: MAX_LARGE_BLOBS,
        0x0C: settings.force_pin_change,
        0x0D: settings.min_pin_length,
        0x0E: FIRMWARE_VERSION,
        0x0F: MAX_CRED_BLOB,
        0x10: MAX_RP_IDS,
        0x14: room,
    }
    if transports:
        info[0x09] = list(transports)
    if verifies:
        info[0x12] = int(UserVerification.PASSCODE)
    return info


def _options(settings: Settings, *, verifies: bool) -> dict[str, bool]:
    options = {
        "rk": True,
        "up": True,
        "plat": False,
        "alwaysUv": settings.always_uv,
        "credMgmt": True,
        "authnrCfg": True,
        "clientPin": settings.pin is not None,
        "largeBlobs": True,
        "pinUvAuthToken": True,
        "setMinPINLength": True,
        "makeCredUvNotRqd": not settings.always_uv,
    }
    if verifies:
        options["uv"] = True
    return options
