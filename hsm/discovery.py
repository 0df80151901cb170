"""What key hardware this machine has: modules, slots and tokens, each with the key-store URI to use it by."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fidoloop.hsm.pkcs11.installed import InstalledModule
from fidoloop.hsm.pkcs11.probe import PROBE_SECONDS, ModuleFound, TokenFound, probe
from fidoloop.hsm.uri import Pkcs11Uri

_AT_ONCE = 4


@dataclass(frozen=True)
class Discovered:
    """A module that is installed, and what was found in it."""

    installed: InstalledModule
    found: ModuleFound

    def uri(self, token: TokenFound) -> str:
        """Return the URI that names `token` among all of this module's, without a PIN."""
        labels = [slot.token.label for slot in self.found.slots if slot.token is not None]
        alone = bool(token.label) and labels.count(token.label) == 1
        serial = None if alone or not token.serial else token.serial
        return str(Pkcs11Uri(token=token.label or None, serial=serial, module_path=self.installed.path))


def discover(
    modules: Sequence[InstalledModule],
    *,
    seconds: float = PROBE_SECONDS,
    on_found: Callable[[Discovered], None] = lambda _: None,
) -> list[Discovered]:
    """Look into all modules, a few at a time, each in a process of its own; a broken one hides no other.

    Args:
        modules: which.
        seconds: how long each may take.
        on_found: told of each as it is done, on another thread.
    """

    def look(module: InstalledModule) -> Discovered:
        if module.proxy_only:
            found = ModuleFound(error="only p11-kit can load it: see the tokens of p11-kit-proxy.so")
        else:
            found = probe(module.path, seconds=seconds)
        discovered = Discovered(module, found)
        on_found(discovered)
        return discovered

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(look, modules))
