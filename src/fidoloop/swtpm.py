"""A software TPM 2.0 with a PKCS#11 token, for demonstrations and tests: swtpm, tpm2-abrmd and tpm2-pkcs11.

The access broker runs on a D-Bus session bus of its own: nothing of the machine is touched. tpm2-pkcs11 reads from the
environment where its TPM and its tokens are, when it is initialised, so **one process sees one TPM**: starting one sets
the environment of this process (children inherit it), and stopping it sets it back.
"""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from fidoloop.hsm.errors import KeyStoreError, ModuleError
from fidoloop.hsm.uri import Pkcs11Uri
from fidoloop.processes import find_program, stop, wait_until

_MODULES = ("/usr/lib/*/pkcs11/libtpm2_pkcs11.so", "/usr/lib/*/libtpm2_pkcs11.so.1", "/usr/lib64/libtpm2_pkcs11.so.1")
_BROKER = "com.intel.tss2.Tabrmd"
_TCTI = "tabrmd:bus_type=session"


def find_tpm2_module() -> Path:
    """Return the path of libtpm2_pkcs11.so. Raises ModuleError."""
    for pattern in _MODULES:
        for path in sorted(Path("/").glob(pattern[1:])):
            return path
    raise ModuleError("tpm2-pkcs11 is not installed (Debian: apt install libtpm2-pkcs11-1)")


class SoftwareTpm:
    """A running software TPM; a context manager. `environment` is what programs need to use it."""

    def __init__(self, directory: Path) -> None:
        """Take the directory of its state and its PKCS#11 tokens; nothing runs before `start`."""
        self.environment: dict[str, str] = {}
        self._directory = directory
        self._opened = contextlib.ExitStack()

    def start(self) -> Self:
        """Start swtpm, a bus and the access broker, and wait until that answers. Raises ModuleError."""
        state, store = self._directory / "state", self._directory / "store"
        for directory in (state, store):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            # Of its own, because a socket's path has at most 107 bytes.
            sockets = opened.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-tpm-"))
            log = opened.enter_context((self._directory / "log").open("ab"))
            self._start_tpm(opened, state, f"{sockets}/tpm", log.fileno())
            bus = self._start_bus(opened, f"{sockets}/bus", log.fileno())
            self.environment = {
                "DBUS_SESSION_BUS_ADDRESS": bus,
                "TPM2TOOLS_TCTI": _TCTI,
                "TPM2_PKCS11_TCTI": _TCTI,
                "TPM2_PKCS11_STORE": str(store),
                "TPM2_PKCS11_LOG_LEVEL": "0",
                "TSS2_LOG": "all+none",
            }
            before = {name: os.environ.get(name) for name in self.environment}
            opened.callback(_restore, before)
            os.environ.update(self.environment)
            self._start_broker(opened, f"{sockets}/tpm", log.fileno())
            self._opened = opened.pop_all()
        return self

    def stop(self) -> None:
        """Stop everything; no error where it does not run."""
        self._opened.close()

    def make_token(self, label: str, pin: str, so_pin: str) -> str:
        """Make a PKCS#11 token in this TPM and return its URI with the PIN as pin-value.

        Raises:
            ModuleError: tpm2-pkcs11 or its tools are not installed.
            KeyStoreError: tpm2_ptool refused.
        """
        module = find_tpm2_module()
        tool = find_program("tpm2_ptool", "libtpm2-pkcs11-tools")
        if not (self._directory / "store" / "tpm2_pkcs11.sqlite3").exists():
            _run([tool, "init"])
        # The PINs of a token in a software TPM appear in the process list for a moment: there is no other way in.
        _run([tool, "addtoken", "--pid=1", f"--label={label}", f"--userpin={pin}", f"--sopin={so_pin}"])
        return Pkcs11Uri(token=label, module_path=str(module), pin_value=pin).unredacted()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_tpm(self, opened: contextlib.ExitStack, state: Path, socket: str, log: int) -> None:
        command = [find_program("swtpm", "swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={state}"]
        # The TSS looks for the control channel beside the other, under this name.
        channels = ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
        process = subprocess.Popen(
            [*command, *channels, "--flags", "not-need-init,startup-clear"], stdout=log, stderr=log
        )
        opened.callback(stop, process)
        wait_until(lambda: os.path.exists(f"{socket}.ctrl") and os.path.exists(socket), process, "swtpm")

    def _start_bus(self, opened: contextlib.ExitStack, socket: str, log: int) -> str:
        daemon = find_program("dbus-daemon", "dbus-daemon")
        process = subprocess.Popen(
            [daemon, "--session", "--nofork", f"--address=unix:path={socket}", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=log,
        )
        opened.callback(stop, process)
        assert process.stdout is not None
        with process.stdout as announced:
            address = announced.readline().decode().strip()
        if not address:
            raise ModuleError("dbus-daemon did not start")
        return address

    def _start_broker(self, opened: contextlib.ExitStack, socket: str, log: int) -> None:
        broker, ask = find_program("tpm2-abrmd", "tpm2-abrmd"), find_program("dbus-send", "dbus-bin")
        process = subprocess.Popen(
            [broker, "--session", "--allow-root", f"--tcti=swtpm:path={socket}"], stdout=log, stderr=log
        )
        opened.callback(stop, process)
        question = ["--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetNameOwner"]

        def answers() -> bool:
            done = subprocess.run([ask, "--session", *question, f"string:{_BROKER}"], capture_output=True, check=False)
            return done.returncode == 0

        wait_until(answers, process, "tpm2-abrmd")


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KeyStoreError(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()[-500:]}")
