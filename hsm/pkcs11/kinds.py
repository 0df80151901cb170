"""What a token is, by what it says about itself, whichever module it is reached through; and what may be claimed of it.

Deny by default: nothing known to be software, or simulated, is called hardware whatever its flags say.
"""

from typing import Final

import pkcs11 as p11
from pkcs11 import SlotFlag

# TCG TPM Vendor ID Registry: those who make TPMs in silicon or firmware ...
_TPM_MAKERS = {"AMD", "ANT", "ATML", "BRCM", "CSCO", "FLYS", "HISI", "HPE", "HPI", "IFX", "INTC", "LEN"}
_TPM_MAKERS |= {"NSM", "NTC", "NTZ", "QCOM", "ROCC", "SEAL", "SMSC", "SMSN", "SNS", "STM", "TXN", "WEC"}
# ... and those whose TPMs of today are programs: libtpms and swtpm, simulators, clouds.
_VIRTUAL_TPMS: Final = {"AMZN", "GOOG", "IBM", "MSFT", "VMW", "XEN"}
_TPM_SERIAL: Final = b"0" * 16  # tpm2-pkcs11 has no other
_VIRTUAL_READERS: Final = ("Virtual PCD",)  # vsmartcard's


def kind_of(token: p11.Token) -> str:
    """Return "softhsm", "tpm", "nss", "opensc" or, for any other, "pkcs11"."""
    if token.manufacturer_id.startswith("SoftHSM") or token.model.startswith("SoftHSM"):
        return "softhsm"
    if token.model.startswith("NSS ") or token.manufacturer_id == "Mozilla Foundation":
        return "nss"
    if token.serial == _TPM_SERIAL and token.manufacturer_id in _TPM_MAKERS | _VIRTUAL_TPMS:
        return "tpm"
    return "opensc" if token.model.startswith("PKCS#15") else "pkcs11"


def is_hardware(token: p11.Token) -> bool:
    """Tell whether the token may be called hardware: it says so itself, and is not known to be a program."""
    if not token.slot.flags & SlotFlag.HW_SLOT or token.slot.slot_description.startswith(_VIRTUAL_READERS):
        return False
    match kind_of(token):
        case "softhsm" | "nss":
            return False
        case "tpm":
            return token.manufacturer_id in _TPM_MAKERS
        case _:
            return True
