"""What a user who is logged in does to his own: keys deleted, texts confirmed."""

import base64
from pathlib import Path

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from tests.server.harness import Bench
from tests.server.phone import twisted
from tests.server.web.test_pushes import Postbox, postbox, reachable, run
from tests.server.web.visitor import Visitor, redeem, token_in, visiting

__all__ = ["postbox"]  # a fixture
TEXT = "Pay 25.00 to <b>ACME</b> & Co"


def test_a_user_deletes_a_key_of_his_own_and_no_other(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        first, second, other = await bench.registered(), await bench.registered(), await bench.registered("mia")
        await visitor.log_in(bench, first)
        for named in (other.keys[0].text, "no such"):
            body = {"aaid": bench.full.aaid, "keyId": named}
            assert (await visitor.post("/web/keys/remove", body)).status_code == 404
        body = {"aaid": bench.full.aaid, "keyId": second.keys[0].text}
        assert (await visitor.post("/web/keys/remove", body)).status_code == 204
        (left,) = await admin.list_credentials(bench.store, "jeff")
        assert left.key_id == first.keys[0].text
        assert len(await admin.list_credentials(bench.store, "mia")) == 1
        assert await visitor.who() == "jeff"
        assert ("deregistration", "jeff") in {
            (entry.event, entry.username) for entry in await admin.audit_entries(bench.store)
        }

    run(tmp_path, check)


def test_whoever_deletes_the_key_of_this_log_in_is_logged_out(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        await visitor.log_in(bench, phone)
        body = {"aaid": bench.full.aaid, "keyId": phone.keys[0].text}
        assert (await visitor.post("/web/keys/remove", body)).status_code == 204
        assert await visitor.who() is None
        assert (await visitor.post("/web/keys/remove", body)).status_code == 401

    run(tmp_path, check)


def test_a_text_is_confirmed_as_it_was_shown(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        await visitor.log_in(bench, phone)
        begun = (await visitor.post("/web/confirm", {"text": TEXT})).json()
        request = await redeem(bench, token_in(begun["link"]))
        (shown,) = request["transaction"]
        content = base64.urlsafe_b64decode(shown["content"] + "==").decode()
        assert (shown["contentType"], content) == ("text/plain", TEXT)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        keys = [{"aaid": bench.full.aaid, "keyId": phone.keys[0].text}]
        assert await visitor.state(begun["id"]) == {"state": "succeeded", "keys": keys}

    run(tmp_path, check)


def test_a_confirmation_logs_nobody_in(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        await visitor.log_in(bench, phone)
        begun = (await visitor.post("/web/confirm", {"text": TEXT})).json()
        request = await redeem(bench, token_in(begun["link"]))
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        await visitor.begin()
        assert await visitor.finish(begun["id"]) == 403

    run(tmp_path, check)


@pytest.mark.parametrize("how", ["another text", "another user"])
def test_nobody_confirms_anything_else(tmp_path: Path, how: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone, other = await bench.registered(), await bench.registered("mia")
        await visitor.log_in(bench, phone)
        begun = (await visitor.post("/web/confirm", {"text": TEXT})).json()
        request = await redeem(bench, token_in(begun["link"]))
        response = (
            phone.authenticate(request, twisted(tc_hash=bytes(32)))
            if how == "another text"
            else other.authenticate(request)
        )
        assert (await bench.respond("Auth", response))["statusCode"] != 1200
        assert (await visitor.state(begun["id"]))["state"] == "failed"

    run(tmp_path, check)


def test_a_confirmation_is_pushed_with_a_number_and_counts_as_a_push(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        await visitor.log_in(bench, phone)
        (device,) = (await visitor.get("/web/account")).json()["devices"]
        assert device["push"] is True
        begun = (await visitor.post("/web/confirm", {"text": TEXT, "device": device["id"]})).json()
        pushed = await postbox.received(bench, phone)
        shown = outofband.open_payload(outofband.decode_scanned(begun["link"]), phone.encryption_key)
        assert shown.token == pushed.token
        again = await visitor.post("/web/confirm", {"text": TEXT, "device": device["id"]})
        assert again.status_code == 429
        request = await redeem(bench, pushed.token)
        context = {"channelLinkingResponse": begun["number"]}
        assert (await bench.respond("Auth", phone.authenticate(request), context))["statusCode"] == 1200
        assert (await visitor.state(begun["id"]))["state"] == "succeeded"

    run(tmp_path, check)


def test_a_code_for_ones_device_is_encrypted_to_it_and_others_devices_are_not_there(
    tmp_path: Path, postbox: Postbox
) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox, dispatcher="link")
        await reachable(bench, postbox, "mia")
        await visitor.log_in(bench, phone)
        (device,) = (await visitor.get("/web/account")).json()["devices"]
        begun = (await visitor.post("/web/confirm", {"text": TEXT, "device": device["id"]})).json()
        assert outofband.decode_scanned(begun["link"]).nma_data_content_type == "application/jose"
        (foreign,) = await admin.list_targets(bench.store, "mia")
        answer = await visitor.post("/web/confirm", {"text": TEXT, "device": foreign.id})
        assert answer.status_code == 404

    run(tmp_path, check)


@pytest.mark.parametrize("text", ["", "x" * 201, "caf\u00e9", "a\nb", "a\u202eb", 5, None])
def test_a_text_that_cannot_be_shown_is_refused(tmp_path: Path, text: object) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await visitor.log_in(bench, await bench.registered())
        answer = await visitor.post("/web/confirm", {"text": text})
        assert answer.status_code == 400

    run(tmp_path, check)


def test_nobody_confirms_who_is_not_logged_in(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        assert (await visitor.post("/web/confirm", {"text": TEXT})).status_code == 401

    run(tmp_path, check)


def test_an_operation_is_watched_by_the_log_in_that_began_it_only(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await visitor.log_in(bench, await bench.registered())
        begun = (await visitor.post("/web/confirm", {"text": TEXT})).json()
        async with visiting(bench) as other:
            await other.log_in(bench, await bench.registered())
            assert await other.who() == "jeff"
            assert await other.state(begun["id"]) == {"state": "gone"}
        assert (await visitor.state(begun["id"]))["state"] == "waiting"

    run(tmp_path, check)
