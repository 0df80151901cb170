"""ATTEST (Yubico, F9): a certificate that says which device made a key; made on the fly by the key in slot F9."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fidoloop.hsm.piv.tlv import TlvError
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.piv import private_keys
from fidoloop.hsm.sim.piv.keys import TOUCH_NEVER
from fidoloop.hsm.sim.piv.objects import certificate_in
from fidoloop.hsm.sim.piv.registry import ATTESTATION, ATTESTATION_CERTIFICATE, SLOTS, Origin
from fidoloop.hsm.sim.piv.state import CardState, StateStore, StoredKey
from fidoloop.protocol.certificates import UNREADABLE
from fidoloop.protocol.evidence import oids

_FORM_UNDEFINED = 0


class Attestation:
    """Attests keys made in the card; imported ones cannot be."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def attest(self, command: Command) -> bytes:
        """Return the certificate (DER) of the key in slot P1.

        Raises:
            ApduError: 6A88, there is no key; 6A80, it was imported; 6985, slot F9 or its certificate is unusable.
        """
        command.require(p2=0)
        command.without_data()
        if command.p1 not in SLOTS:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        state = self._store.state
        key = state.keys.get(command.p1)
        if key is None:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        if key.origin != Origin.GENERATED:
            raise ApduError(StatusWord.INCORRECT_DATA)
        try:
            issuer = x509.load_der_x509_certificate(certificate_in(state.objects.get(ATTESTATION_CERTIFICATE, b"")))
            return _certificate(state, issuer, command.p1, key)
        except (TlvError, KeyError, *UNREADABLE):
            # The host may have put anything into F9 and its object.
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED) from None


def _certificate(state: CardState, issuer: x509.Certificate, slot: int, key: StoredKey) -> bytes:
    maker = "YubiKey" if state.yubikey_shape else "fidoloop"
    arc = oids.YUBICO_PIV if state.yubikey_shape else oids.PRIVATE_PIV
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{maker} PIV Attestation {slot:x}")])
    size = (state.serial.bit_length() + 8) // 8
    values = {
        3: bytes(state.firmware),
        7: b"\x02" + bytes([size]) + state.serial.to_bytes(size),
        8: bytes([key.pin_policy, TOUCH_NEVER]),
        9: bytes([_FORM_UNDEFINED]),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(private_keys.from_pkcs8(key.private).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
    )
    for number, value in values.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{arc}.{number}"), value)
        builder = builder.add_extension(extension, critical=False)
    signer = private_keys.from_pkcs8(state.keys[ATTESTATION].private)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
