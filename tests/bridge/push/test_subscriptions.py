"""Push subscriptions in a profile: one an account, for one server's key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.push.subscriptions import PushSubscriptions
from fidoloop.protocol import web_push

ALICE, BOB = (Account("https://server.example", name, "app") for name in ("alice", "bob"))


def server_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Profile]:
    opened = Profile(tmp_path / "phone.sqlite")
    yield opened
    opened.close()


def test_a_subscription_is_kept_for_its_servers_key(profile: Profile) -> None:
    key = server_key()
    made = PushSubscriptions(profile).make(ALICE, key)
    again = PushSubscriptions(profile).make(ALICE, key)
    assert (again.path, again.auth, again.server_key) == (made.path, made.auth, key)
    assert again.key.private_numbers() == made.key.private_numbers()
    read = web_push.parse_subscription(made.at("https://localhost/x"))
    assert (read.public_key, read.auth) == (made.key.public_key(), made.auth)


def test_a_server_with_another_key_gets_another_subscription(profile: Profile) -> None:
    subscriptions = PushSubscriptions(profile)
    first, other = (subscriptions.make(ALICE, server_key()) for _ in range(2))
    bob = subscriptions.make(BOB, other.server_key)
    assert len({first.path, other.path, bob.path}) == 3
    assert len({first.auth, other.auth, bob.auth}) == 3
    kept = subscriptions.get(ALICE)
    assert kept is not None
    assert kept.path == other.path
    subscriptions.remove(ALICE)
    assert subscriptions.get(ALICE) is None
    assert subscriptions.get(BOB) is not None


def test_a_message_is_new_once_and_forgotten_when_it_would_be_refused_anyway(profile: Profile) -> None:
    subscriptions = PushSubscriptions(profile)
    assert subscriptions.is_new(b"digest", until=100, now=10)
    assert not subscriptions.is_new(b"digest", until=100, now=100)
    assert subscriptions.is_new(b"another", until=200, now=50)
    assert not PushSubscriptions(profile).is_new(b"digest", until=100, now=50)
    assert subscriptions.is_new(b"third", until=300, now=101)
    rows = profile.database.execute("SELECT digest FROM push_seen").fetchall()
    assert {row[0] for row in rows} == {b"another", b"third"}
