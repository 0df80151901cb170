"""What an appraisal says of a device, under the names of EAT (RFC 9711; OAuth contract 7.4).

These are the claims of a client attestation that a policy is matched with. No serial number is among them: it would
let every server follow a device.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.values import Appraisal, EvidenceKind, Tier

YUBICO_PEN: Final = 41482
SIMULATED_OEM: Final = base64url.encode(int(oids.PRIVATE_ARC.rpartition(".")[2]).to_bytes(16))
"""An oemid of the random kind (4.2.3.1): the UUID of the arc that simulated devices use."""
VERSION_SCHEME: Final = "multipartnumeric"

Version = Annotated[list[str], Meta(min_length=1, max_length=2)]


class KeyFacts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the key lives in the device; what the device does not say is left out."""

    local: bool | UnsetType = UNSET
    never_extractable: bool | UnsetType = UNSET
    sensitive: bool | UnsetType = UNSET


class DeviceFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Device and firmware, as a client attestation carries them."""

    evidence_type: str
    tier: str
    oemid: int | str | UnsetType = UNSET
    hwmodel: str | UnsetType = UNSET
    swname: str | UnsetType = UNSET
    swversion: Version | UnsetType = UNSET
    dbgstat: str | UnsetType = UNSET
    key: KeyFacts = KeyFacts()
    pin_policy: str | UnsetType = UNSET
    touch_policy: str | UnsetType = UNSET
    fips: bool | UnsetType = UNSET


def device_facts(appraisal: Appraisal) -> DeviceFacts:
    """Return the facts in an appraisal."""
    claims: dict[str, Any] = dict(appraisal.claims)
    known: dict[str, Any] = {
        "evidence_type": appraisal.kind.value,
        "tier": appraisal.tier.value,
        "key": KeyFacts(
            local=claims.get("local", UNSET),
            never_extractable=_never_extractable(claims),
            sensitive=claims.get("sensitive", UNSET),
        ),
        **{name: claims[name] for name in ("dbgstat", "pin_policy", "touch_policy", "fips") if name in claims},
    }
    return DeviceFacts(**known, **_maker(appraisal.kind, claims), **_software(appraisal, claims))


def _never_extractable(claims: dict[str, Any]) -> bool | UnsetType:
    if "never_extractable" in claims:
        return bool(claims["never_extractable"])
    # A YubiHSM says of a key whether it may leave wrapped, which a key made in it is asked from the outset.
    return not claims["extractable"] if "extractable" in claims and "origin" in claims else UNSET


def _maker(kind: EvidenceKind, claims: dict[str, Any]) -> dict[str, Any]:
    models = {EvidenceKind.PIV: "PIV card", EvidenceKind.YUBIHSM: "YubiHSM"}
    if kind in models:
        oem = SIMULATED_OEM if claims.get("simulated") else YUBICO_PEN
        return {"oemid": oem, "hwmodel": base64url.encode(models[kind].encode())}
    if kind is EvidenceKind.PKIX and "oemid" in claims and "hwmodel" in claims:
        return {"oemid": str(claims["oemid"]), "hwmodel": base64url.encode(str(claims["hwmodel"]).encode())}
    return {}


def _software(appraisal: Appraisal, claims: dict[str, Any]) -> dict[str, Any]:
    if appraisal.tier is not Tier.ATTESTED:
        return {}
    if "swversion" in claims:
        return {"swname": str(claims.get("swname", "firmware")), "swversion": [str(claims["swversion"])]}
    if "firmware" not in claims:
        return {}
    version = str(claims["firmware"])
    if appraisal.kind is EvidenceKind.TPM:
        version = ".".join(str(int(version[at : at + 4], 16)) for at in range(0, 16, 4))
    return {"swname": "firmware", "swversion": [version, VERSION_SCHEME]}
