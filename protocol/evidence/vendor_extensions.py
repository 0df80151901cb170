"""The extensions of Yubico's attestation certificates, under Yubico's arcs and under our private ones.

DER is read by cryptography's own reader, which is strict (shortest forms, nothing left over) and stays so because it
also reads the certificates around: a reader of our own would be a second opinion on the same bytes.
Source: Yubico's pages "PIV attestation" and "YubiHSM OIDs"; where they call a value bytes, there is no DER inside.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.values import ClaimValue, EvidenceCheck, EvidenceRefusal

T = TypeVar("T")
_MAX_SERIAL = 2**64 - 1
_PIN_POLICIES: Final = {1: "never", 2: "once", 3: "always", 4: "match once", 5: "match always"}
_TOUCH_POLICIES: Final = {1: "never", 2: "always", 3: "cached"}
_FORM_FACTORS: Final = {
    0: "not told",
    1: "USB-A keychain",
    2: "USB-A nano",
    3: "USB-C keychain",
    4: "USB-C nano",
    5: "USB-C and Lightning",
    6: "USB-A bio",
    7: "USB-C bio",
}
_PIV_SUBJECT: Final = re.compile(r"(?:[!-~]+ )?PIV Attestation ([0-9A-Fa-f]{2})")
_PIV_SLOTS: Final = frozenset({0x9A, 0x9C, 0x9D, 0x9E, *range(0x82, 0x96)})
_ORIGINS: Final = {0x01: "generated", 0x02: "imported", 0x10: "imported wrapped"}
_EXPORTABLE_UNDER_WRAP: Final = 1 << 0x10


def piv_claims(leaf: x509.Certificate, attester: x509.Certificate | None) -> dict[str, ClaimValue]:
    """Return what a PIV attestation says: slot, firmware, serial number, policies, form factor.

    Args:
        leaf: the attested key's certificate.
        attester: the certificate of slot F9, which alone tells of FIPS and CSPN.

    Raises:
        EvidenceRefusal: EXTENSION, where one is missing, of another encoding or of a value that has no meaning.
    """
    arc, found = _vendor_extensions(leaf, oids.YUBICO_PIV, oids.PRIVATE_PIV)
    claims: dict[str, ClaimValue] = {"slot": _slot(leaf), "firmware": _firmware(_required(found, 3, "firmware"))}
    if 7 in found:
        claims["serial"] = _der(int, found[7], "serial number", range(_MAX_SERIAL + 1))
    policies = _required(found, 8, "PIN and touch policy")
    if len(policies) != 2 or policies[0] not in _PIN_POLICIES or policies[1] not in _TOUCH_POLICIES:
        raise _refused("the PIN and touch policy is not two bytes that have a meaning")
    claims |= {"pin_policy": _PIN_POLICIES[policies[0]], "touch_policy": _TOUCH_POLICIES[policies[1]]}
    if 9 in found:
        claims["form_factor"] = _form_factor(found[9])
    beside = _vendor_extensions(attester, oids.YUBICO_PIV, oids.PRIVATE_PIV, required=False)[1] if attester else {}
    claims |= {"fips": 10 in found or 10 in beside, "cspn": 11 in found or 11 in beside}
    # A card attests only keys that were made in it, and hands out none.
    return claims | {"local": True, "never_extractable": True, "simulated": arc == oids.PRIVATE_PIV}


def yubihsm_claims(leaf: x509.Certificate) -> dict[str, ClaimValue]:
    """Return what a YubiHSM 2 attestation says: firmware, serial number, origin, domains, capabilities, id, label.

    Raises:
        EvidenceRefusal: EXTENSION, where one is missing, of another encoding or of a value that has no meaning.
    """
    arc, found = _vendor_extensions(leaf, oids.YUBICO_HSM, oids.PRIVATE_HSM)
    firmware = _der(bytes, _required(found, 1, "firmware"), "firmware")
    origin = _bits(_required(found, 3, "origin"), "origin", 8)
    capabilities = _bits(_required(found, 5, "capabilities"), "capabilities", 64)
    claims: dict[str, ClaimValue] = {
        "firmware": _firmware(firmware),
        "serial": _der(int, _required(found, 2, "serial number"), "serial number", range(_MAX_SERIAL + 1)),
        "origin": tuple(name for bit, name in _ORIGINS.items() if origin & bit),
        "domains": f"{_bits(_required(found, 4, 'domains'), 'domains', 16):04x}",
        "capabilities": f"{capabilities:016x}",
        "object_id": _der(int, _required(found, 6, "object id"), "object id", range(0x10000)),
    }
    if 9 in found:
        claims["label"] = _der(str, found[9], "label")
    return claims | {
        "local": origin == 0x01,
        "extractable": bool(capabilities & _EXPORTABLE_UNDER_WRAP),
        "simulated": arc == oids.PRIVATE_HSM,
    }


def _vendor_extensions(
    certificate: x509.Certificate, *arcs: str, required: bool = True
) -> tuple[str, Mapping[int, bytes]]:
    """Return the arc and its extensions' bytes by number. Those with a number that has no meaning are left alone."""
    found: dict[str, dict[int, bytes]] = {}
    for extension in certificate.extensions:
        arc, _, number = extension.oid.dotted_string.rpartition(".")
        if arc in arcs and isinstance(extension.value, x509.UnrecognizedExtension):
            found.setdefault(arc, {})[int(number)] = extension.value.value
    if len(found) > 1:
        raise _refused("vendor extensions of two arcs in one certificate")
    if not found:
        if required:
            raise _refused("the attested key's certificate has no attestation extensions")
        return "", {}
    return next(iter(found.items()))


def _required(found: Mapping[int, bytes], number: int, name: str) -> bytes:
    if number not in found:
        raise _refused(f"the attestation does not tell the {name}")
    return found[number]


def _firmware(value: bytes) -> str:
    if len(value) != 3:
        raise _refused("the firmware version is not three bytes")
    return ".".join(map(str, value))


def _form_factor(value: bytes) -> str:
    if len(value) != 1:
        raise _refused("the form factor is not one byte")
    # The upper bits say FIPS and Security Key, which have claims and models of their own.
    return _FORM_FACTORS.get(value[0] & 0x3F, f"0x{value[0]:02x}")


def _slot(leaf: x509.Certificate) -> str:
    names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = names[0].value if len(names) == 1 else ""
    match = _PIV_SUBJECT.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1], 16) not in _PIV_SLOTS:
        raise _refused("the subject of the attested key's certificate names no PIV slot")
    return match[1].lower()


def _bits(value: bytes, name: str, size: int) -> int:
    """Return a BIT STRING of up to `size` bits as the number whose bytes it holds."""
    bits = _der(asn1.BitString, value, name)
    if len(bits.as_bytes()) * 8 > size or bits.padding_bits():
        raise _refused(f"the {name} are not at most {size} bits in whole bytes")
    return int.from_bytes(bits.as_bytes())


def _der(kind: type[T], value: bytes, name: str, allowed: Any = None) -> T:  # noqa: ANN401  # anything with `in`
    decode: Callable[[type[T], bytes], T] = asn1.decode_der
    try:
        found = decode(kind, value)
    except ValueError:
        raise _refused(f"the {name} is not in DER as it should be") from None
    if allowed is not None and found not in allowed:
        raise _refused(f"the {name} is outside its range")
    return found


def _refused(detail: str) -> EvidenceRefusal:
    return EvidenceRefusal(EvidenceCheck.EXTENSION, detail)
