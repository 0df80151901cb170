"""The key store of a PIV card."""

import builtins
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from fidoloop.hsm.errors import (
    KeyExists,
    KeyGone,
    KeyRefused,
    KeyStoreError,
    ManagementKeyIncorrect,
    ModuleError,
    NotSupported,
    PinRequired,
)
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyInfo, KeyStore, KeyUsage, MacKey, TokenInfo
from fidoloop.hsm.piv import application as piv
from fidoloop.hsm.piv import slots
from fidoloop.hsm.piv.apdu import StatusError
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.attest import attest_by_card
from fidoloop.hsm.piv.card import Pin, release
from fidoloop.hsm.piv.connection import GENERATE_LIMIT
from fidoloop.hsm.piv.container import DELETED, Container, Mark, read_container
from fidoloop.hsm.piv.directory import Directory, Entry, adopted_id, algorithm_of
from fidoloop.hsm.piv.discovery import lease_card
from fidoloop.hsm.piv.generate import FITTING, MAX_LABEL, make_key, placeholder_certificate, prove, slots_to_try
from fidoloop.hsm.piv.keys import REFERENCES, KeyUse, PivEcKey, PivRsaKey, hardware_key
from fidoloop.hsm.piv.management_key import AES128, TRIPLE_DES, ManagementKey, management_key
from fidoloop.hsm.piv.pcsc import ConnectionLost
from fidoloop.hsm.piv.slots import Slot, slot_named
from fidoloop.hsm.piv.uri import PivUri
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.evidence.values import Evidence
from fidoloop.protocol.jose import PublicKey

T = TypeVar("T")
_SIMULATED: Final = "fidoloop "
"""The beginning of the application labels of this project's own simulated cards."""
_MECHANISMS: Final = frozenset(
    (
        "ECDSA",
        "ECDH1_DERIVE",
        "RSA_X_509",
        "RSA_PKCS",
        "RSA_PKCS_PSS",
        "RSA_PKCS_OAEP",
        "EC_KEY_PAIR_GEN",
        "RSA_PKCS_KEY_PAIR_GEN",
    )
)


