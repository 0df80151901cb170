"""The UAF services by paths of a server's own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fidoloop.api.phone import ClientFailureError, Phone, ServerRefusedError, User
from fidoloop.hsm.uri import parse_uri
from fidoloop.testing.messages import Messages
from fidoloop.testing.options import UAF_PATHS
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import ServerUnderTest
from fidoloop.testing.uaf import UafServices
from tests.bridge.stub import Asked, Reply, stub

PATHS = {name: f"/fido/{number}" for number, name in enumerate(UAF_PATHS)}


def keys_in(phone: Phone) -> set[bytes]:
    return {info.key_id for info in phone.store.list()}


def test_a_phone_registers_and_logs_in_without_dispatched_tokens(
    fidoloop_uaf_services: UafServices, fidoloop_make_phone: PhoneMaker, fidoloop_user: str
) -> None:
    phone = fidoloop_make_phone()
    assert fidoloop_uaf_services.register(phone, fidoloop_user).status_code == 1200
    assert [account.username for account in phone.accounts()] == [fidoloop_user]
    assert fidoloop_uaf_services.authenticate(phone).status_code == 1200
    assert fidoloop_uaf_services.authenticate(phone, fidoloop_user).status_code == 1200


def test_what_the_user_refuses_reaches_no_server(
    fidoloop_uaf_services: UafServices,
    fidoloop_make_phone: PhoneMaker,
    fidoloop_user: str,
    fidoloop_messages: Messages,
) -> None:
    phone = fidoloop_make_phone(user=User(approve=lambda request: False), verification="prompt")
    with pytest.raises(ClientFailureError):
        fidoloop_uaf_services.register(phone, fidoloop_user)
    assert fidoloop_messages.to("/uaf/1.1/registration") == []


@pytest.fixture
def own_phone(fidoloop_token: str, tmp_path: Path) -> Iterator[Phone]:
    """A phone that trusts no lab's CA, and so plain http to this machine."""
    user = User(pin=parse_uri(fidoloop_token).pin())
    with Phone.create(tmp_path / "phone.sqlite", fidoloop_token, user=user) as phone:
        yield phone


@pytest.mark.parametrize(("status", "kept"), [(1200, 1), (1498, 0)])
def test_a_server_has_its_own_paths_and_a_key_that_it_refuses_is_destroyed(
    own_phone: Phone, status: int, kept: int
) -> None:
    message = {
        "header": {"upv": {"major": 1, "minor": 1}, "op": "Reg", "appID": ""},
        "challenge": "A" * 43,
        "username": "alice",
        "policy": {"accepted": [[{"aaid": ["F10B#0111"]}]]},
    }

    def answer(asked: Asked) -> Reply:
        told = {"statusCode": 1200, "op": "Reg", "uafRequest": json.dumps([message])}
        said = told if asked.path == PATHS["registration-request"] else {"statusCode": status}
        return Reply(headers={"Content-Type": "application/fido+uaf"}, body=json.dumps(said).encode())

    before = keys_in(own_phone)
    with stub(answer) as elsewhere:
        services = UafServices(ServerUnderTest(elsewhere.url, None, "the key"), PATHS, Messages())
        assert services.register(own_phone, "alice", channel="web").status_code == status
    asked, sent = elsewhere.asked
    assert (asked.path, sent.path) == (PATHS["registration-request"], PATHS["registration-response"])
    assert json.loads(json.loads(asked.body)["context"]) == {"username": "alice", "channel": "web"}
    assert asked.headers["authorization"] == "Bearer the key"
    assert "authorization" not in sent.headers
    assert len(keys_in(own_phone) - before) == kept


def test_without_a_request_nothing_is_made(own_phone: Phone) -> None:
    before = keys_in(own_phone)
    with stub(lambda asked: Reply(body=b'{"statusCode": 1404}')) as elsewhere:
        services = UafServices(ServerUnderTest(elsewhere.url, None, None), PATHS, Messages())
        with pytest.raises(ServerRefusedError, match="1404: no registration request"):
            services.register(own_phone, "alice")
    assert keys_in(own_phone) == before


@pytest.mark.parametrize("given", ["registration=/x", "registration-request", "registration-request=x"])
def test_a_path_that_says_nothing_ends_the_run(pytester: pytest.Pytester, given: str) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--fidoloop-uaf-path", given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --fidoloop-uaf-path '{given}' is not NAME=/PATH with NAME one of *"])
