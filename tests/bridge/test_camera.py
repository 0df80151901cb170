"""The camera, whose frames come from a recording through the same decoder as a V4L2 device's."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from PIL import Image

from fidoloop.bridge.camera import scan_camera
from fidoloop.bridge.errors import DeviceMissingError, MalformedPayloadError, NotInstalledError
from fidoloop.bridge.scan import scan
from fidoloop.protocol import outofband, qr

TEXT = outofband.qr_text(outofband.encode_payload({"token": "t", "redeem_url": "https://localhost/"}, None))
SIZE = (640, 480)


def frame(text: str | None = None, *, degrees: float = 0) -> Image.Image:
    """What a camera sees: a desk, and a code lying on it."""
    seen = Image.new("RGB", SIZE, (120, 110, 100))
    if text is not None:
        code = qr.modules(text)
        code = code.resize((code.width * 4, code.height * 4), Image.Resampling.NEAREST).convert("RGB")
        turned = code.rotate(degrees, expand=True, fillcolor=(120, 110, 100), resample=Image.Resampling.BICUBIC)
        seen.paste(turned, (60, 10))
    return seen


def recorded(frames: Sequence[Image.Image], directory: Path) -> str:
    """Motion JPEG, which is what most cameras send."""
    path = directory / "frames.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return str(path)


def test_a_code_that_comes_into_view_is_read(tmp_path: Path) -> None:
    frames = [frame(), frame(), frame(TEXT, degrees=17), frame()]
    assert scan(f"camera:{recorded(frames, tmp_path)}") == TEXT


def test_what_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    frames = [frame("https://example.com/"), frame("WIFI:S:lab;;"), frame(TEXT)]
    assert scan_camera(recorded(frames, tmp_path)) == TEXT


@pytest.mark.parametrize(
    ("seen", "said"),
    [(None, "saw no QR code"), ("https://example.com/", r"no dispatched token but a web address \(example.com\)")],
)
def test_where_nothing_comes_it_is_said_what_was_seen(tmp_path: Path, seen: str | None, said: str) -> None:
    with pytest.raises(MalformedPayloadError, match=said):
        scan_camera(recorded([frame(), frame(seen), frame()], tmp_path))


def test_it_looks_no_longer_than_it_should(tmp_path: Path) -> None:
    ticks = itertools.count()
    with pytest.raises(MalformedPayloadError, match="saw no QR code"):
        scan_camera(recorded([frame()] * 5 + [frame(TEXT)], tmp_path), seconds=4, clock=lambda: float(next(ticks)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "there is no camera"),
        ("directory", "neither a camera nor a file"),
        ("text", "cannot be opened"),
        ("empty", "cannot be opened"),
        ("/dev/null", "cannot be opened"),
        ("sound.wav", "holds no pictures"),
        ("playlist.m3u8", "cannot be opened"),
    ],
)
def test_what_is_no_camera_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("no frames here")
    (tmp_path / "empty").touch()
    (tmp_path / "playlist.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/frames.ts\n")
    with av.open(str(tmp_path / "sound.wav"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame(format="s16", layout="mono", samples=8000)
        silence.rate = 8000
        sound.mux(stream.encode(silence))
    with pytest.raises(DeviceMissingError, match=said):
        scan_camera(str(tmp_path / name))


def test_a_camera_that_breaks_off_is_no_crash(tmp_path: Path) -> None:
    path = Path(recorded([frame()] * 8, tmp_path))
    content = path.read_bytes()
    for kept in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:kept] + b"\xff" * 64)
        with pytest.raises((DeviceMissingError, MalformedPayloadError)):
            scan_camera(str(path))


def test_without_its_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NotInstalledError, match=r"fidoloop\[camera\]"):
        scan_camera()
