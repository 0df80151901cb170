"""The screen is read where there is one: a real X server (Xvfb) that shows a code; elsewhere the refusal says why."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from fidoloop.bridge import screen
from fidoloop.bridge.errors import DeviceMissingError, MalformedPayloadError
from fidoloop.bridge.scan import SCREEN, scan
from fidoloop.protocol import outofband, qr

TEXT = outofband.qr_text(outofband.encode_payload({"token": "t", "redeem_url": "https://localhost/"}, None))


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of its own, which names its display once it takes clients."""
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[writes], stderr=subprocess.DEVNULL) as server:
        os.close(writes)
        with os.fdopen(reads) as names:
            number = names.readline().strip()
        assert number, "Xvfb did not start"
        try:
            yield f":{number}"
        finally:
            server.terminate()


@pytest.fixture(autouse=True)
def _no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def show(display: str, text: str, tmp_path: Path) -> None:
    """Make the code the background, as often as it fits."""
    bitmap = tmp_path / "code.xbm"
    code = qr.modules(text)
    code.resize((code.width * 3, code.height * 3), Image.Resampling.NEAREST).convert("1").save(bitmap)
    subprocess.run(
        ["xsetroot", "-display", display, "-bitmap", str(bitmap), "-fg", "white", "-bg", "black"], check=True
    )


def test_a_code_on_the_screen_is_read(display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    show(display, TEXT, tmp_path)
    assert scan(SCREEN) == TEXT
    show(display, "https://example.com/", tmp_path)
    with pytest.raises(MalformedPayloadError, match="the QR code in the screen is no dispatched token but a web"):
        scan(SCREEN)


def test_without_a_screen_that_is_said() -> None:
    with pytest.raises(DeviceMissingError, match="neither DISPLAY nor WAYLAND_DISPLAY"):
        scan(SCREEN)


def test_a_display_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(DeviceMissingError, match=":4711 cannot be read"):
        scan(SCREEN)


@pytest.fixture
def wayland(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Wayland desktop without a screen (sway) whose background is the code; it starts for no root."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-sway-") as name:
        directory = Path(name)
        (directory / "code.png").write_bytes(qr.png(TEXT))
        named = directory / "display"
        (directory / "config").write_text(
            f"output * bg {directory}/code.png center #ffffff\nexec printenv WAYLAND_DISPLAY >{named}\n"
        )
        command = ["sway", "-c", str(directory / "config")]
        if os.geteuid() == 0:
            for path in (directory, *directory.iterdir()):
                shutil.chown(path, "nobody", "nogroup")
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
        headless = {**os.environ, "WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman"}
        with (
            (directory / "log").open("wb") as log,
            subprocess.Popen(command, cwd="/", env=headless, stdout=log, stderr=log) as desktop,
        ):
            try:
                until(lambda: desktop.poll() is not None or (named.exists() and named.read_text().endswith("\n")))
                assert desktop.poll() is None, (directory / "log").read_text()
                monkeypatch.setenv("WAYLAND_DISPLAY", named.read_text().strip())
                yield
            finally:
                desktop.terminate()


def until(happened: Callable[[], object]) -> None:
    """Wait for what another process does and cannot tell; 30 seconds at most."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("wayland")
def test_a_code_on_a_wayland_desktop_is_read() -> None:
    until(screen.read_screen)  # the desktop is up before its background is drawn
    assert scan(SCREEN) == TEXT


def program(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Wayland desktop whose screenshot program is `script`."""
    path = directory / "grim"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
    monkeypatch.setenv("PATH", str(directory))


def test_on_wayland_the_desktops_own_program_is_asked_even_beside_an_x_server(
    display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    (tmp_path / "taken.png").write_bytes(qr.png(TEXT))
    program(tmp_path, f'exec {shutil.which("cp")} {tmp_path}/taken.png "$1"', monkeypatch)
    assert scan(SCREEN) == TEXT


@pytest.mark.parametrize(
    ("script", "said"), [("exit 3", "exit code 3"), ("exit 0", "exit code 0"), ("exec sleep 9", "no picture")]
)
def test_a_screenshot_program_that_fails_is_named(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "PROGRAM_SECONDS", 0.2)
    program(tmp_path, script.replace("sleep", str(shutil.which("sleep"))), monkeypatch)
    with pytest.raises(DeviceMissingError, match=f"grim took .*{said}" if said.startswith("exit") else "grim took"):
        scan(SCREEN)


def test_a_broken_screenshot_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, 'echo none >"$1"', monkeypatch)
    with pytest.raises(MalformedPayloadError, match="not a readable image"):
        scan(SCREEN)


def test_on_wayland_without_a_program_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceMissingError, match="grim, gnome-screenshot, spectacle"):
        scan(SCREEN)
