"""This phone's dispatch targets at their servers: each request signed by a target's hardware key (HTTP contract 6)."""

import time
import uuid
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
from msgspec import UNSET

from fidoloop.bridge.errors import CannotDecryptError, NoDispatchTargetError, ServerRefusedError
from fidoloop.bridge.http import JOSE_MEDIA_TYPE, Server
from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.target_keys import delete_target_keys
from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import HardwareKey, KeyStore
from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.errors import MalformedError

TARGETS: Final = "/token/dispatch/targets"
A = TypeVar("A")


class DispatchTargets:
    """The dispatch targets of one phone. Errors are BridgeError; KeyStoreError from the token."""

    def __init__(self, profile: Profile, store: KeyStore, connect: Callable[[str], Server]) -> None:
        """Take the phone's profile and key store, and how a server is reached by its base URL."""
        self._profile = profile
        self._store = store
        self._connect = connect

    def accounts(self) -> list[Account]:
        """Return the accounts that have a dispatch target."""
        return [account for account in self._profile.accounts() if account.target_id and account.signature_key_id]

    def credentials(self, account: Account) -> outofband.DeviceCredentials:
        """Return what the server knows of the account's target and of the keys of its user.

        Raises:
            NoDispatchTargetError: the account has none, here or at the server; CannotDecryptError, ServerRefusedError.
        """
        return self._ask(account, "credentials", outofband.DeviceCredentials)

    def operations(self, account: Account) -> outofband.PendingOperations:
        """Return what was dispatched to the account's target and not redeemed yet. Raises as `credentials`."""
        return self._ask(account, "operations", outofband.PendingOperations)

    def application_server_key(self, account: Account) -> str:
        """Return the key that the account's server pushes by, base64url. Raises ServerRefusedError: it has none."""
        with self._connect(account.base_url) as server:
            answer = server.send("GET", server.url("/web-push/key"), headers={"Accept": "application/json"})
        return answer.decode(outofband.ApplicationServerKey).applicationServerKey

    def modify(
        self, account: Account, *, name: str | None = None, dispatcher: str | None = None, address: str | None = None
    ) -> Account:
        """Change the target's name, its default dispatcher or the address that one pushes to; return the account.

        Raises:
            NoDispatchTargetError; ServerRefusedError: the name is taken, the dispatcher not configured.
        """
        target_id, key = self._signing(account)
        change = outofband.ModifyDispatchTarget(
            dispatchTargetId=target_id,
            requestId=str(uuid.uuid4()),
            creationTimeInEpochMillis=_now(),
            name=name or UNSET,
            dispatcher=dispatcher or UNSET,
            target=UNSET if address is None else address,
        )
        body = jose.sign_compact(strictjson.encode(change).encode("utf-8"), key)
        with self._connect(account.base_url) as server:
            answer = server.send(
                "PATCH",
                server.url(f"{TARGETS}/{quote(target_id, safe='')}"),
                content=body.encode("ascii"),
                headers={"Content-Type": f"{JOSE_MEDIA_TYPE};charset=UTF-8"},
            )
        if answer.status == 404:
            raise _gone(account)
        if answer.status != 204:
            raise ServerRefusedError(answer.status, answer.problem_detail())
        changed = msgspec.structs.replace(account, target_name=name or account.target_name)
        self._profile.save_account(changed)
        return changed

    def delete(self, account: Account) -> Account:
        """Delete the account's target at the server, and its keys; return the account without. Gone is as wished.

        The keys go even where the server cannot be reached; what it says then is raised after.
        """
        bare = msgspec.structs.replace(
            account,
            target_id=None,
            target_name=None,
            signature_key_id=None,
            encryption_key_id=None,
            encryption_thumbprint=None,
        )
        try:
            if account.target_id and account.signature_key_id:
                self._delete_at_server(account)
        finally:
            delete_target_keys(self._store, account.signature_key_id, account.encryption_key_id)
            self._profile.save_account(bare)
        return bare

    def _delete_at_server(self, account: Account) -> None:
        target_id, _ = self._signing(account)
        with self._connect(account.base_url) as server:
            url = server.url(f"{TARGETS}/{quote(target_id, safe='')}")
            answer = server.send("DELETE", url, headers=self._signature(account, "DELETE", url))
        if answer.status not in (204, 404):
            raise ServerRefusedError(answer.status, answer.problem_detail())

    def _ask(self, account: Account, service: str, type_: type[A]) -> A:
        device_id = quote(self._profile.settings().device_id, safe="")
        with self._connect(account.base_url) as server:
            url = server.url(f"/devices/{service}/{device_id}")
            headers = {**self._signature(account, "GET", url), "Accept": JOSE_MEDIA_TYPE}
            answer = server.send("GET", url, headers=headers)
        if answer.status == 404:
            raise _gone(account)
        if answer.status != 200:
            raise ServerRefusedError(answer.status, answer.problem_detail())
        assert account.encryption_key_id is not None
        try:
            text = jose.decrypt_compact(answer.body.decode("latin-1"), self._store.key(account.encryption_key_id))
            return strictjson.decode(text, type_)
        except MalformedError as error:
            raise ServerRefusedError(answer.status, f"unreadable answer: {error}") from None
        except jose.JoseRefusal as error:
            raise CannotDecryptError(f"the answer for {account.username}: {error}") from None
        except KeyGone:
            raise CannotDecryptError("this phone's decryption key is gone from the token") from None

    def _signature(self, account: Account, method: str, url: str) -> dict[str, str]:
        target_id, key = self._signing(account)
        claims = outofband.DeviceSignature(
            dispatchTargetId=target_id,
            requestId=str(uuid.uuid4()),
            creationTimeInEpochMillis=_now(),
            method=method,
            path=unquote(urlsplit(url).path),
        )
        return {"Device-Signature": jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key)}

    def _signing(self, account: Account) -> tuple[str, HardwareKey]:
        if account.target_id is None or account.signature_key_id is None:
            raise NoDispatchTargetError(
                f"{account.username} at {account.base_url} has no dispatch target on this phone"
            )
        return account.target_id, self._store.key(account.signature_key_id)


def _gone(account: Account) -> NoDispatchTargetError:
    return NoDispatchTargetError(
        f"{account.base_url} does not know the dispatch target of {account.username} any more: enrol again"
    )


def _now() -> int:
    return int(time.time() * 1000)
