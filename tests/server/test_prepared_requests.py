"""Requests filled into prepared pieces say exactly what those encoded from their structs say."""

import asyncio
import json
from pathlib import Path

import pytest

from fidoloop.server.prepared_requests import MARKS
from tests.server.harness import running, session_id_of


@pytest.mark.parametrize("policy", [None, "default", "odd"])
def test_a_usernameless_request_is_the_same_with_and_without_preparation(tmp_path: Path, policy: str | None) -> None:
    # A policy may hold anything, what stands for the random values too.
    odd = {
        "id": "x",
        "data": f'"\\ {MARKS.session_id}{MARKS.challenge}{MARKS.server_data} \u00e9',
        "fail_if_unknown": False,
    }
    (tmp_path / "policies").mkdir()
    document = {"accepted": [[{"authenticationAlgorithms": [1], "assertionSchemes": ["UAFV1TLV"], "exts": [odd]}]]}
    (tmp_path / "policies" / "odd.json").write_text(json.dumps(document))

    async def scenario() -> None:
        async with running(tmp_path) as bench:
            context = {} if policy is None else {"policy": policy}
            shown = context | {"transaction": [{"contentType": "text/plain", "content": "YQ"}]}
            prepared = [await bench.request("Auth", context, api=False) for _ in range(2)]
            encoded = await bench.request("Auth", shown, api=False)
            messages = [json.loads(returned.pop("uafRequest"))[0] for returned in (*prepared, encoded)]
            assert prepared[0] == prepared[1] == encoded
            for value in ("challenge", "session", "server data"):
                assert len({random_values(message)[value] for message in messages}) == 3
            del messages[2]["transaction"]
            assert without_random(messages[0]) == without_random(messages[1]) == without_random(messages[2])

    asyncio.run(scenario())


def random_values(message: dict[str, dict[str, str]]) -> dict[str, object]:
    return {
        "challenge": message["challenge"],
        "session": session_id_of(message),
        "server data": message["header"]["serverData"],
    }


def without_random(message: dict[str, dict[str, str]]) -> str:
    text = json.dumps(message)
    for value in random_values(message).values():
        assert text.count(str(value)) == 1
        text = text.replace(str(value), "")
    return text
