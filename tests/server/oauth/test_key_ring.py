"""Signing keys with overlap."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fidoloop.server.errors import ConfigError
from fidoloop.server.oauth.key_ring import KEPT_AFTER, PUBLISHED_BEFORE, KeyRing, rotate

START = datetime(2026, 11, 1, tzinfo=UTC)


def at(later: timedelta = timedelta()) -> int:
    return int((START + later).timestamp() * 1000)


def test_a_new_key_is_published_before_it_signs_and_an_old_one_after_it_last_did(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, "as", at())
    first = ring.signing_key(at())
    minute = timedelta(minutes=1)
    rotate(tmp_path, "as", at(minute))
    ring.refresh(at(minute))
    assert len(ring.public_keys()) == 2
    assert ring.signing_key(at(minute)).kid == first.kid
    later = minute + PUBLISHED_BEFORE
    second = ring.signing_key(at(later))
    assert second.kid != first.kid
    assert first.kid in ring.public_keys()
    _, removed = rotate(tmp_path, "as", at(later + KEPT_AFTER + timedelta(seconds=1)))
    ring.refresh(at(later + KEPT_AFTER + timedelta(seconds=1)))
    assert removed == [f"as-{START:%Y%m%dT%H%M%SZ}.pem"]
    assert first.kid not in ring.public_keys()
    assert second.kid in ring.public_keys()


def test_roles_have_keys_and_secrets_of_their_own(tmp_path: Path) -> None:
    ours, attesters = KeyRing(tmp_path, "as", at()), KeyRing(tmp_path, "attester", at())
    assert not ours.public_keys().keys() & attesters.public_keys().keys()
    secrets = {ring.secrets(label)[0] for ring in (ours, attesters) for label in ("a", "b")}
    assert len(secrets) == 4
    assert KeyRing(tmp_path, "as", at()).secrets("a") == ours.secrets("a")


@pytest.mark.parametrize(("name", "content"), [("as-20261101T000000Z.pem", b"x"), ("as-today.pem", None)])
def test_a_file_that_holds_no_key_stops_the_start(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is None:
        KeyRing(tmp_path, "as", at())
        next(tmp_path.glob("as-*.pem")).rename(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        KeyRing(tmp_path, "as", at())
