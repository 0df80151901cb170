"""What a PNG image says of itself, and whether a transaction display that takes certain images takes it.

PNG third edition, 11.2; UAF protocol 3.1.7, DisplayPNGCharacteristicsDescriptor.
"""

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, PaletteEntry

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 29
_FIRST_CHUNK_AFTER_HEADER = 33


def png_characteristics(png: bytes, where: str = "$") -> DisplayPngCharacteristics:
    """Return the characteristics in the image's header, its palette left out.

    Raises:
        MalformedError: not a PNG image, or none that begins with its header.
    """
    if len(png) < _HEADER_BYTES or not png.startswith(SIGNATURE) or png[12:16] != b"IHDR":
        raise MalformedError(where, "not a PNG image")
    return DisplayPngCharacteristics(int.from_bytes(png[16:20]), int.from_bytes(png[20:24]), *png[24:29])


def is_displayable(png: bytes, characteristics: DisplayPngCharacteristics, where: str = "$") -> bool:
    """Tell whether the image is of exactly these characteristics, with this palette where they have one.

    Raises:
        MalformedError: as `png_characteristics`.
    """
    found = png_characteristics(png, where)
    names = [name for name in characteristics.__struct_fields__ if name != "plte"]
    if any(getattr(found, name) != getattr(characteristics, name) for name in names):
        return False
    return not characteristics.plte or _palette(png) == tuple(characteristics.plte)


def _palette(png: bytes) -> tuple[PaletteEntry, ...] | None:
    """Return the colours of the PLTE chunk; None where there is none before the image's data."""
    at = _FIRST_CHUNK_AFTER_HEADER
    while at + 8 <= len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        if kind == b"PLTE":
            colours = png[at + 8 : at + 8 + length]
            if len(colours) < length or length % 3:
                return None
            return tuple(PaletteEntry(*colours[index : index + 3]) for index in range(0, length, 3))
        if kind == b"IDAT":
            return None
        at += 12 + length
    return None
