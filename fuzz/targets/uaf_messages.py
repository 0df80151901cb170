"""UAF messages and the transport's wrappers in JSON, facet lists, policies, metadata statements."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import msgspec

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge, messages
from fidoloop.protocol.uaf.extensions import Extension
from fidoloop.protocol.uaf.facets import MAX_LIST_BYTES, TrustedFacetList, encode_trusted_facets, trusted_ids
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, Policy, choose, disallowed, matches
from fidoloop.protocol.uaf.status import UafRefusal
from fidoloop.protocol.uaf.transactions import transaction_content
from fidoloop.protocol.uaf.verification_input import parse_verification_input
from fidoloop.server.contexts import OPERATIONS, ResponseContext, parse_context, parse_request_context
from fuzz.properties import accepted, outcome, text

MAX_BYTES = 1 << 14
DICTIONARY = (
    *(f'"{name}"'.encode() for kind in (messages.OperationHeader, messages.UafResponse, messages.AuthenticationRequest)
      for name in kind.__struct_fields__),
    b'"Reg"', b'"Auth"', b'"Dereg"', b'\\ud800', b'\\u0022', b"1e400", b"-0", b"null", b'"accepted"', b'"disallowed"',
)  # fmt: skip
_VERSIONS = (messages.V1_1, messages.V1_0)
_KINDS: tuple[Any, ...] = (
    messages.GetUafRequest,
    messages.ReturnUafRequest,
    messages.SendUafResponse,
    messages.ServerResponse,
    tuple[messages.UafResponse],
    messages.RegistrationRequest,
    messages.DeregistrationRequest,
    TrustedFacetList,
    Policy,
    tuple[Extension, ...],
)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def check(data: bytes) -> None:
    """What is read is written and read again as the same; the quick reader of JSON says what the strict one says."""
    for kind in _KINDS:
        _typed(data, kind)
    request = accepted(lambda: messages.decode_request(text(data), _VERSIONS), MalformedError)
    if request is not None:
        _read_again(request)
    response = accepted(lambda: messages.decode_response(text(data)), MalformedError)
    if response is not None:
        assert messages.decode_response(messages.encode_message(response)) == response
        accepted(lambda: final_challenge.decode(response.fcParams), MalformedError)
    trusted = accepted(
        lambda: trusted_ids(data, app_id="https://login.example/facets", version=messages.V1_1), MalformedError
    )
    assert trusted is None or (len(data) <= MAX_LIST_BYTES and not any(one.startswith("http:") for one in trusted))
    accepted(lambda: parse_metadata(data), MalformedError)
    for operation in OPERATIONS.values():
        accepted(partial(parse_request_context, operation, text(data)), UafRefusal)
    accepted(lambda: parse_context(text(data), ResponseContext), UafRefusal)
    policy = outcome(lambda: strictjson.decode(data, Policy), MalformedError)
    if isinstance(policy, Policy):
        _choose(policy, _models())
    accepted(lambda: parse_verification_input(data), MalformedError)


def _typed(data: bytes, kind: Any) -> None:  # noqa: ANN401 - any type that msgspec knows
    quick = outcome(lambda: strictjson.decode(data, kind), MalformedError)
    strict = outcome(lambda: strictjson.convert(strictjson.loads(data), kind), MalformedError)
    if isinstance(quick, Exception):
        assert isinstance(strict, MalformedError), f"{kind} refused quickly: {quick}"
    else:
        assert quick == strict, f"{kind} read quickly as something else"


def _choose(policy: Policy, models: tuple[AuthenticatorFacts, ...]) -> None:
    """What is chosen of several authenticators meets its criteria one by one; and one is chosen where it alone is."""
    chosen = choose(policy, models)
    if chosen is None:
        assert all(choose(policy, [one]) is None for one in models)
        return
    assert len(set(chosen.candidates)) == len(chosen.candidates)
    for criteria, at in zip(policy.accepted[chosen.alternative], chosen.candidates, strict=True):
        assert matches(criteria, models[at])
        assert not disallowed(policy, models[at])


@cache
def _models() -> tuple[AuthenticatorFacts, ...]:
    from tests.protocol.builders import AAID, entry

    first = entry().facts(key_id="AAAA", version=1)
    other = entry(aaid="ABCD#0001", authenticationAlgorithm=2).facts(key_id="BBBB", version=3)
    assert first.aaid == AAID
    return first, other


def _read_again(
    request: messages.RegistrationRequest | messages.AuthenticationRequest | messages.DeregistrationRequest,
) -> None:
    version = request.header.upv
    assert messages.decode_request(messages.encode_message(request), (version,)) == request
    if isinstance(request, messages.AuthenticationRequest) and not isinstance(request.transaction, msgspec.UnsetType):
        for one in request.transaction:
            outcome(partial(transaction_content, one), MalformedError)


def seeds() -> Iterator[bytes]:
    """Yield the published and recorded messages, and what the seeds show."""
    from tests.protocol.builders import recorded, seed_request_body, statement, vectors

    header: dict[str, object] = {
        "upv": {"major": 1, "minor": 1},
        "op": "Auth",
        "appID": "https://a.example",
        "serverData": "x",
    }
    challenge = base64url.encode(bytes(32))
    policy = {"accepted": [[{"aaid": ["F10B#0113"]}], [{"userVerification": 1023}]], "disallowed": [{"keyIDs": ["AA"]}]}
    for example in (*vectors().values(), *recorded().values()):
        yield strictjson.encode(example["response"]).encode()
        yield strictjson.encode(example).encode()
    for number in ("001", "002"):
        yield strictjson.encode(seed_request_body(number)).encode()
    yield strictjson.encode(
        [
            {
                "header": header,
                "challenge": challenge,
                "policy": policy,
                "transaction": [{"contentType": "text/plain", "content": "AAAA"}],
            }
        ]
    ).encode()
    yield strictjson.encode(
        [{"header": header | {"op": "Reg"}, "challenge": challenge, "policy": policy, "username": "alice"}]
    ).encode()
    yield strictjson.encode(
        [{"header": header | {"op": "Dereg"}, "authenticators": [{"aaid": "F10B#0113", "keyID": "AAAA"}]}]
    ).encode()
    yield strictjson.encode(policy).encode()
    yield b'{"username":"alice","mode":"aaid","aaids":["F10B#0113"],"wildcards":true}'
    yield b'{"asmStatusCode":0,"dispatchTarget":{"name":"p"},"channelLinkingResponse":"42"}'
    yield strictjson.encode(statement()).encode()
    yield encode_trusted_facets(("https://a.login.example", "android:apk-key-hash:x")).encode()
