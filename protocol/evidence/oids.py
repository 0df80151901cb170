"""Object identifiers of attestation: Yubico's, and a private arc of the same shape for devices that are simulated.

The private arc is a UUID's (X.667: 2.25.UUID), which needs no registration and can clash with nobody's.
"""

from typing import Final

from cryptography.x509 import ObjectIdentifier

PRIVATE_ARC: Final = "2.25.219279270015323757915772883477552941063"

YUBICO_PIV: Final = "1.3.6.1.4.1.41482.3"
YUBICO_HSM: Final = "1.3.6.1.4.1.41482.4"
PRIVATE_PIV: Final = f"{PRIVATE_ARC}.3"
"""What a simulated PIV card puts in place of `YUBICO_PIV`: same numbers below, same encodings."""
PRIVATE_HSM: Final = f"{PRIVATE_ARC}.4"

EVIDENCE: Final = f"{PRIVATE_ARC}.1"
"""id-evidence of draft-ietf-rats-pkix-key-attestation-07, which has no number yet ("TBDMOD3")."""
ATTESTATION_KEY_USAGE: Final = ObjectIdentifier(f"{PRIVATE_ARC}.2")
"""id-kp-attestationKey of the same draft ("TBDMOD2")."""
