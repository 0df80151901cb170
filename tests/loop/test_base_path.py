"""A server behind a proxy that has others beside it: its URL has a path, which only those in front of the proxy see."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from fidoloop.bridge.http import JOSE_MEDIA_TYPE, Server
from fidoloop.bridge.oauth.app import OAuthApp
from fidoloop.bridge.oauth.fido import PhoneFido
from fidoloop.bridge.oauth.state import AppState
from fidoloop.bridge.passkeys import Passkeys
from fidoloop.demo_oauth import demo_policy
from fidoloop.server.tls import ensure_lab_tls
from tests.lab import Lab, running_lab
from tests.loop.tls_proxy import tls_proxy


def no_passkeys() -> AbstractContextManager[Passkeys]:
    raise NotImplementedError


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose server is at /auth of its proxy, as it is told by its settings."""
    directory = tmp_path_factory.mktemp("lab")
    files = ensure_lab_tls(directory / "proxy")
    with tls_proxy(files, "/auth") as proxy:
        settings = f"[server]\nbase_url = 'https://localhost:{proxy.port}/auth'\n"
        with running_lab(fidoloop_token, directory, settings=settings, ca=files.ca) as running:
            proxy.target = running.server.port
            yield running


def test_a_phone_does_all_it_can_at_a_server_whose_url_has_a_path(lab: Lab) -> None:
    assert lab.server.url.endswith("/auth")
    phone, username = lab.enrolled()
    (account,) = phone.accounts()
    assert account.base_url == lab.server.url
    assert account.app_id == f"{lab.server.url}/nevisfido/uaf/1.1/facets"
    assert phone.login().status == 1200
    (target,) = lab.laptop.targets(username)
    dispatched = lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    assert phone.scan(dispatched.response).status == 1200
    assert lab.laptop.status(dispatched.session_id).status == "succeeded"
    # What is signed for one request names its path, too.
    assert phone.targets.credentials(account).credentials
    lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    (waiting,) = phone.targets.operations(account).operations
    assert waiting
    phone.targets.modify(account, name="renamed")
    assert [entry.name for entry in lab.laptop.targets(username)] == ["renamed"]
    phone.remove(account)
    assert phone.accounts() == []


@pytest.mark.parametrize(("path", "status"), [("/auth/nevisfido", 200), ("/nevisfido", 401), ("/other/nevisfido", 401)])
def test_a_signature_is_for_the_path_that_devices_see(lab: Lab, path: str, status: int) -> None:
    phone, _ = lab.enrolled()
    (account,) = phone.accounts()
    with Server(lab.server.url, ca=lab.server.ca) as server:
        url = server.url(f"/devices/credentials/{phone.targets._profile.settings().device_id}")
        signature = phone.targets._signature(account, "GET", url.replace("/auth/nevisfido", path))
        answer = server.send("GET", url, headers=signature | {"Accept": JOSE_MEDIA_TYPE})
    assert answer.status == status


def test_an_app_has_its_proofs_for_the_url_with_the_path(lab: Lab) -> None:
    lab.server.write_device_policy(demo_policy())
    username = lab.new_user()
    lab.server.set_password(username, "correct horse battery")
    phone = lab.phone()
    with Server(lab.server.url, ca=lab.server.ca) as server:
        app = OAuthApp(server, lab.store, AppState(phone.targets._profile.database))
        with PhoneFido(phone, server.base_url, no_passkeys) as fido:
            assert app.enrol(username, "correct horse battery", fido).username == username
        assert app.call("GET", "/api/whoami").status == 200
        app.refresh()
        app.unregister()
