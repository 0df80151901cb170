"""Where `fidoloop phone scan` takes its token from, and what a script learns where there is none."""

import io
import os
import pty
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from fidoloop.cli.exits import Exit
from fidoloop.protocol import outofband, qr
from tests.cli.command import COMMAND, environment, invoke, run

FOREIGN = qr.png("WIFI:T:WPA;S:lab;P:secret;;")


def token(host: str) -> str:
    data = {"token": "t", "redeem_url": f"https://{host}/nevisfido/token/redeem/authentication"}
    return outofband.qr_text(outofband.encode_payload(data, None))


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("screen:", Exit.DEVICE, "neither DISPLAY nor WAYLAND_DISPLAY"),
        ("camera:/dev/no-such-camera", Exit.DEVICE, "there is no camera /dev/no-such-camera"),
        ("foreign.png", Exit.REFUSED, "no dispatched token but a Wi-Fi network's credentials"),
        ("absent.png", Exit.REFUSED, "there is no image file"),
    ],
)
def test_what_gives_no_token_is_said_with_a_code_of_its_own(
    source: str, code: Exit, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    Path("foreign.png").write_bytes(FOREIGN)
    done = invoke("phone", "scan", source, "--home", str(tmp_path))
    assert done.code == code
    assert said in done.err
    assert "secret" not in done.all


def test_standard_input_is_read(tmp_path: Path) -> None:
    """As far as the phone, of which there is none here; an empty input does not come so far."""
    for typed, code, said in ((token("localhost"), Exit.USAGE, "no phone is set up"), ("", Exit.REFUSED, "is empty")):
        done = run("phone", "scan", "-", "--home", str(tmp_path), typed=typed)
        assert done.code == code
        assert said in done.err


@pytest.mark.parametrize(("typed", "code", "said"), [("2", 2, "no phone is set up"), ("9", 1, "more than one")])
def test_of_two_tokens_somebody_at_the_terminal_chooses(typed: str, code: int, said: str, tmp_path: Path) -> None:
    both = tmp_path / "both.png"
    codes = [Image.open(io.BytesIO(qr.png(token(host)))).convert("L") for host in ("first.example", "second.example")]
    picture = Image.new("L", (codes[0].width + codes[1].width, codes[0].height), 255)
    picture.paste(codes[0], (0, 0))
    picture.paste(codes[1], (codes[0].width, 0))
    picture.save(both)
    controller, terminal = pty.openpty()
    command = [*COMMAND, "phone", "scan", str(both), "--home", str(tmp_path)]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        os.write(controller, f"{typed}\n".encode())
        _, errors = process.communicate()
    os.close(controller)
    os.close(terminal)
    assert process.returncode == code
    assert "authentication at second.example" in errors
    assert said in errors
