"""What is stored of a registration beside its key, and what it is used for."""

import asyncio
import base64
import hashlib
import json
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.key_description import KEY_DESCRIPTION
from fidoloop.protocol.uaf.png import SIGNATURE
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import element
from fidoloop.protocol.uaf.user_verification_methods import UserVerificationMethod, encode_user_verification_methods
from fidoloop.server import admin
from tests.protocol.builders import ROOT_KEY, certificate, p256, to_der
from tests.protocol.uaf.key_descriptions import as_data, description
from tests.server.harness import Bench, running
from tests.server.phone import HONEST, NOW, Model, Phone, Twist, longer, surrogate_model, twisted

Check = Callable[[Bench], Awaitable[None]]
DISPLAY_AAID = "F1D0#0003"
DISPLAY = {
    "width": 320, "height": 240, "bitDepth": 8, "colorType": 2, "compression": 0, "filter": 0, "interlace": 0,
}  # fmt: skip
NO_DISPLAY: dict[str, object] = {"tcDisplay": 0}
SMALL = DISPLAY | {"width": 160, "height": 120}


def png(display: dict[str, int]) -> bytes:
    """Return what there is of an image up to its header."""
    header = struct.pack(">II5B", *display.values())
    return SIGNATURE + struct.pack(">I4s", len(header), b"IHDR") + header


def image(display: dict[str, int], **more: object) -> dict[str, object]:
    return {"contentType": "image/png", "content": base64url.encode(png(display))} | more


def text(content: str = "Pay 5?") -> dict[str, object]:
    return {"contentType": "text/plain", "content": base64url.encode(content.encode())}


def run(home: Path, check: Check, metadata: dict[str, object] | None = None, **config: Any) -> None:  # noqa: ANN401
    model = display_model()
    directory = home / "metadata"
    directory.mkdir()
    shows = {} if metadata == NO_DISPLAY else {"tcDisplayContentType": "image/png"}
    statement = model.metadata(**shows | (metadata or {}))
    (directory / "display.json").write_text(json.dumps(statement))

    async def scenario() -> None:
        async with running(home, **config) as bench:
            await check(bench)

    asyncio.run(scenario())


def display_model() -> Model:
    return surrogate_model(DISPLAY_AAID)


async def register(bench: Bench, *displays: dict[str, Any], username: str = "jeff") -> Phone:
    phone = Phone(display_model())
    response = phone.register(await bench.uaf_request("Reg", {"username": username}))
    if displays:
        response["assertions"][0]["tcDisplayPNGCharacteristics"] = list(displays)
    assert (await bench.respond("Reg", response))["statusCode"] == 1200
    return phone


async def asked(bench: Bench, *renderings: dict[str, object], username: str = "jeff") -> dict[str, Any]:
    return await bench.request("Auth", {"username": username, "transaction": list(renderings)})


def sent(returned: dict[str, Any]) -> list[tuple[str, object]]:
    assert returned["statusCode"] == 1200, returned
    (message,) = json.loads(returned["uafRequest"])
    return [(entry["contentType"], entry.get("tcDisplayPNGCharacteristics")) for entry in message["transaction"]]


