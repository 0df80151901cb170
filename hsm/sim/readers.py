"""What PC/SC says about the readers virtual cards are in; pyscard is imported when it is wanted."""

import time
from collections.abc import Mapping
from typing import Any

_PATIENCE = 10.0
_COUNTER = 16


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


def events() -> dict[str, int]:
    """Return how many cards PC/SC has seen come and go, by reader; nothing where no pcscd runs.

    Where the system starts pcscd on demand, its readers are there afterwards.
    """
    try:
        with _Context() as context:
            return {name: state >> _COUNTER for name, (state, _) in _readers(context).items()}
    except ConnectionError:
        return {}


def reader_with(atr: bytes, before: Mapping[str, int], *, slot: int, timeout: float = 2.0) -> str | None:
    """Return the name of the reader into which a card with this ATR came after `before`, what `events` said.

    Waits for it up to `timeout` seconds: a reader powers a card before PC/SC tells of it. Of several it is the one
    numbered `slot`. None where there is none, or no PC/SC: the card may be in a reader of another pcscd.
    """
    from smartcard import scard

    deadline = time.monotonic() + timeout
    try:
        with _Context() as context:
            while readers := _readers(context):
                new = [
                    name
                    for name, (state, its_atr) in readers.items()
                    if its_atr == atr and state >> _COUNTER != before.get(name)
                ]
                for name in new:
                    if len(new) == 1 or name.endswith(f" {slot:02d}"):
                        return name
                left = max(0, int((deadline - time.monotonic()) * 1000))
                known = [(name, state) for name, (state, _) in readers.items()]
                result, _ = scard.SCardGetStatusChange(context, left, known)
                if result != scard.SCARD_S_SUCCESS or not left:
                    break
    except ConnectionError:
        pass
    return None


def _readers(context: Any) -> dict[str, tuple[int, bytes]]:  # noqa: ANN401 - pyscard has no types
    """Return the state, whose upper half counts cards coming and going (pcsc-lite), and the ATR by reader."""
    from smartcard import scard

    result, names = scard.SCardListReaders(context, [])
    if result != scard.SCARD_S_SUCCESS:
        return {}
    _, states = scard.SCardGetStatusChange(context, 0, [(name, scard.SCARD_STATE_UNAWARE) for name in names])
    return {name: (state, bytes(atr)) for name, state, atr in states}


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
