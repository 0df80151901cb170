"""What a dispatch target asks of its server, each request signed by the target's hardware key (HTTP contract 6)."""

import time
import uuid
from urllib.parse import quote, urlsplit

from fidoloop.bridge.errors import ServerRefusedError
from fidoloop.bridge.http import Answer, Server
from fidoloop.bridge.profile import Account
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import jose, outofband, strictjson


def delete_target(server: Server, store: KeyStore, account: Account) -> None:
    """Delete the account's dispatch target at the server; one that is gone already is as wished.

    Raises:
        ServerRefusedError, NetworkError; KeyStoreError from the token.
    """
    if account.target_id is None or account.signature_key_id is None:
        return
    answer = _signed(server, store, account, "DELETE", f"/token/dispatch/targets/{quote(account.target_id, safe='')}")
    if answer.status not in (204, 404):
        raise ServerRefusedError(answer.status, answer.problem_detail())


def _signed(server: Server, store: KeyStore, account: Account, method: str, path: str) -> Answer:
    assert account.target_id is not None
    assert account.signature_key_id is not None
    url = server.url(path)
    claims = outofband.DeviceSignature(
        dispatchTargetId=account.target_id,
        requestId=str(uuid.uuid4()),
        creationTimeInEpochMillis=int(time.time() * 1000),
        method=method,
        path=urlsplit(url).path,
    )
    signature = jose.sign_compact(strictjson.encode(claims).encode("utf-8"), store.key(account.signature_key_id))
    return server.send(method, url, headers={"Device-Signature": signature})
