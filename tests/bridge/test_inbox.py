"""From a scanned text to a token: forms, decryption by the right key, and the host it would be redeemed at."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fidoloop.bridge import inbox
from fidoloop.bridge.errors import CannotDecryptError, MalformedPayloadError, UnknownHostError
from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.target_keys import TargetKeys, delete_target_keys, make_target_keys
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol import outofband, strictjson

HERE, THERE = "https://here.example", "https://there.example:8443"


@pytest.fixture(scope="module")
def store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_make_token()) as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(store: KeyStore) -> tuple[TargetKeys, TargetKeys]:
    """The dispatch-target keys of two accounts."""
    return make_target_keys(store), make_target_keys(store)


@pytest.fixture
def profile(tmp_path: Path, keys: tuple[TargetKeys, TargetKeys]) -> Iterator[Profile]:
    opened = Profile(tmp_path / "phone.sqlite")
    for base_url, made in zip((HERE, THERE), keys, strict=True):
        opened.save_account(account(base_url, made))
    yield opened
    opened.close()


def account(base_url: str, made: TargetKeys) -> Account:
    return Account(
        base_url,
        "alice",
        f"{base_url}/facets",
        "id",
        "phone",
        made.signature_key_id,
        made.encryption_key_id,
        made.encryption_jwk.thumbprint,
    )


def data(base_url: str = HERE, operation: str = "authentication", **more: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    return {"token": "the token", "redeem_url": f"{base_url}/nevisfido/token/redeem/{operation}", **more}


def opened(text: str, profile: Profile, store: KeyStore) -> inbox.DispatchedToken:
    return inbox.open_token(inbox.decode(text), profile, store)


@pytest.mark.parametrize("operation", ["registration", "authentication", "deregistration"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_plain_token_is_opened_and_belongs_to_nobody(
    profile: Profile, store: KeyStore, operation: str, slash: str
) -> None:
    content = data(operation=operation + slash)
    token = opened(outofband.encode_payload(content, None), profile, store)
    assert (token.token, token.base_url, token.operation) == ("the token", HERE, operation)
    assert (token.account, token.encrypted, token.host) == (None, False, "here.example")


@pytest.mark.parametrize("which", [0, 1])
def test_an_encrypted_token_is_opened_by_the_account_it_is_for(
    profile: Profile, store: KeyStore, keys: tuple[TargetKeys, TargetKeys], which: int
) -> None:
    base_url = (HERE, THERE)[which]
    payload = outofband.encode_payload(data(base_url, extra=1), keys[which].encryption_jwk)
    for form in (payload, outofband.qr_text(payload), outofband.link("fidoloop://x", payload), f"  {payload}\n"):
        token = opened(form, profile, store)
        assert token.account is not None
        assert (token.account.base_url, token.encrypted) == (base_url, True)
        assert token.members == ("extra", "redeem_url", "token")
        inbox.check_host(token, profile, expected=None)


def test_what_is_for_another_device_cannot_be_decrypted(profile: Profile, store: KeyStore) -> None:
    stranger = make_target_keys(store)
    payload = outofband.encode_payload(data(), stranger.encryption_jwk)
    with pytest.raises(CannotDecryptError, match="another device"):
        opened(payload, profile, store)
    delete_target_keys(store, stranger.signature_key_id, stranger.encryption_key_id)


def test_a_key_that_is_gone_is_told_apart(tmp_path: Path, store: KeyStore) -> None:
    made = make_target_keys(store)
    profile = Profile(tmp_path / "gone.sqlite")
    profile.save_account(account(HERE, made))
    payload = outofband.encode_payload(data(), made.encryption_jwk)
    delete_target_keys(store, made.signature_key_id, made.encryption_key_id, None, b"never there")
    with pytest.raises(CannotDecryptError, match="gone from the token"):
        opened(payload, profile, store)
    profile.close()


def test_a_changed_ciphertext_does_not_decrypt(
    profile: Profile, store: KeyStore, keys: tuple[TargetKeys, TargetKeys]
) -> None:
    payload = inbox.decode(outofband.encode_payload(data(), keys[0].encryption_jwk))
    assert isinstance(payload.nma_data, str)
    parts = payload.nma_data.split(".")
    parts[3] = ("A" if parts[3][0] != "A" else "B") + parts[3][1:]
    changed = outofband.Payload(".".join(parts), "application/jose")
    with pytest.raises(CannotDecryptError) as refused:
        inbox.open_token(changed, profile, store)
    assert "the token" not in str(refused.value).replace("from the token", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{}",
        "[]",
        "eyJ",
        "fidoloop://x",
        "fidoloop://x?dispatchTokenResponse=",
        "https://[",
        "é" * 100,
        "A" * 40_000,
        "{" * 2000,
    ],
    ids=range(11),
)
def test_what_is_no_payload_is_malformed(text: str) -> None:
    with pytest.raises(MalformedPayloadError, match="not a dispatched token"):
        inbox.decode(text)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://here.example",
        "https://here.example/nevisfido/status",
        "https://here.example/token/redeem/authentication",
        "https://here.example/nevisfido/token/redeem/",
        "https://here.example/nevisfido/token/redeem/nonsense",
        "https://here.example/nevisfido/token/redeem/authentication/more",
        "https://here.example/nevisfido/token/redeem/authentication?x=1",
        "https://here.example?/nevisfido/token/redeem/authentication",
        "https://here.example#/nevisfido/token/redeem/authentication",
        "https://u:p@here.example/nevisfido/token/redeem/authentication",
        "https://here.example@evil.example/nevisfido/token/redeem/authentication",
        "https://evil.example\\@here.example/nevisfido/token/redeem/authentication",
        "https://[/nevisfido/token/redeem/authentication",
        "https://here.example:port/nevisfido/token/redeem/authentication",
        "/nevisfido/token/redeem/authentication",
        "javascript:/nevisfido/token/redeem/authentication",
        "file:///nevisfido/token/redeem/authentication",
    ],
)
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_redeem_url_that_is_none_is_refused(
    profile: Profile, store: KeyStore, keys: tuple[TargetKeys, TargetKeys], url: str, encrypted: bool
) -> None:
    content = {"token": "t", "redeem_url": url}
    payload = outofband.encode_payload(content, keys[0].encryption_jwk if encrypted else None)
    with pytest.raises(MalformedPayloadError):
        opened(payload, profile, store)


@pytest.mark.parametrize("content", [{}, {"token": "t"}, {"redeem_url": "x"}, {"token": 1, "redeem_url": "x"}], ids=str)
def test_a_payload_without_token_and_url_is_malformed(
    profile: Profile, store: KeyStore, content: dict[str, Any]
) -> None:
    with pytest.raises(MalformedPayloadError):
        opened(strictjson.encode(outofband.Payload(content, "application/json")), profile, store)


@pytest.mark.parametrize("operation", ["authentication", "deregistration"])
def test_a_token_is_redeemed_only_where_the_phone_is_registered(
    profile: Profile, store: KeyStore, keys: tuple[TargetKeys, TargetKeys], operation: str
) -> None:
    for base_url in (HERE, THERE):
        inbox.check_host(
            opened(outofband.encode_payload(data(base_url, operation), None), profile, store), profile, expected=None
        )
    for evil in ("https://evil.example", f"{HERE}.evil.example", f"{HERE}:444", "http://here.example", f"{HERE}/x"):
        token = opened(outofband.encode_payload(data(evil, operation), None), profile, store)
        with pytest.raises(UnknownHostError):
            inbox.check_host(token, profile, expected=None)
    # Encrypted for one account, and to be redeemed at the other's server.
    crossed = opened(outofband.encode_payload(data(THERE, operation), keys[0].encryption_jwk), profile, store)
    with pytest.raises(UnknownHostError):
        inbox.check_host(crossed, profile, expected=None)


@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        (None, True),
        ("https://new.example", True),
        ("https://new.example/", True),
        (HERE, False),
        ("http://new.example", False),
    ],
)
def test_a_registration_is_for_the_server_the_user_expects(
    profile: Profile, store: KeyStore, expected: str | None, fits: bool
) -> None:
    token = opened(outofband.encode_payload(data("https://new.example", "registration"), None), profile, store)
    if fits:
        inbox.check_host(token, profile, expected=expected)
    else:
        with pytest.raises(UnknownHostError):
            inbox.check_host(token, profile, expected=expected)


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        ({"address": "192.0.2.1", "userAgent": "Firefox"}, "192.0.2.1, Firefox"),
        ({"address": "192.0.2.1"}, "192.0.2.1"),
        ({"address": "\x1b[2Jyou\u202e\n"}, "?[2Jyou??"),
        ({"address": "x" * 1000}, "x" * 128),
        ({"address": 7}, "7"),
        ({}, None),
        ("192.0.2.1", None),
        (None, None),
    ],
    ids=range(8),
)
def test_who_asked_is_shown_and_cannot_drive_the_terminal(
    profile: Profile, store: KeyStore, context: object, shown: str | None
) -> None:
    token = opened(outofband.encode_payload(data(requestContext=context), None), profile, store)
    assert token.requested_by == shown
