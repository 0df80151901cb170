"""Who and what the server knows: users, their phones and their keys. No address of a phone, no key of a target."""

import msgspec

from fidoloop.server.environment import Environment
from fidoloop.server.store import fido2_queries, queries
from fidoloop.server.web.account import KeyShown, shown_key


class UserShown(msgspec.Struct, frozen=True):
    """A user; times are epoch milliseconds."""

    username: str
    createdAt: int
    disabledAt: int | None


class TargetShown(msgspec.Struct, frozen=True):
    """A dispatch target: a phone as it can be reached; `expiredAt`: its push service said then that it is gone."""

    id: str
    username: str
    name: str
    dispatcher: str | None
    hasAddress: bool
    createdAt: int
    lastUsedAt: int
    expiredAt: int | None


class OwnedKey(msgspec.Struct, frozen=True):
    """A UAF key and whose it is."""

    username: str
    key: KeyShown


class OwnedPasskey(msgspec.Struct, frozen=True):
    """A FIDO2 credential and whose it is."""

    username: str
    id: str
    model: str | None
    counter: int
    registeredAt: int
    lastUsedAt: int | None


class Overview(msgspec.Struct, frozen=True):
    """All that is registered; `now` is the server's time."""

    now: int
    users: tuple[UserShown, ...]
    targets: tuple[TargetShown, ...]
    keys: tuple[OwnedKey, ...]
    passkeys: tuple[OwnedPasskey, ...]


async def overview(environment: Environment) -> Overview:
    """Return what is registered now."""
    store, now = environment.store, environment.clock()
    environment.metadata.refresh(now)
    users = await store.fetch_all(queries.ACCOUNTS)
    targets = await store.fetch_all(queries.TARGETS)
    keys = await store.fetch_all(queries.CREDENTIALS)
    passkeys = await store.fetch_all(fido2_queries.CREDENTIALS)
    return Overview(
        now,
        tuple(UserShown(user.username, user.created_at, user.disabled_at) for user in users),
        tuple(
            TargetShown(
                target.id,
                target.username,
                target.name,
                target.dispatcher,
                target.target is not None,
                target.created_at,
                target.last_used_at,
                target.expired_at,
            )
            for target in targets
        ),
        tuple(OwnedKey(key.username, shown_key(environment, key)) for key in keys),
        tuple(
            OwnedPasskey(key.username, key.id, key.model, key.sign_count, key.created_at, key.last_used_at)
            for key in passkeys
        ),
    )
