"""What the TSS's transports answer, as they do when all is not well."""

import ctypes
from collections.abc import Callable, Iterator

import pytest

from fidoloop.hsm.errors import DeviceTimeout, KeyStoreError, ModuleError, NotSupported, TokenAbsent
from fidoloop.hsm.tpm import transport
from fidoloop.hsm.tpm.transport import TIMEOUT_MILLISECONDS, TpmConnection

OK, BAD_VALUE, TRY_AGAIN, IO_ERROR = 0, 0xA000B, 0xA0009, 0xA000A
ANSWER = b"an answer"


class Scripted:
    """A transport whose calls return these codes, in order; the last is followed by an answer."""

    def __init__(self, *receive: int, transmit: int = OK) -> None:
        self.sent: list[bytes] = []
        self.timeouts: list[int] = []
        codes: Iterator[int] = iter(receive)

        def transmitted(_context: object, size: int, command: object) -> int:
            self.sent.append(ctypes.string_at(command, size))  # type: ignore[arg-type]
            return transmit

        def received(_context: object, size: object, response: object, timeout: int) -> int:
            self.timeouts.append(timeout)
            code = next(codes)
            if code == OK:
                ctypes.memmove(response, ANSWER, len(ANSWER))  # type: ignore[arg-type]
                size[0] = len(ANSWER)  # type: ignore[index]
            return code

        self._kept = (transport._Transmit(transmitted), transport._Receive(received))
        self._context = transport._Context(0, 1, *self._kept)

    def connection(self) -> TpmConnection:
        found = TpmConnection.__new__(TpmConnection)
        found._context = ctypes.pointer(self._context)
        return found


def test_a_command_goes_and_its_answer_comes_within_a_time_limit() -> None:
    scripted = Scripted(OK)
    assert scripted.connection().run(b"a command\0with a zero") == ANSWER
    assert scripted.sent == [b"a command\0with a zero"]
    assert scripted.timeouts == [TIMEOUT_MILLISECONDS]


def test_a_transport_that_can_only_wait_is_waited_for() -> None:
    scripted = Scripted(BAD_VALUE, OK)
    assert scripted.connection().run(b"a command") == ANSWER
    assert scripted.timeouts == [TIMEOUT_MILLISECONDS, -1]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Scripted(TRY_AGAIN), DeviceTimeout),
        (lambda: Scripted(IO_ERROR), ModuleError),
        (lambda: Scripted(transmit=IO_ERROR), TokenAbsent),
    ],
    ids=["silence", "broken answer", "takes nothing"],
)
def test_a_tpm_that_does_not_answer_is_an_error_of_the_family(
    make: Callable[[], Scripted], error: type[KeyStoreError]
) -> None:
    scripted = make()
    with pytest.raises(error):
        scripted.connection().run(b"a command")


def test_a_machine_without_the_tss_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LIBRARY", "libno-such-thing.so.0")
    with pytest.raises(NotSupported, match="apt install"):
        TpmConnection(None)
