import io

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fidoloop.protocol import qr
from fidoloop.protocol.errors import MalformedError


def read(png: bytes) -> list[str]:
    with Image.open(io.BytesIO(png)) as image:
        return [
            code.text
            for code in zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.barcode_formats_from_str("QRCode"))
        ]


@settings(max_examples=20, deadline=None)
@given(st.text("ABCXYZabcxyz0189-_", min_size=1, max_size=2200))
def test_what_is_drawn_is_read_back(text: str) -> None:
    assert read(qr.png(text)) == [text]


def test_colours_and_side_are_as_asked_and_it_still_scans() -> None:
    png = qr.png("x" * 900, side=500, foreground=(120, 0, 0), background=(255, 255, 200))
    with Image.open(io.BytesIO(png)) as image:
        assert max(image.size) <= 500
        assert {colour for _, colour in image.convert("RGB").getcolors() or ()} == {(120, 0, 0), (255, 255, 200)}
    assert read(png) == ["x" * 900]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(MalformedError, match="do not fit"):
        qr.png("x" * 4000)
    with pytest.raises(MalformedError, match="does not fit into 64 pixels"):
        qr.png("x" * 1200, side=64)


def test_half_blocks_hold_the_same_modules() -> None:
    lines = qr.half_blocks("hello")
    code = qr.modules("hello")
    rows = "".join(lines)
    light = rows.count("█") * 2 + rows.count("▀") + rows.count("▄")
    assert light == code.tobytes().count(255)
    assert {len(line) for line in lines} == {code.width}
