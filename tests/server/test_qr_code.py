"""The codes we draw, at 300 pixels, read by zbarimg, which shares no code with what draws them."""

import asyncio
import base64
import functools
import random
import string
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.bridge import qr_images
from fidoloop.bridge.scan import scan_image
from fidoloop.protocol import jose, qr
from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers.base import Outgoing
from fidoloop.server.dispatchers.configured import make_dispatchers
from fidoloop.server.http.messages import MAX_USER_AGENT
from fidoloop.server.payloads import make_payload

SIDE = 300
HOST = "login.some-department.a-rather-long-company-name.example.com:8443"
LONGEST_ADDRESS = "2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff"


@functools.cache
def recipient(kind: str) -> jose.PublicJwk | None:
    if kind == "plain":
        return None
    if kind == "RSA-4096":  # the largest key a dispatch target may have
        return jose.public_jwk(rsa.generate_private_key(65537, jose.MAX_RSA_BITS).public_key())
    curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind]
    return jose.public_jwk(ec.generate_private_key(curve).public_key())


def drawn(dispatcher: str, kind: str, tmp_path: Path) -> Path:
    config = ServerConfig(home=tmp_path, base_url=f"https://{HOST}")
    payload = make_payload(
        config,
        op="Dereg",
        token="f" * 36,
        recipient=recipient(kind),
        address=LONGEST_ADDRESS,
        user_agent="u" * MAX_USER_AGENT,
    )
    information = {"encodingParameters": {"width": SIDE, "height": SIDE}}
    path = tmp_path / "code.png"
    outgoing = Outgoing(payload=payload, information=information, op="Auth", session_id="", seconds=120)
    path.write_bytes(base64.b64decode(asyncio.run(make_dispatchers(config)[dispatcher].dispatch(outgoing))))
    return path


def zbarimg(path: Path) -> str:
    command = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.mark.parametrize("kind", ["plain", "P-256", "P-384", "RSA-4096"])
@pytest.mark.parametrize("dispatcher", ["png-qr-code", "link-png-qr-code"])
def test_zbarimg_reads_the_largest_payload_at_300_pixels(tmp_path: Path, dispatcher: str, kind: str) -> None:
    path = drawn(dispatcher, kind, tmp_path)
    assert zbarimg(path) == scan_image(path)


@pytest.mark.parametrize("characters", range(1700, 2954, 114))
def test_zbarimg_reads_a_text_of_any_length_at_300_pixels(tmp_path: Path, characters: int) -> None:
    text = "".join(random.Random(characters).choices(string.ascii_letters + string.digits, k=characters))
    path = tmp_path / "code.png"
    path.write_bytes(qr.png(text, side=SIDE))
    assert zbarimg(path) == text == qr_images.read_file(path)[0]
