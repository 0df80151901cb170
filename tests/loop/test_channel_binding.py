"""The phone names the TLS channel that it has, and the server takes no other."""

from pathlib import Path

import pytest

from fidoloop.bridge.errors import ServerRefusedError, UserDeclinedError
from fidoloop.server.tls import ensure_lab_tls
from tests.lab import running_lab
from tests.loop.tls_proxy import tls_proxy

MEMBERS = ["serverEndPoint", "tlsServerCertificate"]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_phone_on_the_servers_own_channel_is_taken(fidoloop_token: str, tmp_path: Path, member: str) -> None:
    with running_lab(fidoloop_token, tmp_path, settings=f"[server]\nchannel_binding = '{member}'\n") as lab:
        phone, _ = lab.enrolled()
        assert phone.login().status == 1200
        # A failure is told on the same channel: what counts is what failed.
        dispatched = lab.laptop.dispatch(dispatcher="link")
        declining = lab.phone(profile=phone._profile, confirm=lambda _token: False)
        with pytest.raises(UserDeclinedError):
            declining.scan(dispatched.response)
        assert lab.laptop.status(dispatched.session_id).uafStatusCode == 1498


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("configured", [True, False])
def test_a_proxy_that_ends_tls_must_be_configured(
    fidoloop_token: str, tmp_path: Path, member: str, configured: bool
) -> None:
    """Where it is not, it is whoever sits in the middle with a certificate that the phone trusts."""
    files = ensure_lab_tls(tmp_path / "proxy")
    with tls_proxy(files) as proxy:
        settings = f"[server]\nbase_url = 'https://localhost:{proxy.port}'\nchannel_binding = '{member}'\n"
        if configured:
            settings += f"channel_binding_certificates = ['{files.certificate}']\n"
        with running_lab(fidoloop_token, tmp_path, settings=settings, ca=files.ca) as lab:
            proxy.target = lab.server.port
            if configured:
                phone, _ = lab.enrolled()
                assert phone.login().status == 1200
            else:
                with pytest.raises(ServerRefusedError, match=r"channelBinding\.serverEndPoint is not") as caught:
                    lab.enrolled()
                assert caught.value.status == 1490