def test_displays_of_a_registration_are_kept_and_an_image_goes_to_each_that_it_fits(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        palette = {"r": 1, "g": 2, "b": 3}
        phone = await register(bench, DISPLAY, SMALL, DISPLAY | {"plte": [palette]})
        (stored,) = await admin.list_credentials(bench.store)
        assert json.loads(stored.display_characteristics or "") == [DISPLAY, SMALL, DISPLAY | {"plte": [palette]}]
        returned = await asked(bench, image(SMALL), image(DISPLAY), image(DISPLAY | {"interlace": 1}))
        assert sent(returned) == [("image/png", SMALL), ("image/png", DISPLAY)]
        (request,) = json.loads(returned["uafRequest"])
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("registered", "metadata", "renderings", "expected"),
    [
        pytest.param([SMALL], [DISPLAY], [image(SMALL)], [("image/png", SMALL)], id="registration before metadata"),
        pytest.param([SMALL], [DISPLAY], [image(DISPLAY)], None, id="metadata is not asked then"),
        pytest.param([], [DISPLAY], [image(SMALL), image(DISPLAY)], [("image/png", DISPLAY)], id="metadata otherwise"),
        pytest.param([], [], [image(SMALL)], [("image/png", SMALL)], id="nobody says what the display takes"),
        pytest.param([DISPLAY], [], [text()], None, id="a text for a display of images"),
        pytest.param([DISPLAY], [], [text(), image(DISPLAY)], [("image/png", DISPLAY)], id="only what is shown"),
    ],
)
def test_what_no_display_of_the_users_keys_shows_is_not_sent(
    tmp_path: Path,
    registered: list[dict[str, int]],
    metadata: list[dict[str, int]],
    renderings: list[dict[str, object]],
    expected: list[tuple[str, object]] | None,
) -> None:
    async def check(bench: Bench) -> None:
        await register(bench, *registered)
        returned = await asked(bench, *renderings)
        if expected is None:
            assert returned["statusCode"] == 1492
            assert "uafRequest" not in returned
        else:
            assert sent(returned) == expected

    run(tmp_path, check, {"tcDisplayPNGCharacteristics": metadata} if metadata else {})


