"""A command in a thread of its own."""

import threading

import pytest
from fido2.ctap import STATUS

from fidoloop.authenticator.ctap2.running import RunningCommand

PATIENCE = 30


def test_the_host_hears_what_it_waits_for_and_then_the_answer() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def work(command: RunningCommand) -> bytes:
        command.waits_for(STATUS.UPNEEDED)
        asked.set()
        go_on.wait(PATIENCE)
        return b"answer"

    running = RunningCommand(work)
    assert asked.wait(PATIENCE)
    assert (running.status, running.is_over, running.wait(0), running.answer()) == (STATUS.UPNEEDED, False, False, None)
    go_on.set()
    assert running.wait(PATIENCE)
    assert (running.is_over, running.answer()) == (True, b"answer")


def test_it_is_called_off_by_whoever_holds_it() -> None:
    def work(command: RunningCommand) -> bytes:
        assert command.cancelled.wait(PATIENCE)
        return b"cancelled"

    running = RunningCommand(work)
    assert running.status is STATUS.PROCESSING
    running.cancelled.set()
    assert running.wait(PATIENCE)
    assert running.answer() == b"cancelled"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_ends_it_without_an_answer() -> None:
    def work(command: RunningCommand) -> bytes:
        raise ZeroDivisionError

    running = RunningCommand(work)
    assert running.wait(PATIENCE)
    assert running.answer() is None
