"""apdu-virtual-card: commands a second through pyscard, pcscd and vpcd to the virtual card, against what is wanted."""

import datetime
import statistics
from contextlib import ExitStack

from smartcard import scard

from bench.apart import report
from bench.measure import ROUNDS, Row, rate
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd

GET_CHUID = list(bytes.fromhex("00cb3fff055c035fc10200"))
WANTED_RATE = 1000.0


def run() -> list[Row]:
    """Measure GET DATA of an object of 61 bytes, card and host in this process."""
    with ExitStack() as opened:
        pcscd = opened.enter_context(PrivatePcscd())
        opened.enter_context(pcscd.use())
        factory = Factory.create(now=datetime.datetime.now(datetime.UTC))
        reader = opened.enter_context(LabCard(pcscd, factory)).reader
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        opened.callback(scard.SCardReleaseContext, context)
        result, card, _ = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
        assert result == scard.SCARD_S_SUCCESS

        def transmit() -> object:
            return scard.SCardTransmit(card, scard.SCARD_PCI_T1, GET_CHUID)

        value = statistics.median(rate(transmit, 0.2) for _ in range(ROUNDS))
    ratio = round(value / WANTED_RATE, 3)
    return [Row("apdu-virtual-card", round(value, 1), "1/s", WANTED_RATE, ratio, wanted=1.0)]


if __name__ == "__main__":
    report(run())
