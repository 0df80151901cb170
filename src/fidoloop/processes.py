"""Programs started for demonstrations and tests: waited for until they are ready, and stopped."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable

from fidoloop.hsm.errors import ModuleError

READY_SECONDS = 20.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01


def find_program(name: str, package: str) -> str:
    """Return the path of a program, also where only root's PATH has it. Raises ModuleError naming Debian's package."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        raise ModuleError(f"{name} is not installed (Debian: apt install {package})")
    return found


def wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", name: str) -> None:
    """Return when `ready` says yes. Raises ModuleError where the process ends first, or is not ready in 20 seconds."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        try:
            code = process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
            raise ModuleError(f"{name} is not ready after {READY_SECONDS:.0f} s") from None
        raise ModuleError(f"{name} ended with exit code {code} instead of starting")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process, by force if it does not go; no error where it ended already."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
