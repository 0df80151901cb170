"""Images as a transaction display takes them."""

import struct
import zlib


def png(width: int = 320, height: int = 480, *, colour: int = 0, depth: int = 8) -> bytes:
    """Return a white image; `colour` 0 is grey, 2 RGB."""
    samples = 3 if colour == 2 else 1

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * (width * samples)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
