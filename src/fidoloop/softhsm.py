"""SoftHSM tokens for demonstrations and tests: real PKCS#11 tokens, keys protected in software only.

SoftHSM reads the environment variable SOFTHSM2_CONF when its library is initialised, so **one process sees one
directory of tokens**. `make_softhsm_token` therefore sets SOFTHSM2_CONF to the configuration in its directory (children
inherit it) and refuses a second directory in the same process; make as many tokens in one directory as you like,
each with a label of its own.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from fidoloop.hsm.errors import KeyStoreError, ModuleError
from fidoloop.hsm.uri import Pkcs11Uri

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_directory_of_this_process: Path | None = None


def find_softhsm_module() -> Path:
    """Return the path of libsofthsm2.so where Debian and its relatives put it. Raises ModuleError."""
    for pattern in _MODULES:
        for path in sorted(Path("/").glob(pattern[1:])):
            return path
    raise ModuleError("SoftHSM's libsofthsm2.so is not installed (Debian: apt install softhsm2)")


def current_softhsm_directory() -> Path | None:
    """Return the directory this process uses already, None before the first use."""
    return _directory_of_this_process


def use_softhsm_directory(directory: Path) -> Path:
    """Make `directory` the place of this process's SoftHSM tokens and return its configuration file.

    Raises:
        RuntimeError: this process uses another directory already.
    """
    global _directory_of_this_process  # noqa: PLW0603  # as global as the environment variable it guards
    directory = directory.resolve()
    if _directory_of_this_process not in (None, directory):
        raise RuntimeError("one process has one directory of SoftHSM tokens: SOFTHSM2_CONF is read once")
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    _directory_of_this_process = directory
    return configuration


def make_softhsm_token(directory: Path, label: str, pin: str, so_pin: str) -> str:
    """Initialise a new SoftHSM token in `directory` and return its URI with the PIN as pin-value.

    Args:
        directory: holds `softhsm2.conf` and `tokens/`; see the module's text on SOFTHSM2_CONF.
        label: the token's label, up to 32 bytes; a label in use already is refused by the URI later (ambiguous).
        pin: the user's PIN, 4 to 255 bytes.
        so_pin: the security officer's PIN, 4 to 255 bytes.

    Raises:
        ModuleError: SoftHSM is not installed.
        KeyStoreError: softhsm2-util refused (label too long, PIN too short).
    """
    module = find_softhsm_module()
    use_softhsm_directory(directory)
    # The PINs of a new software token appear in the process list for a moment: softhsm2-util reads them only
    # from its arguments or a terminal.
    _run_util("make", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", so_pin)
    return Pkcs11Uri(token=label, module_path=str(module), pin_value=pin).unredacted()


def delete_softhsm_token(label: str) -> None:
    """Delete a token of this process's directory with all that is in it. Raises ModuleError, KeyStoreError."""
    _run_util("delete", "--delete-token", "--token", label)


def _run_util(what: str, *arguments: str) -> None:
    util = shutil.which("softhsm2-util", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")
    if util is None:
        raise ModuleError("softhsm2-util is not installed (Debian: apt install softhsm2)")
    command = [util, "--module", str(find_softhsm_module()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = re.sub(r"\s+", " ", done.stderr or done.stdout).strip()
        raise KeyStoreError(f"softhsm2-util did not {what} the token: {reason}")
