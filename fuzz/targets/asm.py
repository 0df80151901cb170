"""The ASM's requests in JSON, and PNG images that transactions show."""

import json
from collections.abc import Iterator
from functools import cache

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.asm_api import AsmApi
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.png import is_displayable, png_characteristics
from fidoloop.protocol.uaf.status import AsmStatus
from fuzz.properties import accepted, scratch, text
from fuzz.software_keys import SoftwareKeys

MAX_BYTES = 4096
DICTIONARY = (
    b'"requestType"', b'"GetInfo"', b'"Register"', b'"Authenticate"', b'"Deregister"', b'"GetRegistrations"',
    b'"asmVersion"', b'"authenticatorIndex"', b'"args"', b'"exts"', b'"appID"', b'"finalChallenge"', b'"username"',
    b'"attestationType"', b'"keyIDs"', b'"transaction"', b'"contentType"', b'"content"', b"PLTE", b"IHDR",
)  # fmt: skip


_MAX_KEYS = 64


@cache
def _phone() -> tuple[AsmApi, SoftwareKeys]:
    store = SoftwareKeys()
    asm = Asm(store, AuthenticatorState(scratch() / "asm.sqlite", store), AutoApprove(), caller_id="fuzz")
    return AsmApi([asm]), store


def check(data: bytes) -> None:
    """Whatever is asked, the answer is an ASMResponse; an image is displayable where its own header is asked for."""
    api, store = _phone()
    answer = api.request(text(data))
    assert AsmStatus(strictjson.loads(answer)["statusCode"]) is not None
    if len(store.list()) > _MAX_KEYS:
        _phone.cache_clear()
    header = accepted(lambda: png_characteristics(data), MalformedError)
    if header is not None:
        assert is_displayable(data, header)


def seeds() -> Iterator[bytes]:
    """Yield requests of every kind, and an image."""
    from tests.authenticator.conftest import FC_PARAMS
    from tests.authenticator.pngs import png

    whose = {"appID": "https://a.example", "finalChallenge": FC_PARAMS}
    shown = [{"contentType": "text/plain", "content": "cGF5"}]
    for kind, args in (
        ("GetInfo", None),
        ("Register", {**whose, "username": "alice", "attestationType": 0x3E08}),
        ("Authenticate", {**whose, "keyIDs": ["AAAA"], "transaction": shown}),
        ("Deregister", {"appID": "https://a.example", "keyID": ""}),
        ("GetRegistrations", None),
        ("OpenSettings", None),
    ):
        request = {"requestType": kind, "asmVersion": {"major": 1, "minor": 1}, "authenticatorIndex": 0}
        yield json.dumps(request | ({} if args is None else {"args": args})).encode()
    yield png()