def test_a_text_goes_to_a_key_that_shows_texts_and_to_no_other(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await register(bench, DISPLAY)
        other = await bench.registered()
        returned = await asked(bench, text())
        assert sent(returned) == [("text/plain", None)]
        (request,) = json.loads(returned["uafRequest"])
        assert [entry[0]["aaid"] for entry in request["policy"]["accepted"]] == [[other.model.aaid]]

    run(tmp_path, check)


def test_a_key_without_a_display_confirms_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await register(bench)
        assert (await asked(bench, text()))["statusCode"] == 1492
        assert (await bench.request("Auth", {"username": "jeff"}))["statusCode"] == 1200

    run(tmp_path, check, NO_DISPLAY)


def test_an_image_that_is_not_what_it_is_said_to_be_is_refused_at_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await register(bench)
        wrong = image(SMALL, tcDisplayPNGCharacteristics=DISPLAY)
        assert (await asked(bench, wrong))["statusCode"] == 1400
        assert (await bench.request("Auth", {"transaction": [wrong]}, api=False))["statusCode"] == 1400

    run(tmp_path, check)


# How a key is attested, and how the user was verified

ANDROID = "fido.uaf.android.key_attestation"
UVM = "fido.uaf.uvm"
VALID = (
    datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(days=1),
    datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(1),
)
ROOT = certificate("root", p256(ROOT_KEY), "root", p256(ROOT_KEY), ca=True, key_cert_sign=True, valid=VALID)
VOUCHED: dict[str, object] = {
    "keyProtection": 6,
    "matcherProtection": 2,
    "supportedExtensions": [
        {
            "id": ANDROID,
            "data": json.dumps({"attestationRootCertificates": [base64.b64encode(to_der(ROOT)).decode()]}),
            "fail_if_unknown": False,
        }
    ],
}


def keystore_attestation(phone: Phone, response: dict[str, Any]) -> str:
    """Return what Android's keystore says of the phone's last key."""
    challenge = hashlib.sha256(response["fcParams"].encode()).digest()
    extension = (x509.UnrecognizedExtension(KEY_DESCRIPTION, description(challenge=challenge, tee={})), False)
    private = phone.keys[-1].private
    return as_data(certificate("key", private, "root", p256(ROOT_KEY), ca=None, extension=extension, valid=VALID))


async def register_vouched(bench: Bench, data: str | None) -> int:
    """Register a key with `data` of the extension, None for none; "" stands for a true one. Return the status."""
    phone = Phone(display_model())
    response = phone.register(await bench.uaf_request("Reg", {"username": "jeff"}))
    if data is not None:
        data = data or keystore_attestation(phone, response)
        response["assertions"][0]["exts"] = [{"id": ANDROID, "data": data, "fail_if_unknown": False}]
    return int((await bench.respond("Reg", response))["statusCode"])


def test_a_key_that_a_keystore_vouches_for_is_known_as_such(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await register_vouched(bench, "") == 1200
        assert await register_vouched(bench, None) == 1200
        assert sorted(key.key_attested for key in await admin.list_credentials(bench.store)) == [0, 1]

    run(tmp_path, check, VOUCHED)


@pytest.mark.parametrize(
    ("data", "expected"),
    [("", 1200), (None, 1496), ("p", 1496), ("a", 1496), ("[]", 1496)],
    ids=["vouched for", "without a word", "not supported", "not available", "an empty chain"],
)
def test_where_attestation_is_required_the_keystore_must_vouch_for_the_key(
    tmp_path: Path, data: str | None, expected: int
) -> None:
    async def check(bench: Bench) -> None:
        assert await register_vouched(bench, data) == expected
        assert len(await admin.list_credentials(bench.store)) == (expected == 1200)

    run(tmp_path, check, VOUCHED, require_key_attestation=True)


@pytest.mark.parametrize(("required", "expected"), [(False, 1200), (True, 1496)])
def test_where_attestation_is_required_a_key_that_vouches_for_itself_is_not_registered(
    tmp_path: Path, required: bool, expected: int
) -> None:
    async def check(bench: Bench) -> None:
        assert (await bench.registered()).keys
        phone = Phone(bench.surrogate)
        request = await bench.uaf_request("Reg", {"username": "mia"})
        assert (await bench.respond("Reg", phone.register(request)))["statusCode"] == expected
        assert len(await admin.list_credentials(bench.store, "mia")) == (expected == 1200)

    run(tmp_path, check, require_key_attestation=required)


@pytest.mark.parametrize("required", [False, True])
def test_where_attestation_is_required_a_registration_asks_for_the_keystores(tmp_path: Path, required: bool) -> None:
    async def check(bench: Bench) -> None:
        asked = {"id": ANDROID, "data": "", "fail_if_unknown": False}
        registration = await bench.uaf_request("Reg", {"username": "jeff"})
        assert (asked in registration["header"]["exts"]) is required
        await bench.registered()
        for context in ({}, {"username": "jeff"}):
            assert asked not in (await bench.uaf_request("Auth", context))["header"]["exts"]

    run(tmp_path, check, require_key_attestation=required)


def uvm(*methods: UserVerificationMethod) -> Twist:
    """Return a phone that says in what it signs how the user was verified."""
    data = encode_user_verification_methods(methods)
    said = element(Tag.EXTENSION_ID, UVM.encode()) + element(Tag.EXTENSION_DATA, data)
    return twisted(signed=lambda krd: longer(krd, element(Tag.EXTENSION_NON_CRITICAL, said)))


@pytest.mark.parametrize(
    ("twist", "status", "stored"),
    [
        pytest.param(HONEST, 1200, None, id="not said"),
        pytest.param(
            uvm(UserVerificationMethod(4, 1, 1)),
            1200,
            [{"user_verification": 4, "key_protection": 1, "matcher_protection": 1}],
            id="as the model can",
        ),
        pytest.param(uvm(UserVerificationMethod(2, 1, 1)), 1498, None, id="a fingerprint that the model cannot read"),
    ],
)
def test_how_the_user_was_verified_is_kept(tmp_path: Path, twist: Twist, status: int, stored: object) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(display_model())
        response = phone.register(await bench.uaf_request("Reg", {"username": "jeff"}), twist)
        assert (await bench.respond("Reg", response))["statusCode"] == status
        kept = [key.verification_methods for key in await admin.list_credentials(bench.store)]
        assert [json.loads(value) if value else None for value in kept] == ([stored] if status == 1200 else [])

    run(tmp_path, check)
