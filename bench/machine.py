"""What a measurement was made on."""

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

_LIBRARIES = (
    "cryptography",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "asyncpg",
    "python-pkcs11",
    "joserfc",
    "fido2",
    "webauthn",
)


def describe() -> dict[str, str]:
    """Return processor, memory, load, and the versions of what the figures depend on; "" for what is not there."""
    kilobytes = int(_of_proc("meminfo", r"MemTotal:\s+(\d+) kB") or 0)
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "processor": _of_proc("cpuinfo", r"model name\s*: (.+)") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{kilobytes / 2**20:.1f} GiB",
        "load before": load,
        "system": _of_os_release() or platform.platform(),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "OpenSSL of cryptography": backend.openssl_version_text(),
        "SoftHSM": _said("softhsm2-util", "--version"),
        "PostgreSQL": _said(_postgres(), "--version"),
        "SQLite": sqlite3.sqlite_version,
        "node": _said("node", "--version"),
    } | {name: version(name) for name in _LIBRARIES}


def _of_proc(name: str, pattern: str) -> str:
    found = re.search(pattern, Path("/proc", name).read_text("utf-8"))
    return found.group(1) if found else ""


def _of_os_release() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "")


def _postgres() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return str(found[-1]) if found else "postgres"


def _said(program: str, argument: str) -> str:
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run([path, argument], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("postgres (PostgreSQL) ")
