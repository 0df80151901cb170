"""A pcscd of one's own with virtual readers, for tests and demonstrations; needs neither root nor a free system pcscd.

Clients find it by the environment variable PCSCLITE_CSOCK_NAME, which libpcsclite reads **once in a process**:
`PrivatePcscd.use` therefore has to come before this process's first PC/SC call, and a process sees one pcscd.
Debian packages: pcscd, vsmartcard-vpcd.
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fidoloop.hsm.errors import ModuleError

SLOTS: Final = 2
"""Readers of one vpcd: fixed in Debian's build."""
_DRIVERS = ("/usr/lib/pcsc/drivers/serial/libifdvpcd.so", "/usr/local/lib/pcsc/drivers/serial/libifdvpcd.so")
_PORTS = range(20000, 32000)  # below those the kernel hands out
_ATTEMPTS = 20
SOCKET_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"
SOCKET_NAME: Final = "pcscd.comm"
_READY, _FAILED = "daemon ready", "Could not initialize connection"
# pcscd keeps its PID file in /run/pcscd whatever socket it is given: a directory of its own keeps it apart.
_RUN = """
exec 3<&0 0</dev/null
export LISTEN_FDS=1 LISTEN_PID=$$
exec setpriv --pdeathsig TERM pcscd --foreground --info --config "$0"
"""
_RUN_APART = f"""
[ -d /run/pcscd ] && at=/run/pcscd || at=/run
mount -t tmpfs tmpfs $at || exit
{_RUN}
"""


class PrivatePcscd:
    """A running pcscd with two virtual readers; a context manager. `stop` and `start` restart it at its address."""

    def __init__(self, directory: Path | None = None) -> None:
        """Start it, with its socket in `directory`, which is its own and goes with it, or in a new one.

        Raises:
            ModuleError: pcscd or the virtual reader driver is not installed or does not start.
        """
        self._driver = _find_driver()
        # Socket addresses hold 107 bytes: a directory of a test run may be longer.
        self._directory = directory or Path(tempfile.mkdtemp(prefix="fidoloop-pcscd-"))
        self.socket: Final = self._directory / SOCKET_NAME
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers, as PC/SC knows them; reader N listens for its card on `port` + N."""
        return tuple(f"Virtual PCD 00 {slot:02d}" for slot in range(SLOTS))

    def environment(self) -> dict[str, str]:
        """Return this process's environment with what makes a PC/SC client use this pcscd."""
        return os.environ | {SOCKET_VARIABLE: str(self.socket)}

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Make this process and its children use this pcscd; see the module's text on PCSCLITE_CSOCK_NAME."""
        before = os.environ.get(SOCKET_VARIABLE)
        os.environ[SOCKET_VARIABLE] = str(self.socket)
        try:
            yield
        finally:
            os.environ.pop(SOCKET_VARIABLE)
            if before is not None:
                os.environ[SOCKET_VARIABLE] = before

    def start(self) -> None:
        """Start pcscd again after `stop`: at the same socket and, where they are still free, the same ports."""
        if self._process is not None:
            raise RuntimeError("this pcscd is running")
        candidates = [self.port] if self.port else []
        candidates += random.sample(_PORTS, _ATTEMPTS)
        for port in candidates:
            if _free(port) and self._start_on(port):
                self.port = port
                return
        raise ModuleError("pcscd with the virtual reader driver does not start: no free ports")

    def stop(self, *, kill: bool = False) -> None:
        """End pcscd, by SIGKILL if `kill`; its readers and connections are gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait()
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """End pcscd and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_on(self, port: int) -> bool:
        """Start pcscd and read its log until it is ready; False where its ports are taken."""
        configuration = self._directory / "reader.conf"
        configuration.write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{port}\nLIBPATH {self._driver}\nCHANNELID {port}\n'
        )
        process = self._spawn(configuration)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if _READY in line or _FAILED in line:
                break
        # It writes on: a full pipe would stop it.
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        self._process = process
        if lines and _READY in lines[-1]:
            return True
        self.stop(kill=True)
        if lines and _FAILED in lines[-1]:
            return False
        raise ModuleError("pcscd does not start: " + "".join(lines[-3:]).strip())

    def _spawn(self, configuration: Path) -> subprocess.Popen[str]:
        # Socket activation, as systemd does it: pcscd takes the listening socket it finds as descriptor 3.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen(64)
            self.socket.chmod(0o600)
            apart = _apart()
            return subprocess.Popen(
                [*apart, "sh", "-c", _RUN_APART if apart else _RUN, str(configuration)],
                stdin=listener.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"},
            )


def _drain(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for _ in process.stdout:
            pass


def _find_driver() -> Path:
    for name in _DRIVERS:
        if Path(name).exists():
            return Path(name)
    raise ModuleError("the virtual reader driver is not installed (Debian: apt install pcscd vsmartcard-vpcd)")


def _free(port: int) -> bool:
    """Tell whether the ports of all slots can be listened on at all addresses, as vpcd does."""
    with contextlib.ExitStack() as opened:
        for slot in range(SLOTS):
            probe = opened.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port + slot))
            except OSError:
                return False
    return True


def _apart() -> list[str]:
    """Return the command that gives a program mounts of its own, [] where this machine does not allow that."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    try:
        return command if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0 else []
    except FileNotFoundError:
        return []
