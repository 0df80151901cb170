"""Requests signed by a dispatch target's key: the signature, then time and single use (HTTP contract 6)."""

from typing import TypeVar
from urllib.parse import urlsplit

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.outofband import DeviceSignature, ModifyDispatchTarget
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import Target

S = TypeVar("S", bound=DeviceSignature | ModifyDispatchTarget)


async def read_signed(transaction: Transaction, target_id: str, token: str, type_: type[S]) -> tuple[S, Target]:
    """Return the verified payload of `token` and the target whose key signed it.

    Raises:
        MalformedError: not a compact JWS, or its payload is not `type_`.
        HttpProblem: 404 no such target; 401 not signed by its key, or for another target.
    """
    target = await transaction.fetch_one(queries.TARGET, id=target_id)
    if target is None:
        raise HttpProblem(404, "no such dispatch target")
    try:
        payload = jose.verify_compact(token, jose.parse_public_jwk(target.signature_key))
    except jose.JoseRefusal:
        raise HttpProblem(401, "not signed by the dispatch target's key") from None
    signed = strictjson.decode(payload, type_)
    if signed.dispatchTargetId != target.id:
        raise HttpProblem(401, "the signature is for another dispatch target")
    return signed, target


async def read_device_signature(
    environment: Environment, transaction: Transaction, request: Request, target_id: str
) -> tuple[DeviceSignature, Target]:
    """Return what the header Device-Signature says, and the target whose key signed it, for this very request.

    The path that is signed is the one that devices see: where the base URL has one, that stands before it.

    Raises:
        MalformedError, HttpProblem: as `read_signed`; 401 no such header, or one made for another request.
    """
    signed, target = await read_signed(transaction, target_id, _header(request), DeviceSignature)
    path = urlsplit(environment.config.base_url).path + request.path
    if (signed.method, signed.path) != (request.method, path):
        raise HttpProblem(401, "the signature is for another request")
    return signed, target


def named_target(request: Request) -> str:
    """Return the target that the header Device-Signature names: nothing is verified yet.

    Raises:
        MalformedError: not a compact JWS of a DeviceSignature; HttpProblem: 401 no such header.
    """
    return strictjson.decode(jose.unverified_payload(_header(request)), DeviceSignature).dispatchTargetId


def _header(request: Request) -> str:
    header = request.headers.get(b"device-signature")
    if header is None:
        raise HttpProblem(401, "the header Device-Signature is missing")
    return header.decode("latin-1")


async def use_request(environment: Environment, transaction: Transaction, signed: S, target: Target) -> None:
    """Use up a signed request: within the clock drift, and once. Raises HttpProblem 401."""
    now = environment.clock()
    drift = 1000 * environment.config.lifetimes.device_clock_drift
    if abs(signed.creationTimeInEpochMillis - now) > drift:
        raise HttpProblem(401, "creationTimeInEpochMillis is too far from the server's clock")
    used = await transaction.fetch_one(
        queries.USE_REQUEST_ID,
        target_id=target.id,
        request_id=signed.requestId,
        expires_at=now + 2 * drift + 1,
    )
    if used is None:
        raise HttpProblem(401, "requestId was used before")
