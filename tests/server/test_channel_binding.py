"""Channel binding, enforced: each rule broken, for both operations; then tls-unique over real connections."""

import asyncio
import json
import signal
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.channel_binding import channel_binding_of
from fidoloop.server import admin
from fidoloop.server.errors import ConfigError
from fidoloop.server.store.open import open_store
from tests.server.certificates import DAY, NOW, Authority, Files, builder_of
from tests.server.harness import UAF, Bench, running, write_metadata
from tests.server.phone import Phone, full_model, twisted
from tests.server.process import command, started

MODEL = full_model()
REQUIRED = ["serverEndPoint", "tlsServerCertificate"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


def members(files: Files) -> dict[str, str]:
    binding = channel_binding_of(files.leaf)
    return {"serverEndPoint": str(binding.serverEndPoint), "tlsServerCertificate": str(binding.tlsServerCertificate)}


def cases(right: dict[str, str], other: dict[str, str], required: str) -> dict[str, tuple[dict[str, str], int]]:
    (beside,) = set(right) - {required}
    bare = {required: right[required]}
    return {
        "right": (bare, 1200),
        "both right": (right, 1200),
        "Channel ID unused": (bare | {"cid_pubkey": "unused"}, 1200),
        "absent": ({}, 1490),
        "only the other member": ({beside: right[beside]}, 1490),
        "of another certificate": ({required: other[required]}, 1490),
        "the other member in its place": ({required: right[beside]}, 1490),
        "padded": ({required: right[required] + "="}, 1490),
        "the other member wrong": (bare | {beside: other[beside]}, 1490),
        "tlsUnique where the channel has none": (bare | {"tlsUnique": "AAAAAAAAAAAAAAAA"}, 1490),
        "Channel ID of a client": (bare | {"cid_pubkey": base64url.encode(b'{"kty":"EC"}')}, 1490),
        "empty": ({required: ""}, 1490),
    }


@pytest.mark.parametrize("required", REQUIRED)
def test_every_rule_holds_for_both_operations(tmp_path: Path, authority: Authority, required: str) -> None:
    ours, theirs = authority.issue("ours"), authority.issue("theirs")
    table = cases(members(ours), members(theirs), required)

    async def check(bench: Bench) -> None:
        good = twisted(channel=members(ours))
        for name, (channel, code) in table.items():
            phone = Phone(bench.full)
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            answer = await bench.respond("Reg", phone.register(request, twisted(channel=channel)))
            assert answer["statusCode"] == code, name
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            assert (await bench.respond("Reg", phone.register(request, good)))["statusCode"] == 1200
            # By what is remembered, and by what is stored.
            for context in ({}, {"username": "jeff"}):
                request = await bench.uaf_request("Auth", context)
                answer = await bench.respond("Auth", phone.authenticate(request, twisted(channel=channel)))
                assert answer["statusCode"] == code, name

    run(tmp_path, check, channel_binding=required, channel_binding_certificates=(str(ours.certificate),))


def test_one_of_several_configured_certificates_is_enough(tmp_path: Path, authority: Authority) -> None:
    both = [authority.issue("one"), authority.issue("two")]

    async def check(bench: Bench) -> None:
        for files in both:
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            response = Phone(bench.full).register(request, twisted(channel=members(files)))
            assert (await bench.respond("Reg", response))["statusCode"] == 1200

    names = tuple(str(files.certificate) for files in both)
    run(tmp_path, check, channel_binding="serverEndPoint", channel_binding_certificates=names)


def test_where_nothing_is_configured_nothing_is_asked(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        lies = {"serverEndPoint": "x", "tlsUnique": "x", "cid_pubkey": "x"}
        answer = await bench.respond("Reg", Phone(bench.full).register(request, twisted(channel=lies)))
        assert answer["statusCode"] == 1200

    run(tmp_path, check)


def test_a_certificate_that_has_no_end_point_cannot_be_bound_by_one(tmp_path: Path, authority: Authority) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    leaf = builder_of(name, name, key.public_key(), NOW - DAY, NOW + DAY).sign(key, None)
    path = tmp_path / "ed25519.pem"
    path.write_bytes(leaf.public_bytes(Encoding.PEM))

    async def check(bench: Bench) -> None:
        raise AssertionError("must not start")

    with pytest.raises(ConfigError, match="leaves serverEndPoint undefined"):
        run(tmp_path, check, channel_binding="serverEndPoint", channel_binding_certificates=(str(path),))


REFUSED = [
    (("--insecure", "--set", "channel_binding=serverEndPoint"), "plain http has no channel"),
    (("--set", "channel_binding=serverEndPoint", "--set", "channel_binding_certificates=/none"), "/none: No such file"),
    (("--set", "channel_binding=tlsUnique"), "not one of off, serverEndPoint, tlsServerCertificate"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_what_cannot_be_enforced_stops_the_start(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    done = command(tmp_path, "run", "--port", "0", *options)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "channel_binding" in done.stderr


async def prepare(home: Path) -> str:
    """Make the user jeff and an API credential; return the latter."""
    home.mkdir()
    store = await open_store(f"sqlite:///{home / 'server.sqlite'}")
    try:
        await admin.add_user(store, "jeff", now=1)
        return (await admin.add_api_key(store, "test", now=1)).bearer
    finally:
        await store.close()


class Wire:
    """One TLS connection to a server."""

    def __init__(self, url: str, ca: Path, version: ssl.TLSVersion, bearer: str) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = context.maximum_version = version
        headers = UAF | {"authorization": f"Bearer {bearer}"}
        limits = httpx2.Limits(max_connections=1)
        self.client = httpx2.Client(base_url=url, verify=context, headers=headers, timeout=60, limits=limits)
        with self.client.stream("GET", "/healthz") as answer:
            answer.read()
            self.socket: ssl.SSLSocket = answer.extensions["network_stream"].get_extra_info("socket")

    @property
    def tls_unique(self) -> str:
        return base64url.encode(self.socket.get_channel_binding("tls-unique") or b"")

    @property
    def end_point(self) -> str:
        leaf = x509.load_der_x509_certificate(self.socket.getpeercert(binary_form=True) or b"")
        return str(channel_binding_of(leaf).serverEndPoint)

    def register(self, channel: dict[str, str]) -> int:
        """Return the status of a registration whose response names `channel`."""
        wanted = {"op": "Reg", "context": '{"username":"jeff"}'}
        returned = self.client.post("/nevisfido/uaf/1.1/request/registration", json=wanted).json()
        (request,) = json.loads(returned["uafRequest"])
        response = Phone(MODEL).register(request, twisted(channel=channel))
        answer = self.client.post("/nevisfido/uaf/1.1/registration", json={"uafResponse": json.dumps([response])})
        return int(answer.json()["statusCode"])


def test_tls_unique_is_compared_where_there_is_one_and_refused_where_there_is_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    bearer = asyncio.run(prepare(home))
    write_metadata(home, MODEL)
    with started(home, "--set", "channel_binding=serverEndPoint") as server:
        with ExitStack() as wires:

            def connect(version: ssl.TLSVersion) -> Wire:
                wire = Wire(server.url, server.ca or tmp_path, version, bearer)
                wires.callback(wire.client.close)
                return wire

            old = connect(ssl.TLSVersion.TLSv1_2)
            bare = {"serverEndPoint": old.end_point}
            assert old.register(bare | {"tlsUnique": old.tls_unique}) == 1200
            other = connect(ssl.TLSVersion.TLSv1_2)
            assert old.register(bare | {"tlsUnique": other.tls_unique}) == 1490
            assert other.register(bare | {"tlsUnique": other.tls_unique}) == 1200
            new = connect(ssl.TLSVersion.TLSv1_3)
            assert new.register(bare) == 1200
            for unique in (old.tls_unique, new.tls_unique, ""):
                assert new.register(bare | {"tlsUnique": unique}) == 1490
            # The end point of the certificate alone is not enough where another member is wrong.
            assert new.register({"serverEndPoint": new.tls_unique}) == 1490
        assert server.stop() == 0


def test_a_certificate_that_was_just_replaced_is_still_taken(tmp_path: Path, authority: Authority) -> None:
    home = tmp_path / "home"
    bearer = asyncio.run(prepare(home))
    write_metadata(home, MODEL)
    first = authority.issue()
    pair = ("--tls-cert", str(first.certificate), "--tls-key", str(first.key))
    with started(home, *pair, "--set", "channel_binding=serverEndPoint") as server:
        before = Wire(server.url, authority.pem, ssl.TLSVersion.TLSv1_3, bearer)
        second = authority.issue()
        with closing(before.client):
            server.process.send_signal(signal.SIGHUP)
            while True:
                after = Wire(server.url, authority.pem, ssl.TLSVersion.TLSv1_3, bearer)
                with closing(after.client):
                    if after.end_point == members(second)["serverEndPoint"]:
                        assert after.register({"serverEndPoint": after.end_point}) == 1200
                        break
            assert before.register({"serverEndPoint": members(first)["serverEndPoint"]}) == 1200
        assert server.stop() == 0
