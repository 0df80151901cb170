"""Several processes on one port, and the one that looks after them.

Each worker has a listening socket of its own on the port, among which the kernel spreads the connections; this process
holds them all, so that connections to a worker that died wait for its successor instead of being reset. It serves
nothing itself. Workers stop when they are told to, or when it is gone.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from fidoloop.server.errors import ListenError

BACKLOG = 2048
AGAIN_SECONDS = 1.0
"""A worker that ended before it served is made anew after so long."""
GRACE_SECONDS = 5.0
"""Workers have so long beyond their own limit to stop; then they are killed."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_log = logging.getLogger("fidoloop.server")


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker is given: its number from 0 on, its socket, and how it says that it serves (and its lab console).

    `parent_gone`, a file descriptor, becomes readable when nobody looks after it any more; None where nobody does.
    """

    number: int
    listener: socket.socket
    parent_gone: int | None
    started: Callable[[str | None], None]


Serve = Callable[[Worker], None]


def listen_together(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on one port; 0 picks a free one. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found: list[socket.socket] = []
    try:
        if count > 1 and port:
            # Sockets that share a port would share it with those of a server that runs already.
            socket.create_server((host, port), family=family).close()
        for _ in range(count):
            found.append(
                socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=count > 1),
            )
            port = found[0].getsockname()[1]
    except OSError as error:
        for listener in found:
            listener.close()
        raise ListenError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return found


def supervise(
    listeners: Sequence[socket.socket], serve: Serve, *, announce: Callable[[], None], stop_seconds: float
) -> None:
    """Have a worker `serve` each of `listeners` until SIGTERM or SIGINT; one that dies is replaced.

    `announce` is called when all serve for the first time. SIGHUP is passed on.
    """
    with _Wakeups() as wakeups:
        _Supervisor(listeners, serve, wakeups, announce, stop_seconds).run()


class _Wakeups:
    """Signals and workers' words as things to select on."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.signals, self._signals_end = socket.socketpair()
        self.ready, self.ready_end = os.pipe()
        self.alive, self._alive_end = os.pipe()
        self._former: dict[int, object] = {}

    def __enter__(self) -> "_Wakeups":
        for end in (self.signals, self._signals_end):
            end.setblocking(False)
        os.set_blocking(self.ready, False)
        self.selector.register(self.signals, selectors.EVENT_READ)
        self.selector.register(self.ready, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._signals_end.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, former in self._former.items():
            signal.signal(number, former)  # type: ignore[arg-type]  # what it gave us itself
        self.selector.close()
        self.signals.close()
        self._signals_end.close()
        for end in (self.ready, self.ready_end, self.alive, self._alive_end):
            os.close(end)

    def wait(self, seconds: float | None) -> tuple[bytes, bytes]:
        """Return the signals that came, and the numbers of workers that said they serve."""
        self.selector.select(seconds)
        return _drained(lambda: self.signals.recv(4096)), _drained(lambda: os.read(self.ready, 4096))

    def become_worker(self) -> None:
        """In a worker: leave everything of the supervisor's but the two pipes' ends that are a worker's."""
        signal.set_wakeup_fd(-1)
        # Until its loop takes signals itself, SIGTERM unwinds.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        self.signals.close()
        self._signals_end.close()
        os.close(self.ready)
        os.close(self._alive_end)


def _drained(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except BlockingIOError:
        return b""


@dataclass
class _Supervisor:
    listeners: Sequence[socket.socket]
    serve: Serve
    wakeups: _Wakeups
    announce: Callable[[], None]
    stop_seconds: float
    pids: dict[int, int] = field(default_factory=dict)
    """Numbers of workers by process id."""
    serving: set[int] = field(default_factory=set)
    """Numbers of those that said they serve."""
    missing: dict[int, float] = field(default_factory=dict)
    """When the workers of these numbers are to be made, by the monotonic clock."""
    announced: bool = False
    deadline: float | None = None
    """When workers that still run are killed."""

    def run(self) -> None:
        self.missing = dict.fromkeys(range(len(self.listeners)), 0.0)
        try:
            while self.pids or self.deadline is None:
                if self.deadline is None:
                    self._make_missing()
                signals, ready = self.wakeups.wait(self._patience())
                self._take_ready(ready)
                self._take_signals(signals)
                self._reap()
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    _log.error("workers that did not stop in time are killed")
                    self._tell(signal.SIGKILL)
                    self.deadline += GRACE_SECONDS
        finally:
            self._tell(signal.SIGKILL)

    def _make_missing(self) -> None:
        now = time.monotonic()
        for number in [number for number, at in self.missing.items() if at <= now]:
            del self.missing[number]
            self.pids[self._fork(number)] = number

    def _fork(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back, so that none finds the new process with handlers that are not its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                self._work(number)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _work(self, number: int) -> NoReturn:
        """Serve, in a process that is left without unwinding what is the supervisor's."""
        code = 1
        try:
            self.wakeups.become_worker()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # Out of the terminal's group: what is typed there reaches the supervisor, who passes it on.
            os.setpgid(0, 0)
            for other in self.listeners:
                if other is not self.listeners[number]:
                    other.close()
            # A socket object of its own, of the same open socket.
            listener = self.listeners[number].dup()
            self.listeners[number].close()
            started = self.wakeups.ready_end
            self.serve(Worker(number, listener, self.wakeups.alive, lambda _: _say(started, number)))
            code = 0
        except KeyboardInterrupt:
            code = 0
        except Exception:  # noqa: BLE001 - whatever it is, the supervisor makes another
            _log.exception("worker %d cannot serve", number)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def _patience(self) -> float | None:
        until = self.deadline if self.deadline is not None else min(self.missing.values(), default=None)
        return None if until is None else max(0.0, until - time.monotonic())

    def _take_ready(self, numbers: bytes) -> None:
        self.serving.update(numbers)
        if not self.announced and len(self.serving) == len(self.listeners):
            self.announced = True
            self.announce()

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._tell(signal.SIGHUP)
            elif number in {signal.SIGTERM, signal.SIGINT}:
                if self.deadline is None:
                    self.deadline = time.monotonic() + self.stop_seconds + GRACE_SECONDS
                    for listener in self.listeners:
                        listener.close()
                self._tell(number)

    def _reap(self) -> None:
        for pid in list(self.pids):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            number = self.pids.pop(pid)
            if self.deadline is not None:
                continue
            code = os.waitstatus_to_exitcode(status)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            _log.error("worker %d (process %d) ended by %s; another takes its place", number, pid, how)
            wait = 0.0 if number in self.serving else AGAIN_SECONDS
            self.serving.discard(number)
            self.missing[number] = time.monotonic() + wait

    def _tell(self, number: int) -> None:
        for pid in self.pids:
            # Not reaped yet, so the id is still this worker's.
            os.kill(pid, number)


def _say(pipe: int, number: int) -> None:
    os.write(pipe, bytes((number,)))
