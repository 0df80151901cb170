"""Reading QR codes as a phone's user meets them: screenshots, turned images, files that are none."""

import contextlib
import io
from pathlib import Path

import pytest
from PIL import Image

from fidoloop.bridge import scan as scanning
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.scan import MAX_IMAGE_BYTES, MAX_PIXELS, scan, scan_image
from fidoloop.protocol import outofband, qr

TEXT = outofband.qr_text(
    outofband.encode_payload(
        {"token": "t" * 36, "redeem_url": "https://localhost/nevisfido/token/redeem/authentication", "pad": "x" * 400},
        None,
    )
)
LINK = f"fidoloop://authenticate?dispatchTokenResponse={TEXT}"


def code(text: str = TEXT) -> Image.Image:
    return Image.open(io.BytesIO(qr.png(text))).convert("RGB")


def screenshot(*codes: Image.Image) -> Image.Image:
    """A desktop with windows and the codes side by side in it."""
    desktop = Image.new("RGB", (2560, 1440), (40, 60, 90))
    desktop.paste((240, 240, 240), (100, 80, 2460, 1360))
    for number in range(200):
        desktop.paste((30, 30, 30), (120, 100 + 6 * number, 200 + 3 * (number % 50), 103 + 6 * number))
    for number, image in enumerate(codes):
        desktop.paste(image, (500 + 900 * number, 200))
    return desktop


def saved(image: Image.Image, directory: Path, name: str = "image.png") -> Path:
    path = directory / name
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["plain.png", "plain.jpg", "plain.webp", "plain.bmp"])
@pytest.mark.parametrize("text", [TEXT, LINK], ids=["payload", "link"])
def test_an_image_is_read(tmp_path: Path, name: str, text: str) -> None:
    assert scan(str(saved(code(text), tmp_path, name))) == text


def test_a_code_is_found_in_a_screenshot(tmp_path: Path) -> None:
    assert scan(str(saved(screenshot(code()), tmp_path))) == TEXT


@pytest.mark.parametrize("degrees", [90, 180, 270, 7, 33])
def test_a_turned_image_is_read(tmp_path: Path, degrees: int) -> None:
    turned = code().rotate(degrees, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
    assert scan_image(saved(turned, tmp_path)) == TEXT


@pytest.mark.parametrize("scale", [0.5, 2.5])
def test_a_scaled_image_is_read(tmp_path: Path, scale: float) -> None:
    image = code()
    assert scan_image(saved(image.resize((round(image.width * scale), round(image.height * scale))), tmp_path)) == TEXT


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_the_mode_of_the_image_does_not_matter(tmp_path: Path, mode: str) -> None:
    assert scan_image(saved(code().convert(mode), tmp_path, "image.tiff")) == TEXT


def test_a_code_on_nothing_is_read(tmp_path: Path) -> None:
    dark = code().convert("L").point(lambda value: 255 - value)
    drawn = Image.new("RGBA", dark.size, (0, 0, 0, 0))
    drawn.putalpha(dark)
    assert scan_image(saved(drawn, tmp_path)) == TEXT


def test_one_code_shown_twice_is_one_code(tmp_path: Path) -> None:
    assert scan_image(saved(screenshot(code(), code()), tmp_path)) == TEXT


def test_of_two_codes_none_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(MalformedPayloadError, match="more than one"):
        scan_image(saved(screenshot(code("one of them"), code("another one")), tmp_path))


def test_no_code_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(MalformedPayloadError, match="holds no QR code"):
        scan_image(saved(screenshot(), tmp_path))


@pytest.mark.parametrize("over", [0, 1])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file can hold a huge image: the header is enough to refuse it."""
    monkeypatch.setattr(scanning, "MAX_PIXELS", 250_000)
    huge = saved(Image.new("1", (500, 500 + over), 1), tmp_path)
    with pytest.raises(MalformedPayloadError, match="pixels" if over else "no QR code"):
        scan_image(huge)


@pytest.mark.parametrize("size", [(10_000, 9_500), (20_000, 19_500)], ids=["warns", "bomb"])
def test_what_pillow_itself_would_warn_of_or_refuse_is_refused_in_our_words(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    huge = saved(Image.new("1", size, 1), tmp_path)
    with pytest.raises(MalformedPayloadError):
        scan_image(huge)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    with pytest.raises(MalformedPayloadError, match="larger than"):
        scan_image(path)


@pytest.mark.parametrize("kept", [0, 8, 33, 60, 200, -20, -1])
def test_a_broken_image_is_no_crash(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(qr.png(TEXT)[:kept])
    try:
        text = scan_image(path)
    except MalformedPayloadError:
        return
    assert text == TEXT  # all that was cut off is the end mark


@pytest.mark.parametrize("at", range(8, 120, 3))
def test_a_damaged_image_is_no_crash(tmp_path: Path, at: int) -> None:
    content = bytearray(qr.png(TEXT))
    content[at] ^= 0xFF
    path = tmp_path / "damaged.png"
    path.write_bytes(bytes(content))
    with contextlib.suppress(MalformedPayloadError):
        assert scan_image(path) == TEXT


@pytest.mark.parametrize("name", ["absent.png", "text.png", "directory.png"])
def test_what_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "directory.png").mkdir()
    with pytest.raises(MalformedPayloadError, match=name):
        scan(str(tmp_path / name))
    with pytest.raises(MalformedPayloadError, match=name):
        scan_image(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        LINK,
        "A" * 255,
        "A" * 256,
        "A" * 300,
        "A" * 5000,
        '{"nma_data": "x.y.z"}',
        ' {"a/b": 1}',
        "a",
        "a" * 4096 + "=",
    ],
    ids=range(10),
)
def test_the_text_itself_is_taken_as_it_is(text: str) -> None:
    """However long: a payload is longer than a file's name may be."""
    assert scan(text) == text


def test_a_file_is_preferred_to_a_text_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(code(), tmp_path, "login.png")
    (tmp_path / "login.png").rename(tmp_path / "login")
    monkeypatch.chdir(tmp_path)
    assert scan("login") == TEXT
