"""DPoP proofs at the authorization server, and the single use of every proof (RFC 9449 sections 5, 8 and 11.1)."""

from typing import NamedTuple

from fidoloop.protocol.oauth.dpop import INVALID, DpopProof, verify_dpop_proof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Change, Statements, Transaction, Value

HEADER = b"dpop"


class UsedProof(NamedTuple):
    """A proof to use up once all else has passed; `expires_at` is in epoch seconds, `code` says what a replay is."""

    replay_key: str
    expires_at: int
    code: str


def read_proof(environment: Environment, request: Request, path: str) -> DpopProof:
    """Return the verified DPoP proof of a request to the service at `path`; `use_proof` remembers it.

    Raises:
        OAuthRefusal: invalid_dpop_proof, use_dpop_nonce.
    """
    server = environment.authorization_server
    now = environment.clock() // 1000
    return verify_dpop_proof(
        request.fields(HEADER),
        expected_method=request.method,
        expected_uri=server.uri(path),
        now=now,
        is_nonce=(lambda nonce: server.nonces.is_good(nonce, now)) if server.settings.dpop_nonces else None,
    )


async def use_proof(transaction: Transaction, replay_key: str, expires_at: int, *, code: str = INVALID) -> None:
    """Use up a proof, after all else has passed; `expires_at` is in epoch seconds.

    Raises:
        OAuthRefusal: `code`: it was used before.
    """
    used = await transaction.fetch_one(oauth_queries.USE_PROOF, replay_key=replay_key, expires_at=1000 * expires_at)
    if used is None:
        raise OAuthRefusal(code, "the proof was used before")


def using(proof: DpopProof, second: UsedProof | None) -> Change:
    """Return the change that uses up a request's DPoP proof, and its proof of possession where it has one."""
    parameters: dict[str, Value] = {"replay_key": proof.replay_key, "expires_at": 1000 * proof.expires_at}
    if second is None:
        return Change(oauth_queries.ADD_PROOF, parameters)
    parameters |= {"second_key": second.replay_key, "second_until": 1000 * second.expires_at}
    return Change(oauth_queries.ADD_PROOFS, parameters, rows=2)


async def refuse_used(statements: Statements, proof: DpopProof, second: UsedProof | None) -> None:
    """Refuse proofs of which one was used before. Raises OAuthRefusal."""
    for replay_key, code in ((proof.replay_key, INVALID), *([(second.replay_key, second.code)] if second else ())):
        if await statements.fetch_one(oauth_queries.USED_PROOF, replay_key=replay_key) is not None:
            raise OAuthRefusal(code, "the proof was used before")


async def use_proofs(transaction: Transaction, proof: DpopProof | None, second: UsedProof | None) -> None:
    """Use up a request's DPoP proof and its proof of possession, as far as there are any, in one statement.

    Raises:
        OAuthRefusal: one of them was used before.
    """
    if proof is None or second is None:
        only = second if proof is None else UsedProof(proof.replay_key, proof.expires_at, INVALID)
        if only is not None:
            await use_proof(transaction, only.replay_key, only.expires_at, code=only.code)
        return
    used = await transaction.fetch_all(
        oauth_queries.USE_PROOFS,
        replay_key=proof.replay_key,
        expires_at=1000 * proof.expires_at,
        second_key=second.replay_key,
        second_until=1000 * second.expires_at,
    )
    if len(used) != 2:
        code = second.code if any(row.value == proof.replay_key for row in used) else INVALID
        raise OAuthRefusal(code, "the proof was used before")
