"""Requests made from a server's own OpenAPI document, by schemathesis, to a real server.

Whatever is sent, the answer is one that the document names: its status, its media type, its headers and its schema; and
none is an internal error.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Err
from schemathesis.transport.requests import REQUESTS_TRANSPORT

Json = dict[str, Any]
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
SECONDS = 30
# JSON in texts (digest: HTTP contract 2): it is generated as what it is, and written as a text.
_TEXTS = {"GetUafRequest": ("context",), "SendUafResponse": ("uafResponse", "context")}
_TEXT_MEMBERS = frozenset(name for names in _TEXTS.values() for name in names)
_EVENTS = "text/event-stream"
_token = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
_STRANGE_HEADERS = st.dictionaries(
    st.sampled_from(
        ("DPoP", "OAuth-Client-Attestation", "OAuth-Client-Attestation-PoP", "Device-Signature", "Cookie", "Accept",
         "Origin", "Content-Type", "Sec-Fetch-Site", "X-Request-Id")
    ),
    st.one_of(
        _token,
        st.builds("{}.{}.{}".format, _token, _token, _token),
        st.sampled_from(("*/*", "text/html", "application/json", "null", "https://else.example", "a=b", "e30.e30.")),
    ),
    max_size=3,
)  # fmt: skip


_HEADERS: st.SearchStrategy[dict[str, str]] = st.one_of(st.just({}), st.just({}), _STRANGE_HEADERS)


def faults(url: str, bearer: str, *, examples: int, only: str = "") -> Iterator[str]:
    """Yield what is not as the document says, each kind of it once for an operation, with a command that shows it.

    Args:
        url: a running server's.
        bearer: an API credential of it.
        examples: requests to each operation, of each mode.
        only: a part of the operations' names, "POST /token".
    """
    document = requests.get(f"{url}/openapi.json", timeout=SECONDS).json()
    _take_apart(document)
    load_all_checks()
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        if isinstance(found, Err):
            raise found.err()
        operation = found.ok()
        if only in operation.label:
            yield from _of_operation(operation, url, bearer, examples)


def _of_operation(operation: Any, url: str, bearer: str, examples: int) -> Iterator[str]:  # noqa: ANN401 - schemathesis'
    seen: dict[str, str] = {}
    answers = [one.get("content", {}) for one in operation.definition.raw["responses"].values()]
    accepted = sorted({media for content in answers for media in content} | {"*/*"}, reverse=True)
    usual = {"Accept": ", ".join(accepted), "Origin": url}
    for mode in schemathesis.GenerationMode:
        check = _check(url, usual, seen, operation.label)
        authorisation = st.sampled_from(({"Authorization": f"Bearer {bearer}"}, {}))
        test = given(operation.as_strategy(generation_mode=mode), authorisation, _HEADERS)(check)
        run = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            print_blob=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(test)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                run()
            except Unsatisfiable:
                continue  # an operation without parameters can be sent nothing that is wrong
    yield from seen.values()


def _check(
    url: str, headers: dict[str, str], seen: dict[str, str], label: str
) -> Callable[[Any, dict[str, str], dict[str, str]], None]:
    checks = CHECKS.get_by_names(list(CHECKED))
    browser = requests.Session()
    browser.get(url, timeout=SECONDS)  # for the cookies that pages give

    def check(case: Any, authorisation: dict[str, str], further: dict[str, str]) -> None:  # noqa: ANN401 - schemathesis' case
        try:
            answer = case.call(
                base_url=url, session=browser, headers=headers | authorisation | further, timeout=SECONDS
            )
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            return  # the client would not send it
        media = next(iter(answer.headers.get("content-type", [""]))).partition(";")[0]
        # Of an event stream the document has the text's type; schemathesis looks for that of each event.
        chosen = [one for one in checks if media != _EVENTS or one.__name__ != "response_schema_conformance"]
        try:
            case.validate_response(answer, checks=chosen)
        except FailureGroup as group:
            for failure in group.exceptions:
                kind = f"{label}: {type(failure).__name__} {answer.status_code}"
                seen.setdefault(kind, f"{kind}: {failure}\n  {case.as_curl_command()}\n  {answer.text[:300]}")

    return check


def _take_apart(document: Json) -> None:
    """Put in place of the JSON texts in requests what stands in them."""
    for name, members in _TEXTS.items():
        properties = document["components"]["schemas"][name]["properties"]
        for member in members:
            properties[member] = properties[member]["contentSchema"]


def _with_texts(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {
            name: json.dumps(member) if name in _TEXT_MEMBERS and not isinstance(member, str) else _with_texts(member)
            for name, member in value.items()
        }
    return [_with_texts(member) for member in value] if isinstance(value, list) else value


def _json_body(_: object, value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"data": value if isinstance(value, bytes) else json.dumps(_with_texts(value)).encode()}


def _text_body(_: object, value: Any) -> dict[str, Any]:  # noqa: ANN401 - a text, as a rule
    return {"data": value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")}


REQUESTS_TRANSPORT.serializer("application/json", "application/fido+uaf")(_json_body)
REQUESTS_TRANSPORT.serializer("application/jose")(_text_body)
