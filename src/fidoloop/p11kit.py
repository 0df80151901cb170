"""p11-kit for demonstrations and tests: modules behind p11-kit-proxy, and keys in a server's process.

p11-kit reads its configuration when its first module is loaded, so **one process has one configuration**.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fidoloop.hsm.errors import ModuleError
from fidoloop.hsm.uri import parse_uri
from fidoloop.processes import STOP_SECONDS, find_program, wait_until

_NOBODY = 65534
_configured: Path | None = None


def find_p11_kit_module(name: str) -> Path:
    """Return the path of "p11-kit-proxy.so" or "p11-kit-client.so". Raises ModuleError."""
    for pattern in (f"usr/lib/*/{name}", f"usr/lib/*/pkcs11/{name}", f"usr/lib64/{name}", f"usr/lib64/pkcs11/{name}"):
        for path in sorted(Path("/").glob(pattern)):
            return path
    package = "libp11-kit0" if "proxy" in name else "p11-kit-modules"
    raise ModuleError(f"{name} is not installed (Debian: apt install {package})")


def use_p11_kit(directory: Path, modules: Mapping[str, Mapping[str, str]]) -> Path:
    """Have p11-kit-proxy show these modules and no others to this process, and return its path.

    Args:
        directory: gets the configuration.
        modules: the fields of each module's file (pkcs11.conf(5)): "module" and others, by the module's name.

    Raises:
        ModuleError: p11-kit is not installed.
        RuntimeError: this process uses another configuration already.
    """
    global _configured  # noqa: PLW0603  # p11-kit's configuration is as global
    if _configured not in (None, directory):
        raise RuntimeError("one process has one configuration of p11-kit")
    proxy = find_p11_kit_module("p11-kit-proxy.so")
    files = directory / "pkcs11" / "modules"
    files.mkdir(parents=True, exist_ok=True)
    (directory / "pkcs11" / "pkcs11.conf").write_text("user-config: only\n")
    for name, fields in modules.items():
        (files / f"{name}.module").write_text("".join(f"{field}: {value}\n" for field, value in fields.items()))
    if _configured is None:
        with _configuration_of_user(directory):
            # What is loaded here is never given back, so that the configuration stays.
            ctypes.CDLL(str(proxy)).p11_kit_modules_load(None, 0)
    _configured = directory
    return proxy


def nss_softoken(directory: Path, pin: str) -> dict[str, str]:
    """Make NSS's key database in `directory` and return the fields by which p11-kit loads NSS softoken with it.

    Raises ModuleError: libnss3 or its tools are not installed.
    """
    modules = sorted(Path("/").glob("usr/lib/*/libsoftokn3.so")) or sorted(
        Path("/").glob("usr/lib/*/nss/libsoftokn3.so")
    )
    if not modules:
        raise ModuleError("NSS's libsoftokn3.so is not installed (Debian: apt install libnss3)")
    directory.mkdir(mode=0o700, parents=True)
    password = directory / "password"
    password.write_text(f"{pin}\n")
    command = [find_program("certutil", "libnss3-tools"), "-N", "-d", f"sql:{directory}", "-f", str(password)]
    subprocess.run(command, check=True, capture_output=True)
    parameters = f"configdir='sql:{directory}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    return {"module": str(modules[0]), "x-init-reserved": parameters}


def through(uri: str, module: Path) -> str:
    """Return the URI of the same token reached through another module."""
    return replace(parse_uri(uri), module_path=str(module)).unredacted()


@contextlib.contextmanager
def _configuration_of_user(directory: Path) -> Iterator[None]:
    """Have p11-kit read the user's configuration in `directory`, which it refuses to do for root (modules.c)."""
    home = os.environ.get("XDG_CONFIG_HOME")
    real, effective, saved = os.getresuid()
    os.environ["XDG_CONFIG_HOME"] = str(directory)
    if real == 0:
        os.setresuid(_NOBODY, effective, saved)
    try:
        yield
    finally:
        os.setresuid(real, effective, saved)
        os.environ.pop("XDG_CONFIG_HOME")
        if home is not None:
            os.environ["XDG_CONFIG_HOME"] = home


class P11KitServer:
    """`p11-kit server` with one module in a process of its own; a context manager.

    p11-kit-client.so finds it by the environment of this process, which starting it sets.
    """

    def __init__(self, module: Path) -> None:
        """Take the module whose tokens to serve; nothing runs before `start`."""
        self._module = module
        self._opened = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = ""

    def start(self) -> Self:
        """Start the server and wait until it listens. Raises ModuleError."""
        if not self._socket:
            self._socket = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-p11-")) + "/socket"
        program = find_program("p11-kit", "p11-kit")
        command = [program, "server", "--foreground", f"--name={self._socket}", f"--provider={self._module}", "pkcs11:"]
        # A group of its own: the server has a child for every client.
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: os.path.exists(self._socket), self._process, "p11-kit server")
        os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={self._socket}"
        return self

    def kill(self) -> None:
        """End the server and its children at once, as a crash would; `start` starts it anew."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)
            Path(self._socket).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        os.environ.pop("P11_KIT_SERVER_ADDRESS", None)
        self._opened.close()
