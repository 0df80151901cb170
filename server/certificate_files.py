"""The certificate and key that the server shows over TLS, in files that are read again when they change."""

import logging
import ssl
from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fidoloop.protocol.certificates import load_pem_certificates
from fidoloop.server.errors import SettingError

_log = logging.getLogger("fidoloop.server.tls")
_MOST_BYTES = 1 << 20
_TOO_OPEN = 0o027
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_Stamp = tuple[int, ...]


class Pair(NamedTuple):
    """A certificate that is good now, and a TLS context that shows it."""

    leaf: x509.Certificate
    context: ssl.SSLContext


class ServerCertificate:
    """The pair in use. `context` goes to the listener and stays the same; each connection gets the pair of its time."""

    def __init__(self, certificate: Path, key: Path, *, minimum_version: Literal["1.2", "1.3"], at: datetime) -> None:
        """Read the files. Raises SettingError for the setting of the file at fault: tls.cert or tls.key."""
        self._files = (certificate, key)
        self._minimum_version = _VERSIONS[minimum_version]
        self._stamp = _stamp_of(self._files)
        self._pair = load_pair(certificate, key, at=at)
        self._pair.context.minimum_version = self._minimum_version
        self._former: list[tuple[x509.Certificate, datetime]] = []
        self.context = self._pair.context
        self.context.sni_callback = self._choose

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that new connections get."""
        return self._pair.leaf

    def shown_since(self, moment: int) -> list[x509.Certificate]:
        """Return the certificate, and those that new connections got after `moment` (epoch milliseconds)."""
        self._former = [entry for entry in self._former if 1000 * entry[1].timestamp() > moment]
        return [self.leaf, *(certificate for certificate, _ in self._former)]

    def reload(self, *, at: datetime, only_if_changed: bool = True) -> bool:
        """Take up what the files hold now; where that is not good, say so in the log and keep what is in use."""
        stamp = _stamp_of(self._files)
        if only_if_changed and stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            pair = load_pair(*self._files, at=at)
        except SettingError as error:
            _log.error("the TLS certificate in use stays: %s", error)
            return False
        pair.context.minimum_version = self._minimum_version
        if pair.leaf != self.leaf:
            self._former.append((self.leaf, at))
        self._pair = pair
        _log.info("TLS certificate taken up, good until %s", pair.leaf.not_valid_after_utc.isoformat())
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._pair.context


def load_pair(certificate: Path, key: Path, *, at: datetime) -> Pair:
    """Return the pair in two PEM files: the certificate with its chain behind it, and its private key.

    Raises:
        SettingError: one cannot be read, they do not belong together, or the certificate is not valid at `at`.
    """
    leaf = load_leaf(certificate, "tls.cert")
    _check_key(key, certificate, leaf)
    if at > leaf.not_valid_after_utc:
        raise SettingError("tls.cert", f"{certificate}: expired on {_day(leaf.not_valid_after_utc)}")
    if at < leaf.not_valid_before_utc:
        raise SettingError(
            "tls.cert", f"{certificate}: not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError("tls.cert", f"{certificate}: TLS does not take it: {error}") from None
    return Pair(leaf, context)


def warn_about(certificate: Path, key: Path, leaf: x509.Certificate, *, host: str) -> None:
    """Say in the log what is allowed but hardly meant: a key that others can read, a certificate of another host."""
    mode = key.stat().st_mode & 0o777
    if mode & _TOO_OPEN:
        _log.warning("tls.key: %s can be read or changed by others (mode %04o): chmod 600 it", key, mode)
    if not _is_for(leaf, host):
        _log.warning("tls.cert: %s is not for %s, the host of base_url: clients will refuse it", certificate, host)


def load_leaf(path: Path, setting: str) -> x509.Certificate:
    """Return the first certificate in a PEM file. Raises SettingError for `setting`."""
    try:
        return load_pem_certificates(_read(path, setting))[0]
    except ValueError:
        raise SettingError(setting, f"{path}: holds no certificate in PEM") from None


def _check_key(path: Path, certificate: Path, leaf: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(_read(path, "tls.key"), None)
    except TypeError:
        raise SettingError("tls.key", f"{path}: encrypted; the server takes a plain key, mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError("tls.key", f"{path}: holds no private key in PEM") from None
    try:
        belongs = key.public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        belongs = False
    if not belongs:
        raise SettingError("tls.key", f"{path}: not the key of the certificate in {certificate}")


def _read(path: Path, setting: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingError(setting, f"{path}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise SettingError(setting, f"{path}: more than {_MOST_BYTES} bytes")
    return data


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _stamp_of(files: Iterable[Path]) -> _Stamp:
    found: list[int] = []
    for path in files:
        try:
            state = path.stat()
        except OSError:
            found.append(0)
        else:
            found += [state.st_mtime_ns, state.st_size, state.st_ino]
    return tuple(found)


def _is_for(leaf: x509.Certificate, host: str) -> bool:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wanted = host.lower()
        wildcard = f"*.{wanted.partition('.')[2]}"
        return any(name.lower() in (wanted, wildcard) for name in names.get_values_for_type(x509.DNSName))
