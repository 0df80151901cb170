"""The host's side of a card in tests: commands in, status words and data out, without a reader in between."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fidoloop.hsm.piv.tlv import encode, only
from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.registry import Algorithm, Ins
from fidoloop.hsm.sim.piv.state import StateStore
from fidoloop.hsm.sim.piv_card import piv_card

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PIN, PUK = b"123456\xff\xff", b"12345678"
MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")


@dataclass
class Host:
    """Talks to a card."""

    card: Card
    store: StateStore

    def send(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", *, le: int | None = 0) -> tuple[int, bytes]:
        """Send a command, in a chain where it is long; return status word and the whole answer."""
        *parts, last = list(_parts(data)) or [b""]
        for part in parts:
            answer = self.card.transmit(bytes([0x10, ins, p1, p2, len(part)]) + part)
            if answer != b"\x90\x00":
                return int.from_bytes(answer[-2:]), b""
        raw = bytes([0, ins, p1, p2]) + (bytes([len(last)]) + last if last else b"")
        answer = self.card.transmit(raw if le is None else raw + bytes([le]))
        whole = answer[:-2]
        while answer[-2] == 0x61:
            answer = self.card.transmit(bytes([0, 0xC0, 0, 0, answer[-1]]))
            whole += answer[:-2]
        return int.from_bytes(answer[-2:]), whole

    def ok(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"") -> bytes:
        """Send a command that succeeds and return its answer."""
        status, answer = self.send(ins, p1, p2, data)
        assert status == 0x9000, f"{status:04X}"
        return answer

    def status(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"") -> int:
        """Send a command and return its status word."""
        return self.send(ins, p1, p2, data)[0]

    def verify(self, pin: bytes = PIN) -> int:
        return self.status(Ins.VERIFY, 0, 0x80, pin)

    def authenticate(self, key: bytes = MANAGEMENT_KEY, algorithm: int = Algorithm.TDES) -> int:
        """Authenticate by the management key, one-sided."""
        challenge = only(only(self.ok(Ins.GENERAL_AUTHENTICATE, algorithm, 0x9B, b"\x7c\x02\x81\x00"), 0x7C), 0x81)
        response = encode(0x7C, encode(0x82, encrypt(key, algorithm, challenge)))
        return self.status(Ins.GENERAL_AUTHENTICATE, algorithm, 0x9B, response)

    def generate(self, slot: int, algorithm: int = Algorithm.P256, policies: bytes = b"") -> bytes:
        """Make a key; return its public key's data objects."""
        template = encode(0xAC, encode(0x80, bytes([algorithm])) + policies)
        return only(self.ok(Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, slot, template), 0x7F49)

    def use(
        self, slot: int, challenge: bytes, algorithm: int = Algorithm.P256, *, tag: int = 0x81
    ) -> tuple[int, bytes]:
        """Sign a digest (or, with tag 85, agree on a secret); return status word and result."""
        template = encode(0x7C, encode(0x82, b"") + encode(tag, challenge))
        status, answer = self.send(Ins.GENERAL_AUTHENTICATE, algorithm, slot, template)
        return status, only(only(answer, 0x7C), 0x82) if status == 0x9000 else b""


def encrypt(key: bytes, algorithm: int, block: bytes, *, decrypt: bool = False) -> bytes:
    """Encrypt one block by ECB."""
    cipher = Cipher(TripleDES(key) if algorithm == Algorithm.TDES else algorithms.AES(key), modes.ECB())  # noqa: S305
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(block) + context.finalize()


def new_host(factory: Factory | None = None, *, yubikey_shape: bool = False) -> Host:
    """Return a host with a new card."""
    factory = factory or Factory.create(now=NOW)
    store = StateStore(factory.personalise(now=NOW, yubikey_shape=yubikey_shape))
    return Host(piv_card(store), store)


def _parts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 255):
        yield data[start : start + 255]
