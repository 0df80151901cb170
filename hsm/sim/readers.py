"""What PC/SC says about the readers virtual cards are in; pyscard is imported when it is wanted."""

import contextlib
import time
from typing import Any

_PATIENCE = 10.0


def wait_for_card(reader: str, *, present: bool, timeout: float = _PATIENCE) -> None:
    """Wait until PC/SC knows that there is a card in this reader, or that there is none.

    Raises:
        TimeoutError: it does not within `timeout` seconds.
    """
    from smartcard import scard

    with _Context() as context:
        state = scard.SCARD_STATE_UNAWARE
        deadline = time.monotonic() + timeout
        while True:
            left = max(0, int((deadline - time.monotonic()) * 1000))
            result, states = scard.SCardGetStatusChange(context, left, [(reader, state)])
            if result != scard.SCARD_S_SUCCESS:
                raise TimeoutError(f"reader {reader}: {scard.SCardGetErrorMessage(result)}")
            state = states[0][1]
            if bool(state & scard.SCARD_STATE_PRESENT) == present:
                return


def reader_with(atr: bytes, slot: int) -> str | None:
    """Return the name of the reader that has a card with this ATR, the one of `slot` where there are several.

    None where no reader has it, or PC/SC is not at hand: another pcscd may be the one that was given the card.
    """
    from smartcard import scard

    try:
        with _Context() as context:
            result, names = scard.SCardListReaders(context, [])
            if result != scard.SCARD_S_SUCCESS:
                return None
            unaware = [(name, scard.SCARD_STATE_UNAWARE) for name in names]
            _, states = scard.SCardGetStatusChange(context, 0, unaware)
    except ConnectionError:
        return None
    found = [name for name, _, its_atr in states if bytes(its_atr) == atr]
    return next((name for name in found if len(found) == 1 or name.endswith(f" {slot:02d}")), None)


def wake_pcscd() -> None:
    """Say hello to pcscd: where the system starts it on demand, its readers are there afterwards."""
    with contextlib.suppress(ConnectionError), _Context():
        pass


class _Context:
    """A PC/SC context; raises ConnectionError where no pcscd runs."""

    def __enter__(self) -> Any:  # noqa: ANN401 - pyscard has no types
        from smartcard import scard

        result, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        if result != scard.SCARD_S_SUCCESS:
            raise ConnectionError(scard.SCardGetErrorMessage(result))
        return self._context

    def __exit__(self, *_error: object) -> None:
        from smartcard import scard

        scard.SCardReleaseContext(self._context)
