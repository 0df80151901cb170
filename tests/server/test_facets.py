"""The facet list as clients and what stands between them and the server see it."""

import asyncio
import json
from pathlib import Path

from tests.server.harness import running

PATH = "/nevisfido/uaf/1.1/facets"


def test_the_list_may_be_kept_and_is_not_sent_twice_to_who_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            first = await bench.client.get(PATH)
            assert first.status_code == 200
            assert first.headers["content-type"] == "application/fido.trusted-apps+json"
            assert first.headers["cache-control"] == "public, max-age=300"
            versions = [entry["version"] for entry in first.json()["trustedFacets"]]
            assert versions == [{"major": 1, "minor": minor} for minor in (0, 1, 2)]
            etag = first.headers["etag"]
            for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
                again = await bench.client.get(PATH, headers={"if-none-match": condition})
                assert (again.status_code, again.content) == (304, b"")
                assert (again.headers["etag"], again.headers["cache-control"]) == (etag, first.headers["cache-control"])
            for condition in ('"other"', etag.strip('"'), ""):
                again = await bench.client.get(PATH, headers={"if-none-match": condition})
                assert (again.status_code, again.content) == (200, first.content)

    asyncio.run(scenario())


def test_another_list_has_another_etag(tmp_path: Path) -> None:
    async def etag(*facets: str) -> str:
        async with running(tmp_path / str(len(facets)), facets=facets) as bench:
            answer = await bench.client.get(PATH)
            assert json.loads(answer.content)["trustedFacets"][0]["ids"] == list(facets)
            return str(answer.headers["etag"])

    first, second = "https://localhost", "https://localhost:9443"
    assert asyncio.run(etag(first)) != asyncio.run(etag(first, second))
