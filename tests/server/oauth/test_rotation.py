"""Rotation of the signing keys as clients and resources see it: an overlap, in which everything goes on."""

import json
from pathlib import Path

from fidoloop.protocol import jose
from fidoloop.server.oauth.key_ring import KEPT_AFTER, PUBLISHED_BEFORE, rotate
from tests.server.harness import Bench
from tests.server.oauth.client import OAuthClient
from tests.server.oauth.test_token_endpoint import introspected, refused, run

DAY = 24 * 3600


async def published(bench: Bench) -> set[str]:
    return {key["kid"] for key in (await bench.client.get("/jwks")).json()["keys"]}


def kid_of(jwt: str) -> str:
    return str(jose.parse_compact(jwt).header["kid"])


async def whoami(bench: Bench, client: OAuthClient, token: str) -> int:
    nonce, client.nonce = client.nonce, (await bench.client.get("/api/whoami")).headers["dpop-nonce"]
    headers = {"authorization": f"DPoP {token}", "dpop": client.proof("/api/whoami", "GET", token=token)}
    client.nonce = nonce
    return (await bench.client.get("/api/whoami", headers=headers)).status_code


def test_a_new_key_is_published_before_it_signs_and_tokens_of_the_old_one_stay_good(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        before = await client.tokens()
        old = kid_of(before["access_token"])
        assert await published(bench) == {old}
        bench.clock.advance(2)
        rotate(bench.config.oauth_directory, "as", bench.clock())
        bench.clock.advance(2)
        # Published, but what signs is the old one: whoever looks keys up once in a while has it by then.
        (new,) = await published(bench) - {old}
        await client.fresh()
        assert kid_of((await client.tokens())["access_token"]) == old
        bench.clock.advance(PUBLISHED_BEFORE.total_seconds() - 60)
        await client.fresh()
        last = (await client.tokens())["access_token"]
        assert kid_of(last) == old
        bench.clock.advance(60)
        await client.fresh()
        after = await client.tokens()
        assert {kid_of(after[name]) for name in ("access_token", "id_token")} == {new}
        assert await published(bench) == {old, new}
        assert [await whoami(bench, client, token) for token in (last, after["access_token"])] == [200, 200]
        assert (await introspected(bench, last))["active"]
        # And those who were not there meanwhile go on, too.
        assert (await client.refresh(before["refresh_token"])).status_code == 200

    run(tmp_path, check)


def test_the_old_key_goes_when_nothing_of_it_can_be_good_any_more(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        first = (await client.tokens())["access_token"]
        for _ in range(2):
            bench.clock.advance(2)
            rotate(bench.config.oauth_directory, "as", bench.clock())
            bench.clock.advance(PUBLISHED_BEFORE.total_seconds() + KEPT_AFTER.total_seconds() + 2)
        assert kid_of(first) not in await published(bench)
        assert await whoami(bench, client, first) == 401

    run(tmp_path, check)


def test_attestations_of_the_attesters_old_key_are_taken_until_they_are_too_old(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        bench.clock.advance(2)
        rotate(bench.config.oauth_directory, "attester", bench.clock())
        bench.clock.advance(PUBLISHED_BEFORE.total_seconds() + 2)
        await client.fresh()
        fresh = client.attest()
        assert kid_of(fresh) != kid_of(client.attestation)
        assert (await client.redeem(await client.code())).status_code == 200
        client.attestation = fresh
        assert (await client.redeem(await client.code())).status_code == 200
        bench.clock.advance(json.loads(jose.parse_compact(fresh).payload)["exp"] - client.now + 60)
        await client.fresh()
        refused(await client.redeem(await client.code()), "use_fresh_attestation")

    run(tmp_path, check)
