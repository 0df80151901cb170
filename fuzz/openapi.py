"""Requests made from a server's own OpenAPI document, by schemathesis, to a real server.

Whatever is sent, the answer is one that the document names: its status, its media type, its headers and its schema; and
none is an internal error.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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


class Caller(Protocol):
    """Somebody whom the server knows by more than an API credential."""

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Return what proves who sends this request."""
        ...

    def known(self, path: str) -> Mapping[str, object]:
        """Return what the caller may name at `path`, by the members and parameters that it is for."""
        ...


@dataclass(frozen=True)
class _Sender:
    """Who sends a request: anybody with these headers, or a caller, who also `names` what is the caller's own."""

    headers: dict[str, str]
    caller: Caller | None = None
    names: bool = False

    def signed(self, case: Any) -> dict[str, str]:  # noqa: ANN401 - schemathesis' case
        """Put in what the sender names, and return the headers that say who sends it."""
        if self.caller is None:
            return self.headers
        if self.names:
            known = self.caller.known(case.operation.path)
            if isinstance(case.body, dict):
                case.body = case.body | {name: known[name] for name in case.body if name in known}
            for name in known.keys() & (case.path_parameters or {}).keys():
                case.path_parameters[name] = known[name]
        return self.caller.headers(case.method, case.formatted_path)


@dataclass(frozen=True)
class Fuzzing:
    """A running server: its URL, an API credential of it, and how one becomes a caller of the operations with a tag.

    `answered` is for every operation which statuses its callers were answered.
    """

    url: str
    bearer: str
    callers: Mapping[str, Callable[[], Caller]] = field(default_factory=dict)
    answered: dict[str, set[int]] = field(default_factory=dict)

    def faults(self, *, examples: int, only: str = "") -> Iterator[str]:
        """Yield what is not as the document says, each kind of it once for an operation, with a command that shows it.

        Args:
            examples: requests to each operation, of each mode; half as many again where there are callers.
            only: a part of the operations' names, "POST /token".
        """
        document = requests.get(f"{self.url}/openapi.json", timeout=SECONDS).json()
        _take_apart(document)
        load_all_checks()
        schema = schemathesis.openapi.from_dict(document)
        for found in schema.get_all_operations():
            if isinstance(found, Err):
                raise found.err()
            operation = found.ok()
            if only in operation.label:
                yield from self._of_operation(operation, document, examples)

    def _of_operation(self, operation: Any, document: Json, examples: int) -> Iterator[str]:  # noqa: ANN401 - schemathesis'
        seen: dict[str, str] = {}
        raw = operation.definition.raw
        become = next((self.callers[tag] for tag in raw["tags"] if tag in self.callers), None)
        accepted = sorted({media for one in raw["responses"].values() for media in one.get("content", {})} | {"*/*"})
        usual = {"Accept": ", ".join(reversed(accepted)), "Origin": self.url}
        credential = {"Authorization": f"Bearer {self.bearer}"}
        check = self._check(usual, seen, operation.label)
        senders = [_Sender(credential), _Sender({})]
        if become is not None:
            caller = become()
            check(_plain(operation, document, caller), _Sender({}, caller), {})
            caller = become()
            senders += [_Sender({}, caller), _Sender({}, caller, names=True)]
        for mode in schemathesis.GenerationMode:
            test = given(operation.as_strategy(generation_mode=mode), st.sampled_from(senders), _HEADERS)(check)
            run = settings(
                max_examples=examples if become is None else examples * 3 // 2,
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
        self, headers: dict[str, str], seen: dict[str, str], label: str
    ) -> Callable[[Any, _Sender, dict[str, str]], None]:
        checks = CHECKS.get_by_names(list(CHECKED))
        session = requests.Session()

        def check(case: Any, sender: _Sender, further: dict[str, str]) -> None:  # noqa: ANN401 - schemathesis' case
            proofs = sender.signed(case)
            try:
                answer = case.call(
                    base_url=self.url, session=session, headers=headers | proofs | further, timeout=SECONDS
                )
            except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
                return  # the client would not send it
            if sender.caller is not None and proofs.keys().isdisjoint(further):
                self.answered.setdefault(label, set()).add(answer.status_code)
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


def _plain(operation: Any, document: Json, caller: Caller) -> Any:  # noqa: ANN401 - schemathesis'
    """Return the case that has all that the caller may name, and nothing else."""
    known = caller.known(operation.path)
    parts: dict[str, Any] = {"path_parameters": {"id": known["id"]} if "{id}" in operation.path else {}}
    for media, content in operation.definition.raw.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        body = {name: known[name] for name in schema.get("properties", {}) if name in known}
        parts |= {"body": body, "media_type": media}
    return operation.Case(**parts)


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
