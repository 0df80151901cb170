"""The example messages of the product's own documents (seeds 001 and 002) as they stand."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import base64url
from tests.server.harness import UAF, running

SEEDS = Path(__file__).parent.parent / "data" / "seeds"


def http_example(number: str, start: str) -> tuple[dict[str, str], str]:
    """Return headers and body of the example that starts with `start`."""
    (path,) = SEEDS.glob(f"{number}_*.txt")
    text = path.read_text("utf-8").split(start, 1)[1]
    head, body = text.split("\n\n", 1)
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    return {name.lower(): value for name, value in headers.items()}, body.split("\n\n", 1)[0].split("\ninfo", 1)[0]


def shape(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the names and types of a JSON value."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_registration_example_is_accepted_and_answered_in_its_shape(tmp_path: Path) -> None:
    headers, body = http_example("001", "POST /nevisfido")
    del headers["content-length"]
    _, answer_body = http_example("001", "HTTP/1.1 200 OK")
    expected = json.loads(answer_body)

    async def scenario() -> None:
        async with running(tmp_path, hosts=("fido.siven.ch",)) as bench:
            await bench.registered()  # so that policy.disallowed has an entry, as in the example
            answer = await bench.post("/uaf/1.1/request/registration", body, headers, api=True)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/fido+uaf;charset=UTF-8"
            got = answer.json()
            assert {name: got[name] for name in ("lifetimeMillis", "statusCode", "op")} == {
                name: expected[name] for name in ("lifetimeMillis", "statusCode", "op")
            }
            (ours,), (theirs,) = json.loads(got["uafRequest"]), json.loads(expected["uafRequest"])
            theirs["policy"]["disallowed"] = ours["policy"]["disallowed"]
            assert shape(ours) == shape(theirs)
            ((our_criteria,),), ((their_criteria,),) = ours["policy"]["accepted"], theirs["policy"]["accepted"]
            named = their_criteria["authenticationAlgorithms"]
            assert our_criteria["authenticationAlgorithms"][: len(named)] == named  # and those of later registries
            assert our_criteria | {"authenticationAlgorithms": named} == their_criteria
            assert ours["username"] == "jeff"
            assert len(base64url.decode(ours["challenge"])) == len(base64url.decode(ours["header"]["serverData"])) == 64
            (extension,) = ours["header"]["exts"]
            assert extension["id"] == "ch.nevis.auth.fido.uaf.sessionid"
            assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", extension["data"])

    asyncio.run(scenario())


def test_the_authentication_example_is_refused_live(tmp_path: Path) -> None:
    headers, body = http_example("002", "POST /nevisfido")
    del headers["content-length"]

    async def scenario() -> None:
        async with running(tmp_path, hosts=("fido.siven.ch",)) as bench:
            phone = await bench.registered()
            before = await bench.state()
            answer = await bench.post("/uaf/1.1/authentication", body, headers)
            assert (answer.status_code, answer.json()["statusCode"]) == (200, 1491)
            # The same response under a serverData that is open.
            request = await bench.uaf_request("Auth", {}, api=False)
            sent = json.loads(body)
            (response,) = json.loads(sent["uafResponse"])
            response["header"]["serverData"] = request["header"]["serverData"]
            refused = await bench.respond("Auth", response)
            assert refused["statusCode"] == 1498
            assert await bench.state() == before
            # Success has the shape of the example's answer.
            _, success = http_example("002", "HTTP/1.1 200 OK")
            request = await bench.uaf_request("Auth", {}, api=False)
            assert await bench.respond("Auth", phone.authenticate(request)) == json.loads(success)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/uaf/1.1/request/registration", "/uaf/1.1/authentication"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"accept": "application/json"}, 406),
        ({"accept": "*/*"}, 406),
        ({"content-type": "application/json"}, 415),
        ({"content-type": "application/fido+uaf;charset=ISO-8859-1"}, 415),
        ({"content-type": "Application/FIDO+UAF; Charset=utf-8"}, 200),
        ({"accept": "text/html, application/fido+uaf;q=0.5"}, 200),
    ],
)
def test_both_headers_are_mandatory(tmp_path: Path, path: str, change: dict[str, str], code: int) -> None:
    async def scenario() -> None:
        async with running(tmp_path, hosts=("fido.siven.ch",)) as bench:
            assert (await bench.post(path, "{}", UAF | change, api=True)).status_code == code

    asyncio.run(scenario())
