"""The plugin's options, and what follows from them; as light as the plugin itself."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

KINDS = {"softhsm": "fidoloop_token", "tpm": "fidoloop_tpm_token", "piv": "fidoloop_piv_token"}
"""Key stores that are made for a test run, and the fixtures that make them."""
UAF_PATHS = {
    "registration-request": "/nevisfido/uaf/1.1/request/registration",
    "registration-response": "/nevisfido/uaf/1.1/registration",
    "authentication-request": "/nevisfido/uaf/1.1/request/authentication",
    "authentication-response": "/nevisfido/uaf/1.1/authentication",
}
"""Where nevisFIDO has its UAF services."""
API_KEY_VARIABLE = "FIDOLOOP_API_KEY"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("fidoloop", "fidoloop: phones with hardware keys, and the server they log in to")
    add = group.addoption
    add("--fidoloop-server", metavar="URL", help="Base URL of the server to test, in the place of the plugin's own.")
    add("--fidoloop-ca", metavar="FILE", type=Path, help="PEM file of the CA that its certificate is from.")
    add(
        "--fidoloop-api-key",
        metavar="FILE",
        type=Path,
        help=f"File with its API credential; else the environment variable {API_KEY_VARIABLE}.",
    )
    add(
        "--fidoloop-user",
        metavar="NAME",
        action="append",
        default=[],
        help="A user of its that phones may be enrolled for; may be repeated.",
    )
    add(
        "--fidoloop-metadata",
        metavar="DIR",
        type=Path,
        help="Where it reads metadata statements: those of the phones' models are written there.",
    )
    add(
        "--fidoloop-uaf-path",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help=f"Where a UAF service of its is, for `fidoloop_uaf_services`: {', '.join(UAF_PATHS)}; may be repeated.",
    )
    add(
        "--fidoloop-keys",
        metavar="KIND|URI",
        default="softhsm",
        help="Where phones have their keys: softhsm, tpm (swtpm), piv (a virtual card), or the URI of your token.",
    )
    add(
        "--fidoloop-tls",
        choices=("lab", "none"),
        default="lab",
        help="The plugin's own server: TLS by a lab CA, or plain http.",
    )
    add(
        "--fidoloop-require",
        action="store_true",
        help="Fail tests for what is not installed, instead of skipping them.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that cannot be meant, before anything runs."""
    check_keys(config.getoption("--fidoloop-keys"))
    uaf_paths(config)


def check_keys(wanted: str) -> None:
    """Refuse what names no key store. Raises pytest.UsageError."""
    if wanted not in KINDS and not wanted.startswith(("pkcs11:", "piv:")):
        raise pytest.UsageError(f"key store {wanted!r} is none of {', '.join(KINDS)}, and no pkcs11: or piv: URI")


def uaf_paths(config: pytest.Config) -> dict[str, str]:
    """Return where the server's UAF services are, by name. Raises pytest.UsageError."""
    paths = dict(UAF_PATHS)
    for given in config.getoption("--fidoloop-uaf-path"):
        name, _, path = given.partition("=")
        if name not in UAF_PATHS or not path.startswith("/"):
            names = ", ".join(UAF_PATHS)
            raise pytest.UsageError(f"--fidoloop-uaf-path {given!r} is not NAME=/PATH with NAME one of {names}")
        paths[name] = path
    return paths


def installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    return importlib.util.find_spec(module) is not None


def missing(config: pytest.Config, why: str) -> NoReturn:
    """Skip the test, or fail it with --fidoloop-require."""
    if config.getoption("--fidoloop-require"):
        pytest.fail(f"{why} (--fidoloop-require)", pytrace=False)
    pytest.skip(why)


@contextlib.contextmanager
def or_skipped(config: pytest.Config) -> Iterator[None]:
    """Skip the test where a program or module is not installed; the text names its package."""
    from fidoloop.hsm.errors import ModuleError

    why = ""
    try:
        yield
    except ModuleError as error:
        why = str(error)
    if why:
        try:
            missing(config, why)
        except (pytest.skip.Exception, pytest.fail.Exception) as outcome:
            raise outcome from None  # else pytest would print the error a second time


def api_key(config: pytest.Config) -> str | None:
    """Return the API credential: a file's, else the environment's. Raises pytest.UsageError."""
    source: Path | None = config.getoption("--fidoloop-api-key")
    if source is None:
        return os.environ.get(API_KEY_VARIABLE)
    try:
        return source.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise pytest.UsageError(f"--fidoloop-api-key {source}: {error.strerror}") from None
