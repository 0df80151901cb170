"""Settings of the server that a phone meets: which versions it speaks, and which keys it takes."""

from pathlib import Path

import pytest

from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.phone import Phone, Result
from fidoloop.protocol.uaf.status import ClientError
from tests.lab import SURROGATE_POLICY, Lab, running_lab


def deregister(lab: Lab, phone: Phone, username: str, **context: object) -> Result:
    (target,) = lab.laptop.targets(username)
    dispatched = lab.laptop.dispatch(
        operation="Dereg",
        username=username,
        target_id=target.id,
        dispatcher="link",
        context={"mode": "username", **context},
    )
    return phone.scan(dispatched.response)


@pytest.mark.parametrize("versions", [["1.0"], ["1.1", "1.0"], ["1.0", "1.1"], ["1.2", "1.0"]], ids=str)
def test_a_phone_answers_in_a_version_that_both_speak(fidoloop_token: str, tmp_path: Path, versions: list[str]) -> None:
    with running_lab(fidoloop_token, tmp_path, settings=f"[server]\nuaf_versions = {versions}\n") as lab:
        phone, username = lab.enrolled()
        assert phone.login().status == 1200
        assert phone.scan(lab.laptop.dispatch(username=username, dispatcher="link").response).status == 1200
        assert len(deregister(lab, phone, username).keys) == 1


def test_a_phone_tells_of_a_server_that_speaks_no_version_of_its_own(fidoloop_token: str, tmp_path: Path) -> None:
    with running_lab(fidoloop_token, tmp_path, settings="[server]\nuaf_versions = ['1.2']\n") as lab:
        with pytest.raises(ClientFailureError) as failure:
            lab.enrolled()
        assert failure.value.error is ClientError.UNSUPPORTED_VERSION


def test_where_attestation_is_required_a_phone_that_vouches_for_itself_keeps_no_key(
    fidoloop_token: str, tmp_path: Path
) -> None:
    with running_lab(fidoloop_token, tmp_path, settings="[server]\nrequire_key_attestation = true\n") as lab:
        phone, _ = lab.enrolled()
        assert phone.login().status == 1200
        before = {info.key_id for info in lab.store.list()}
        dispatched = lab.laptop.dispatch(
            operation="Reg", username=lab.new_user(), dispatcher="link", policy=SURROGATE_POLICY
        )
        other = lab.phone()
        with pytest.raises(ServerRefusedError, match="nobody vouches") as refused:
            other.register(dispatched.response, server=lab.server.url)
        assert refused.value.status == 1496
        assert {info.key_id for info in lab.store.list()} == before
        assert other.accounts() == []


def test_a_deregistration_by_wildcard_takes_what_the_server_does_not_know_and_other_users_keys_on_the_phone(
    fidoloop_lab: Lab,
) -> None:
    phone, username = fidoloop_lab.enrolled()
    other = fidoloop_lab.new_user()
    phone.register(fidoloop_lab.server.enrol(other), server=fidoloop_lab.server.url, target_name="the same phone")
    held = {entry.key_id for entry in phone.asm.registrations()}
    assert len(held) == 2
    assert len(deregister(fidoloop_lab, phone, username, wildcards=True).keys) == 2
    assert phone.asm.registrations() == []
    assert not held & {info.key_id for info in fidoloop_lab.store.list()}
