"""Which PKCS#11 modules this machine has: those p11-kit is configured with (pkcs11.conf(5)), and well-known files."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAX_FILE = 64 * 1024
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_,.\-]*\.module")
_FIELD_NAME = re.compile(r"[A-Za-z0-9._\-]+")
_MODULE_DIRECTORIES: Final = ("usr/lib/*/pkcs11", "usr/lib64/pkcs11", "usr/lib/pkcs11", "usr/local/lib/pkcs11")
# Where makers put their modules, beside what p11-kit knows.
_KNOWN: Final = (
    "usr/lib/softhsm/libsofthsm2.so",
    "usr/lib/*/softhsm/libsofthsm2.so",
    "usr/local/lib/softhsm/libsofthsm2.so",
    "usr/lib/*/opensc-pkcs11.so",
    "usr/lib64/opensc-pkcs11.so",
    "usr/lib/*/pkcs11/libtpm2_pkcs11.so",
    "usr/lib64/pkcs11/libtpm2_pkcs11.so",
    "usr/lib/*/libykcs11.so.[0-9]",
    "usr/local/lib/libykcs11.so",
    "usr/lib/*/pkcs11/yubihsm_pkcs11.so",
    "usr/local/lib/pkcs11/yubihsm_pkcs11.so",
    "usr/lib/nitrokey/libnethsm_pkcs11.so",
    "usr/lib/*/opencryptoki/libopencryptoki.so",
    "usr/lib/libeTPkcs11.so",
    "usr/safenet/lunaclient/lib/libCryptoki2_64.so",
    "opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
    "opt/nfast/toolkits/pkcs11/libcknfast.so",
    "opt/utimaco/lib/libcs_pkcs11_R3.so",
)


@dataclass(frozen=True)
class InstalledModule:
    """A module to look into: its file, p11-kit's name for it, or "" where p11-kit has none.

    `proxy_only` modules want arguments when they are initialised (NSS) or run elsewhere: only p11-kit can load them.
    """

    path: str
    name: str = ""
    proxy_only: bool = False


def installed_modules(
    *, root: Path = Path("/"), environment: Mapping[str, str] | None = None, superuser: bool | None = None
) -> list[InstalledModule]:
    """Return the modules there are, each file once: p11-kit's first, by name.

    Args:
        root: where the file system begins.
        environment: names the user's own configuration (HOME, XDG_CONFIG_HOME) and a p11-kit server.
        superuser: whether root asks; root's own configuration does not count.
    """
    environment = os.environ if environment is None else environment
    superuser = os.getuid() == 0 if superuser is None else superuser
    found = list(p11_kit_modules(root=root, environment=environment, superuser=superuser))
    patterns = list(_KNOWN)
    if any(module.proxy_only for module in found):
        patterns += ("usr/lib/*/p11-kit-proxy.so", "usr/lib64/p11-kit-proxy.so")
    if "P11_KIT_SERVER_ADDRESS" in environment:
        patterns += ("usr/lib/*/pkcs11/p11-kit-client.so", "usr/lib64/pkcs11/p11-kit-client.so")
    for pattern in patterns:
        found += [InstalledModule(str(path)) for path in sorted(root.glob(pattern))]
    once: dict[str, InstalledModule] = {}
    for module in found:
        once.setdefault(os.path.realpath(module.path), module)
    return list(once.values())


def p11_kit_modules(*, root: Path, environment: Mapping[str, str], superuser: bool) -> Iterable[InstalledModule]:
    """Read p11-kit's configuration: the user's before the administrator's before the packages', field by field.

    As p11-kit does, the user's is left out for root, or where pkcs11.conf says so.
    """
    administrator, packages = root / "etc" / "pkcs11", root / "usr" / "share" / "p11-kit"
    mode = _read(administrator / "pkcs11.conf").get("user-config", "merge")
    user = _user_directory(environment)
    if mode == "none" or superuser or user is None:
        directories = [administrator, packages]
    else:
        mode = _read(user / "pkcs11.conf").get("user-config", mode)
        directories = [user] if mode == "only" else [user, administrator, packages]
    merged: dict[str, dict[str, str]] = {}
    for directory in directories:
        for path in sorted((directory / "modules").glob("*.module")):
            if _FILE_NAME.fullmatch(path.name):
                fields = merged.setdefault(path.stem, {})
                fields |= {name: value for name, value in _read(path).items() if name not in fields}
    for name, fields in sorted(merged.items()):
        module, remote = fields.get("module", ""), fields.get("remote", "")
        if module or remote:
            proxy_only = bool(remote or fields.get("x-init-reserved"))
            yield InstalledModule(_resolve(module, root) if module else remote, name, proxy_only)


def parse_configuration(text: str) -> dict[str, str]:
    """Return the fields of one of p11-kit's files; what is no field is left out (pkcs11.conf(5), "File format")."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.lstrip().startswith("#") and _FIELD_NAME.fullmatch(name.strip()):
            fields[name.strip()] = value.strip()
    return fields


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return parse_configuration(file.read(_MAX_FILE))
    except OSError:
        return {}  # not there, or not ours to read: as p11-kit has it


def _user_directory(environment: Mapping[str, str]) -> Path | None:
    base = environment.get("XDG_CONFIG_HOME") or (environment["HOME"] + "/.config" if "HOME" in environment else None)
    return Path(base) / "pkcs11" if base else None


def _resolve(module: str, root: Path) -> str:
    """Return the file of a module; a relative one lies in p11-kit's own directory of modules."""
    if module.startswith("/"):
        return module
    for pattern in _MODULE_DIRECTORIES:
        for directory in sorted(root.glob(pattern)):
            if (directory / module).exists():
                return str(directory / module)
    return module
