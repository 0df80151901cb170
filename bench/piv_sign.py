"""sign-piv: signatures a second with a key in the virtual PIV card, against the barest pyscard loop of that APDU."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from smartcard import scard

from bench.apart import report
from bench.measure import ROUNDS, Row, rate, row_of
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.lab_card import PIN
from fidoloop.pcscd import PrivatePcscd

DIGEST = bytes(32)
HEAD = bytes.fromhex("00871182267c2482008120")
WANTED = 0.85
SECONDS = 0.1


@contextmanager
def running_card(pcscd: PrivatePcscd, directory: Path) -> Iterator[str]:
    """A card in a process of its own, as a real one is no part of ours; its URI."""
    command = [sys.executable, "-m", "fidoloop", "card", "run", "--home", str(directory), "--port", str(pcscd.port)]
    command.append("--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["uri"]
        finally:
            process.terminate()


class BareLoop:
    """The least a program does for a signature over pyscard: the same command, no transaction, and r || s taken out."""

    def __init__(self, opened: ExitStack, reader: str) -> None:
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        opened.callback(scard.SCardReleaseContext, context)
        result, self._card, _ = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
        assert result == scard.SCARD_S_SUCCESS

    def wait(self) -> None:
        """Wait until the store's transaction has ended, which it does when nobody uses it."""
        scard.SCardBeginTransaction(self._card)
        scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD)

    def sign(self, digest: bytes) -> bytes:
        _, answer = scard.SCardTransmit(self._card, scard.SCARD_PCI_T1, list(HEAD + digest + b"\0"))
        r, s = decode_dss_signature(bytes(answer[4:-2]))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def run() -> list[Row]:
    """Measure a P-256 key in slot 82; the store's PIN verification is there for the bare loop too."""
    with ExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-bench-")))
        pcscd = opened.enter_context(PrivatePcscd())
        opened.enter_context(pcscd.use())
        uri = opened.enter_context(running_card(pcscd, directory))
        store = opened.enter_context(open_key_store(f"{uri}?management-key=default", pin=PIN))
        key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"bench", label="bench", place="82")
        assert isinstance(key, EcHardwareKey)
        bare = BareLoop(opened, pcscd.readers[0])
        pairs = []
        for _ in range(2 * ROUNDS + 1):
            subject = rate(lambda: key.sign_digest_raw(DIGEST), SECONDS)
            bare.wait()
            pairs.append((subject, rate(lambda: bare.sign(DIGEST), SECONDS)))
        return [row_of("sign-piv", pairs[1:], wanted=WANTED)]


if __name__ == "__main__":
    report(run())
