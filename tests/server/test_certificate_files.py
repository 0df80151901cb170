"""TLS by certificate files: what is refused, and what is taken up while the server runs."""

import logging
import signal
import ssl
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.server.certificate_files import ServerCertificate, load_pair, warn_about
from fidoloop.server.errors import SettingError
from tests.server.certificates import DAY, NOW, Authority, Files, replace
from tests.server.process import Running, command, started


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def wrong_pairs(authority: Authority) -> dict[str, tuple[Path, Path, str]]:
    good = authority.issue("good")
    other = authority.issue("other")
    encrypted = authority.issue("encrypted", password=b"secret")
    expired = authority.issue("expired", begins=NOW - 2 * DAY, ends=NOW - timedelta(hours=1))
    early = authority.issue("early", begins=NOW + timedelta(hours=1))
    nothing = authority.directory / "nothing.pem"
    empty = authority.directory / "empty.pem"
    empty.write_bytes(b"")
    big = authority.directory / "big.pem"
    big.write_bytes(bytes((1 << 20) + 1))
    return {
        "no certificate file": (nothing, good.key, f"tls.cert: {nothing}: No such file"),
        "no key file": (good.certificate, nothing, f"tls.key: {nothing}: No such file"),
        "no certificate in it": (good.key, good.key, f"tls.cert: {good.key}: holds no certificate"),
        "empty": (empty, good.key, f"tls.cert: {empty}: holds no certificate"),
        "too big": (big, good.key, f"tls.cert: {big}: more than"),
        "no key in it": (good.certificate, good.certificate, f"tls.key: {good.certificate}: holds no private key"),
        "key of another": (good.certificate, other.key, f"tls.key: {other.key}: not the key of the certificate in"),
        "encrypted": (encrypted.certificate, encrypted.key, f"tls.key: {encrypted.key}: encrypted"),
        "expired": (expired.certificate, expired.key, f"tls.cert: {expired.certificate}: expired on 20"),
        "not valid yet": (early.certificate, early.key, f"tls.cert: {early.certificate}: not valid before 20"),
    }


def test_a_pair_that_cannot_serve_is_refused_by_its_file(authority: Authority) -> None:
    for name, (certificate, key, reason) in wrong_pairs(authority).items():
        with pytest.raises(SettingError) as caught:
            load_pair(certificate, key, at=NOW)
        assert str(caught.value).startswith(reason), name


def test_a_key_that_others_can_read_and_another_host_are_warned_of(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.issue(hosts=("fido.example", "*.lab.example"))
    for host in ("fido.example", "a.lab.example"):
        warn_about(files.certificate, files.key, files.leaf, host=host)
    assert caplog.messages == []
    files.key.chmod(0o644)
    warn_about(files.certificate, files.key, files.leaf, host="a.b.lab.example")
    assert ["mode 0644" in message for message in caplog.messages] == [True, False]
    assert "is not for a.b.lab.example" in caplog.messages[1]


def test_what_the_files_hold_is_taken_up_only_if_it_is_good(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = authority.issue()
    certificate = ServerCertificate(first.certificate, first.key, minimum_version="1.3", at=NOW)
    assert not certificate.reload(at=NOW)
    replace(first.key, authority.issue("other").key.read_bytes())
    assert not certificate.reload(at=NOW)
    assert "stays" in caplog.messages[-1]
    assert certificate.leaf == first.leaf
    second = authority.issue()
    assert certificate.reload(at=NOW)
    assert certificate.leaf == second.leaf
    moment = int(1000 * NOW.timestamp())
    assert certificate.shown_since(moment - 1) == [second.leaf, first.leaf]
    assert certificate.shown_since(moment + 1) == [second.leaf]
    assert certificate.reload(at=NOW, only_if_changed=False)
    assert certificate.shown_since(0) == [second.leaf]


def shown_by(running: Running, authority: Authority) -> bytes:
    """Return the certificate that a new connection gets, DER."""
    context = ssl.create_default_context(cafile=authority.pem)
    with httpx2.Client(verify=context, timeout=60) as client, client.stream("GET", f"{running.url}/healthz") as answer:
        assert answer.status_code == 200
        connection = answer.extensions["network_stream"].get_extra_info("ssl_object")
        return bytes(connection.getpeercert(True))


def der(files: Files) -> bytes:
    return files.leaf.public_bytes(Encoding.DER)


@pytest.mark.parametrize("how", ["signal", "change"])
def test_new_connections_get_the_new_certificate(tmp_path: Path, authority: Authority, how: str) -> None:
    first = authority.issue()
    options = ("--tls-cert", str(first.certificate), "--tls-key", str(first.key))
    with started(tmp_path / "home", *options) as running:
        assert running.ca is None
        assert shown_by(running, authority) == der(first)
        second = authority.issue()
        if how == "signal":
            running.process.send_signal(signal.SIGHUP)
        while shown_by(running, authority) != der(second):
            assert running.process.poll() is None
        assert running.stop() == 0
    assert not (tmp_path / "home" / "tls" / "ca.pem").exists()


REFUSED = [
    (("--tls-cert", "{cert}"), "--tls-cert: tls.cert: needs tls.key beside it"),
    (("--tls-key", "{key}"), "--tls-key: tls.key: needs tls.cert beside it"),
    (("--tls-cert", "{cert}", "--tls-key", "{key}", "--insecure"), "--insecure: insecure: plain http shows no"),
    (("--tls-cert", "{cert}", "--tls-key", "{cert}"), "--tls-key: tls.key: {cert}: holds no private key"),
    (("--tls-dev", "--insecure"), "excludes --insecure"),
    (("--tls-dev", "--tls-cert", "{cert}"), "excludes --tls-cert"),
    (("--insecure", "--host", "192.0.2.1"), "--insecure: insecure: plain http is for loopback addresses only"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_refused_combinations_say_why(
    tmp_path: Path, authority: Authority, options: tuple[str, ...], reason: str
) -> None:
    files = authority.issue()
    names = {"cert": files.certificate, "key": files.key}
    home = tmp_path / "home"
    done = command(home, "run", "--port", "0", *(option.format(**names) for option in options))
    assert done.returncode == 2
    words = " ".join(done.stderr.replace("│", " ").split())
    assert reason.format(**names) in words


def test_the_lab_ca_is_back_where_the_command_line_asks_for_it(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue()
    home = tmp_path / "home"
    home.mkdir()
    text = f"[server.tls]\ncert = '{files.certificate}'\nkey = '{files.key}'\n"
    (home / "fidoloop.toml").write_text(text)
    with started(home, "--tls-dev") as running:
        assert running.ca == home / "tls" / "ca.pem"
        assert running.stop() == 0
