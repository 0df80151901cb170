"""Reading QR codes as a phone's user meets them: screenshots, turned images, files that are none."""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageFilter, ImageOps

from fidoloop.bridge import qr_images
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.qr_images import MAX_IMAGE_BYTES, MAX_PIXELS
from fidoloop.bridge.scan import scan, scan_image, scan_stream
from fidoloop.protocol import outofband, qr


def plain(redeem_url: str) -> str:
    data = {"token": "secret" * 6, "redeem_url": redeem_url, "pad": "x" * 400}
    return outofband.qr_text(outofband.encode_payload(data, None))


TEXT = plain("https://localhost/nevisfido/token/redeem/authentication")
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


@pytest.mark.parametrize("scale", [1 / 6, 0.25, 2 / 6, 2.5 / 6])
def test_a_small_image_is_read(tmp_path: Path, scale: float) -> None:
    """From one pixel a module on, in no whole pixels too."""
    image = code().convert("L")
    side = round(image.width * scale)
    assert scan_image(saved(image.resize((side, side), Image.Resampling.BILINEAR), tmp_path)) == TEXT


@pytest.mark.parametrize(
    "spoil",
    [
        ImageOps.invert,
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.filter(ImageFilter.GaussianBlur(2)),
        lambda image: image.point([100 + value // 10 for value in range(256)] * 3),
        lambda image: ImageOps.expand(ImageOps.crop(image, 22), 300, "navy"),
    ],
    ids=["inverted", "mirrored", "blurred", "pale", "without quiet zone"],
)
def test_a_spoilt_image_is_read(tmp_path: Path, spoil: Callable[[Image.Image], Image.Image]) -> None:
    assert scan_image(saved(spoil(code()), tmp_path)) == TEXT


@pytest.mark.parametrize(("covered", "readable"), [(0.12, True), (0.4, False)])
def test_a_damaged_code_is_read_as_far_as_its_error_correction_goes(
    tmp_path: Path, covered: float, readable: bool
) -> None:
    image = code()
    side = image.width
    end = round((0.4 + covered) * side)
    image.paste((255, 255, 255), (round(0.4 * side), round(0.4 * side), end, end))
    path = saved(image, tmp_path)
    if readable:
        assert scan_image(path) == TEXT
    else:
        with pytest.raises(MalformedPayloadError, match="no QR code"):
            scan_image(path)


def test_of_several_codes_ours_is_taken(tmp_path: Path) -> None:
    others = (code("https://example.com/login"), code("WIFI:S:guests;T:WPA;P:hunter2;;"))
    image = screenshot(*(one.resize((400, 400), Image.Resampling.NEAREST) for one in others))
    image.paste(code(), (1700, 600))
    assert len(qr_images.read_image(image, "the image")) == 3
    assert scan_image(saved(image, tmp_path)) == TEXT


def test_of_two_tokens_none_is_chosen(tmp_path: Path) -> None:
    other = plain("https://other.example:8443/nevisfido/token/redeem/registration")
    image = saved(screenshot(code(), code(other)), tmp_path)
    with pytest.raises(MalformedPayloadError, match="more than one") as refused:
        scan_image(image)
    assert "authentication at localhost" in str(refused.value)
    assert "registration at other.example:8443" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("answer", [0, 1, None])
def test_of_two_tokens_the_user_chooses(tmp_path: Path, answer: int | None) -> None:
    other = plain("https://other.example/nevisfido/token/redeem/registration")
    image = saved(screenshot(code(), code(other)), tmp_path)
    shown: list[str] = []

    def choose(described: Sequence[str]) -> int | None:
        shown.extend(described)
        return answer

    if answer is None:
        with pytest.raises(MalformedPayloadError, match="more than one"):
            scan_image(image, choose=choose)
        return
    chosen = scan_image(image, choose=choose)
    assert ("other.example" in shown[answer]) == (chosen == other)
    assert chosen in (TEXT, other)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (qr.png(TEXT), TEXT),
        (TEXT.encode() + b"\n", TEXT),
        (LINK.encode(), LINK),
        (b"", None),
        (b"\n", None),
        (b"\xff\xfe\x00", None),
        (b"A" * (outofband.MAX_PAYLOAD_CHARACTERS + 1), None),
        (qr.png("https://example.com"), None),
    ],
    ids=["image", "text", "link", "empty", "blank", "binary", "long", "foreign"],
)
def test_standard_input_is_an_image_or_a_text(content: bytes, text: str | None) -> None:
    if text is not None:
        assert scan_stream(io.BytesIO(content)) == text
        return
    with pytest.raises(MalformedPayloadError):
        scan_stream(io.BytesIO(content))


def test_endless_input_is_cut() -> None:
    with Path("/dev/zero").open("rb") as endless, pytest.raises(MalformedPayloadError):
        scan_stream(endless)


def test_no_code_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(MalformedPayloadError, match="holds no QR code"):
        scan_image(saved(screenshot(), tmp_path))


@pytest.mark.parametrize("over", [0, 1])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file can hold a huge image: the header is enough to refuse it."""
    monkeypatch.setattr(qr_images, "MAX_PIXELS", 250_000)
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
