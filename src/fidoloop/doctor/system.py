"""Checks of the system: Python and packages, home directory, ports, clock, radio, camera, browser."""

import os
import platform
import socket
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib import metadata, util
from ipaddress import ip_address
from pathlib import Path

from packaging.requirements import Requirement

from fidoloop.bridge.errors import BridgeError, NetworkError
from fidoloop.bridge.http import Server
from fidoloop.doctor.values import Finding, Machine, broken, note, ok

_LOWEST = (3, 11)
_SKEW_NOTED, _SKEW_BROKEN = 5, 30
"""Seconds: answers carry whole seconds; proofs may be ten ahead and sixty behind (RFC 9449, OAuth contract 4.1)."""
_BROWSERS = ("usr/bin/chromium", "usr/bin/chromium-browser", "usr/bin/google-chrome")
_MOST_FILES = 10_000


def check_python(_: Machine) -> Finding:
    """Python is new enough."""
    said = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _LOWEST:
        return broken("python", said, f"use Python {'.'.join(map(str, _LOWEST))} or newer")
    return ok("python", said)


def check_packages(_: Machine) -> Iterator[Finding]:
    """Every package that fidoloop names is there in a version that it takes."""
    wrong = [found for text in _requirements() if (found := _unmet(Requirement(text)))]
    if wrong:
        yield broken("packages", ", ".join(wrong), "pip install --upgrade fidoloop, or make setup-demo in the sources")
    else:
        yield ok("packages", f"fidoloop {metadata.version('fidoloop')} and all that it needs")


def _requirements() -> list[str]:
    return metadata.requires("fidoloop") or []


def _unmet(wanted: Requirement) -> str:
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return ""
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    return (
        ""
        if wanted.specifier.contains(version, prereleases=True)
        else f"{wanted.name} {version} is not {wanted.specifier}"
    )


def check_home(machine: Machine) -> Iterator[Finding]:
    """What is kept is ours, writable, and nobody else's to read."""
    home = machine.home
    if not home.exists():
        yield ok("home", f"{home} is made when it is needed")
        return
    if not home.is_dir():
        yield broken("home", f"{home} is no directory", "name another by --home or XDG_STATE_HOME")
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield broken("home", f"{home} is not yours to write", f"chown -R $USER {home}, or name another by --home")
        return
    wide = [path for path in (home, *_kept(home)) if path.lstat().st_mode & 0o077 and not path.is_symlink()]
    if wide:
        named = ", ".join(map(str, wide[:3])) + (f" and {len(wide) - 3} more" if len(wide) > 3 else "")
        fix = f"chmod -R go= {home}"
        said = f"others may read or change {named}"
        yield broken("home", said, fix) if home in wide else note("home", said, fix)
        return
    yield ok("home", f"{home}: only yours")


def _kept(home: Path) -> Iterator[Path]:
    """Return what holds secrets: databases and private keys."""
    for count, path in enumerate(home.rglob("*")):
        if count >= _MOST_FILES:
            return
        if path.suffix in {".sqlite", ".key"} or path.name.endswith("key.pem"):
            yield path


def check_port(machine: Machine) -> Finding:
    """The server's port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", machine.port))
        except OSError as error:
            fix = "name another: `fidoloop server run --port N`; or it is a server of yours that runs already"
            return note("port", f"{machine.port} cannot be listened on ({error.strerror})", fix)
    return ok("port", f"{machine.port} is free for `fidoloop server run`")


def check_localhost(_: Machine) -> Finding:
    """The name that a lab's server, its phone and its laptop call this machine by."""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    except OSError as error:
        said = f"localhost is not known ({error.strerror})"
        return broken("localhost", said, "add the line `127.0.0.1 localhost` to /etc/hosts")
    strange = sorted(one for one in addresses if not ip_address(one.partition("%")[0]).is_loopback)
    if strange:
        return broken("localhost", f"localhost is {', '.join(strange)}", "correct /etc/hosts: 127.0.0.1 localhost")
    return ok("localhost", f"localhost is {', '.join(sorted(addresses))}")


def check_clock(machine: Machine) -> Finding:
    """The clock, against a server's."""
    if machine.server is None:
        return ok("clock", f"{machine.time:%Y-%m-%d %H:%M:%S} UTC, held against nobody's: name one by --server URL")
    try:
        with Server(machine.server, ca=machine.ca, insecure=machine.insecure, timeout=10.0) as server:
            sent = server.send("GET", machine.server).headers.get("date", "")
    except (NetworkError, BridgeError) as error:
        return broken("clock", str(error), "start the server; check the URL, --ca and the network")
    try:
        apart = (machine.time - parsedate_to_datetime(sent)).total_seconds()
    except (TypeError, ValueError):
        return note("clock", f"{machine.server} does not say what time it is", "compare the clocks by hand")
    said = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} {machine.server}"
    fix = "set the clock: timedatectl set-ntp true"
    if abs(apart) > _SKEW_BROKEN:
        return broken("clock", said, fix)
    return note("clock", said, fix) if abs(apart) > _SKEW_NOTED else ok("clock", f"as {machine.server} has it")


def check_radio(machine: Machine) -> Finding:
    """Bluetooth: the extra is installed, and there is an adapter that is on."""
    if not all(map(util.find_spec, ("bleak", "bumble", "usb1"))):
        return note("radio", "Bluetooth needs an extra", "pip install 'fidoloop[ble]'")
    adapters = sorted(path.name for path in machine.at("sys/class/bluetooth").glob("hci*") if ":" not in path.name)
    if not adapters:
        return note("radio", "no Bluetooth adapter", "plug one in; a laptop's station takes --hci usb:0, too")
    for block in machine.at("sys/class/rfkill").glob("rfkill*"):
        if _read(block / "type") == "bluetooth" and "1" in (_read(block / "soft"), _read(block / "hard")):
            return note("radio", f"{', '.join(adapters)}: turned off", "rfkill unblock bluetooth, or the switch")
    return ok("radio", ", ".join(adapters))


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def check_camera(machine: Machine) -> Finding:
    """A camera: the extra is installed, and there is a device that is ours to use."""
    if util.find_spec("av") is None:
        return note("camera", "reading a camera needs an extra", "pip install 'fidoloop[camera]'")
    devices = sorted(machine.at("dev").glob("video*"))
    if not devices:
        return note("camera", "no camera (/dev/video*)", "plug one in; `phone scan` takes image files and screen:, too")
    usable = [str(device) for device in devices if os.access(device, os.R_OK | os.W_OK)]
    if not usable:
        return note("camera", f"{devices[0]} is not yours to use", "usermod -aG video $USER, and log in again")
    return ok("camera", ", ".join(usable))


def check_browser(machine: Machine) -> Finding:
    """A browser, for the pages and for the tests that drive one."""
    found = next((machine.at(path) for path in _BROWSERS if machine.at(path).exists()), None)
    if found is None:
        return note("browser", "no Chromium, which the tests of the pages drive", "apt install chromium")
    return ok("browser", str(found))