class PivKeyStore(KeyStore):
    """See `KeyStore`. Keys are found by the marks in their slots' certificate containers, see `container`.

    Making, certifying and deleting keys takes the card's management key, which is asked for when it is needed.
    A PIV card makes no MACs: `mac_key` is None.
    """

    def __init__(self, uri: PivUri, pin: Callable[[str], str | None]) -> None:
        """Open the card and verify the PIN; `pin` is asked for it, once, with the card's label."""
        self.uri = str(uri)
        self._parsed = uri
        self._card = lease_card(uri)
        self._open = True
        self._directory = Directory()
        self._keys: dict[bytes, PivEcKey | PivRsaKey] = {}
        self._places: dict[bytes, str] = {}
        try:
            self._pin = Pin(_ask(pin, self._label()))
            self.run("logging in", lambda _: None)
        except BaseException:
            self.close()
            raise

    def info(self) -> TokenInfo:
        """Describe the card."""
        self._check_open()
        identity = self._card.identity
        assert identity is not None
        return TokenInfo(
            kind="piv",
            label=self._label(),
            manufacturer="",
            model="PIV",
            serial=identity.serial,
            firmware=identity.version,
            hardware=not identity.label.startswith(_SIMULATED),
            mechanisms=_MECHANISMS,
            algorithms=frozenset(REFERENCES),
        )

    def generate(
        self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str, place: str = ""
    ) -> HardwareKey:
        """Make a key pair in a free slot, or the one at `place`; see `KeyStore.generate`.

        A card that tells must say that it made the key; every card must show that it holds the private key.
        """
        if (algorithm, usage) not in FITTING:
            raise NotSupported(f"a {algorithm} key cannot be for {usage.name or 'nothing'}")
        if not key_id:
            raise ValueError("a key needs an id")
        mark = Mark(key_id, usage, placeholder=True)
        mark.encode()
        if len(label) > MAX_LABEL:
            raise NotSupported(f"a PIV card keeps labels of up to {MAX_LABEL} characters")

        def make(application: PivApplication) -> Entry:
            entries = {entry.slot.place: entry for entry in self._scan(application)}
            if key_id in self._places:
                raise KeyExists(f"a key with id {key_id.hex()} is on the card already")
            free = slots_to_try(entries, usage, place)
            self._card.connection.limit = GENERATE_LIMIT
            slot, public_key = make_key(application, self._directory, free, REFERENCES[algorithm])
            try:
                return self._finish(application, slot, public_key, mark, label)
            except BaseException:
                self._destroy_quietly(application, slot)
                raise

        return self._keep(self._administer("generating a key", make))

    def key(self, key_id: bytes) -> HardwareKey:
        """Open the key with this id. Raises KeyGone, NotSupported."""
        known = self._keys.get(key_id)
        if known is not None:
            self._check_open()
            return known
        return self._keep(self.run("opening a key", lambda application: self._entry(application, key_id)))

    def list(self) -> builtins.list[KeyInfo]:
        """Return the keys, sorted by id; a slot whose container another program wrote has the key's hash for an id."""
        entries = self.run("listing keys", self._scan)
        return sorted((entry.key for entry in entries if entry.key is not None), key=lambda info: info.key_id)

    def delete(self, key_id: bytes) -> None:
        """Destroy the key and empty its container. Raises KeyGone if there is none.

        A card that cannot destroy a key makes a new one in its place, and the slot is marked as free.
        """
        self._keys.pop(key_id, None)
        self._administer(
            "deleting a key",
            lambda application: self._destroy(application, self._entry(application, key_id).slot),
        )
        self._places.pop(key_id, None)

    def put_certificate(self, key_id: bytes, der: bytes, label: str) -> None:
        """Store an X.509 certificate in place of one that was there; the key's label is the certificate's from then on.

        Raises ValueError for broken DER, and for a certificate of another key.
        """
        certificate = load_certificate(der)

        def put(application: PivApplication) -> None:
            entry = self._entry(application, key_id)
            assert entry.key is not None
            if certificate.public_key() != entry.key.public_key:
                raise ValueError(f"the certificate is not for the key {key_id.hex()}")
            self._write(application, entry.slot, (entry.container or Container(None)).with_certificate(der))

        self._administer("storing a certificate", put)
        self._keys.pop(key_id, None)

    def certificate(self, key_id: bytes) -> bytes | None:
        """Return the X.509 certificate (DER) stored for this key, or None."""

        def read(application: PivApplication) -> bytes | None:
            entry = self._find(application, key_id)
            return None if entry is None else entry.certificate

        return self.run("reading a certificate", read)

    def attestation(self, key_id: bytes) -> tuple[bytes, bytes] | None:
        """Return what the card attests (DER): a certificate for this key, and that of the attestation key F9.

        None where the card has no attestation, or did not make the key itself. Raises KeyGone.
        """

        def read(application: PivApplication) -> tuple[bytes, bytes] | None:
            slot = self._entry(application, key_id).slot
            try:
                statement = application.attest(slot.reference)
                content = application.get_data(slots.ATTESTATION_CERTIFICATE)
            except StatusError as error:
                if error.sw in piv.UNKNOWN_INSTRUCTION:
                    return None
                raise
            try:
                issuer = read_container(content).certificate if content else None
            except ValueError:
                issuer = None
            return None if statement is None or issuer is None else (statement, issuer)

        return self.run("attesting a key", read)

    def attest(self, key_id: bytes, nonce: bytes) -> Evidence:
        """Return the card's attestation of the key; see `KeyStore.attest`."""
        return attest_by_card(self.attestation(key_id), self.key(key_id), nonce)

    def mac_key(self, key_id: bytes, label: str, *, make: bool = True) -> MacKey | None:
        """Return None: PIV cards make no MACs."""
        if not key_id:
            raise ValueError("a key needs an id")
        self._check_open()
        return None

    def verify_pin(self, pin: str) -> None:
        """Ask the card whether this is the PIN; see `KeyStore.verify_pin`. One that was refused is not sent again."""

        def verify(_: PivApplication) -> None:
            self._card.verify(self._pin, pin)
            self._pin.text = pin

        self._check_open()
        self._card.run("checking the PIN", verify)

    def random(self, n: int) -> bytes:
        """Return `n` random bytes made by the card: challenges that it would have the management key answer."""
        if n < 0:
            raise ValueError("a number of bytes is not negative")

        def draw(application: PivApplication) -> bytes:
            algorithm = application.management_algorithm()
            for candidate in (TRIPLE_DES, AES128) if algorithm is None else (algorithm,):
                try:
                    drawn = application.challenge(candidate)
                    break
                except StatusError as error:
                    refused = error
            else:
                raise refused
            while len(drawn) < n:
                drawn += application.challenge(candidate)
            return drawn[:n]

        return self.run("making random bytes", draw) if n else b""

    def close(self) -> None:
        """Log out and give the card back; keys of this store stop working."""
        if self._open:
            self._open = False
            release(self._card)

    @property
    def session(self) -> int:
        """Number of the card's transaction, see `Door`."""
        return self._card.connection.session

    def run(self, doing: str, operation: Callable[[PivApplication], T]) -> T:
        """Run an operation on the card, logged in, see `Door`."""
        if not self._open:
            self._check_open()
        return self._card.run(doing, operation, pin=self._pin)

    def log_in(self) -> None:
        """Send the PIN, within an operation, see `Door`."""
        self._card.log_in(self._pin)

    def check_key(self, key_id: bytes) -> None:
        """Raise KeyGone where the key is not on the card any more, see `Door`."""
        self.run("looking for a key", lambda application: self._entry(application, key_id))

    def _administer(self, doing: str, operation: Callable[[PivApplication], T]) -> T:
        """Run an operation that wants the management key; it is not repeated."""
        self._check_open()
        key = management_key(self._parsed)

        def administer(application: PivApplication) -> T:
            _authenticate(application, key)
            return operation(application)

        return self._card.run(doing, administer, pin=self._pin, fresh=True)

    def _scan(self, application: PivApplication) -> builtins.list[Entry]:
        entries = builtins.list(self._directory.entries(application))
        self._places = {entry.key.key_id: entry.slot.place for entry in entries if entry.key is not None}
        return entries

    def _find(self, application: PivApplication, key_id: bytes) -> Entry | None:
        place = self._places.get(key_id)
        if place is not None:
            entry = self._directory.entry(application, slot_named(place))
            if entry.key is not None and entry.key.key_id == key_id:
                return entry
        found = (entry for entry in self._scan(application) if entry.key is not None and entry.key.key_id == key_id)
        return next(found, None)

    def _entry(self, application: PivApplication, key_id: bytes) -> Entry:
        entry = self._find(application, key_id)
        if entry is None:
            raise KeyGone(f"no key with id {key_id.hex()} is on the card")
        return entry

    def _finish(self, application: PivApplication, slot: Slot, public_key: PublicKey, mark: Mark, label: str) -> Entry:
        """Prove the key just made, write its container, and read everything back."""
        self._directory.forget(slot)
        usage = mark.usage
        assert usage is not None
        provisional = self._directory.entry(application, slot)
        ours = self._directory.made_by_card(application, slot, public_key)
        if not ours and self._directory.tells_origins():
            raise KeyRefused("the card does not say that it made this key itself")
        signer = self._signer(public_key, provisional)
        try:
            prove(signer, usage)
            certificate = placeholder_certificate(signer, label, usage)
        except KeyGone:
            raise KeyRefused("the card does not hold the private key of the public key it gave") from None
        self._write(application, slot, Container(certificate, mark.encode()))
        entry = self._directory.entry(application, slot)
        if entry.key is None or (entry.key.key_id, entry.key.usage) != (mark.key_id, usage):
            raise KeyRefused("the card does not keep what belongs to the key (MSCUID in its certificate container)")
        return entry

    def _signer(self, public_key: PublicKey, entry: Entry) -> PivEcKey | PivRsaKey:
        """Return the new key as one that may sign its placeholder and prove itself, whatever it is made for."""
        algorithm = algorithm_of(public_key)
        if algorithm is None:
            raise KeyRefused("the card made a key of another kind than was asked for")
        info = KeyInfo(
            key_id=adopted_id(public_key),
            label="",
            algorithm=algorithm,
            usage=KeyUsage.SIGN | KeyUsage.DERIVE | KeyUsage.DECRYPT,
            public_key=public_key,
            sensitive=False,
            extractable=True,
            never_extractable=False,
            local=False,
            place=entry.slot.place,
            pin_always=entry.pin_always,
        )
        return hardware_key(KeyUse(self, info), info)

    def _write(self, application: PivApplication, slot: Slot, container: Container) -> None:
        application.put_data(slot.certificate_object, container.encode())

    def _destroy(self, application: PivApplication, slot: Slot) -> None:
        self._directory.forget(slot)
        try:
            application.delete_key(slot.reference)
        except StatusError as error:
            if error.sw not in piv.UNKNOWN_INSTRUCTION:
                raise
            application.generate(slot.reference, piv.P256)
            self._write(application, slot, Container(None, DELETED.encode()))
        else:
            application.put_data(slot.certificate_object, b"")

    def _destroy_quietly(self, application: PivApplication, slot: Slot) -> None:
        """Remove a half-made key; the failure that led here is what the caller has to see."""
        with suppress(KeyStoreError, StatusError, ConnectionLost):
            self._destroy(application, slot)

    def _keep(self, entry: Entry) -> PivEcKey | PivRsaKey:
        info = entry.key
        assert info is not None
        self._places[info.key_id] = info.place
        key = self._keys[info.key_id] = hardware_key(KeyUse(self, info), info)
        return key

    def _label(self) -> str:
        identity = self._card.identity
        assert identity is not None
        return identity.label or f"PIV card {identity.serial}".rstrip()

    def _check_open(self) -> None:
        if not self._open:
            raise ModuleError("this key store was closed")


def _authenticate(application: PivApplication, key: ManagementKey) -> None:
    """Prove knowledge of the management key, with the algorithm that the card has for it."""
    for algorithm in key.algorithms(application.management_algorithm()):
        try:
            application.authenticate(key, algorithm)
        except StatusError:
            continue  # not an algorithm of this card's
        return
    raise ManagementKeyIncorrect("the card's management key is of another kind")


def _ask(pin: Callable[[str], str | None], label: str) -> str:
    given = pin(label)
    if given is None:
        raise PinRequired(f"the card {label!r} wants a PIN: give pin-source in the URI, or the PIN when asked")
    return given
