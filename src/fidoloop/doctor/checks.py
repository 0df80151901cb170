"""The table of all checks."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from fidoloop.doctor import hardware, system
from fidoloop.doctor.values import Finding, Machine

Check = Callable[[Machine], Finding | Iterator[Finding]]
CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "python": system.check_python,
        "packages": system.check_packages,
        "home": system.check_home,
        "modules": hardware.check_modules,
        "softhsm": hardware.check_softhsm,
        "readers": hardware.check_readers,
        "tpm": hardware.check_tpm,
        "port": system.check_port,
        "localhost": system.check_localhost,
        "clock": system.check_clock,
        "radio": system.check_radio,
        "camera": system.check_camera,
        "browser": system.check_browser,
    }
)


def examine(machine: Machine, on_check: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Return what every check finds; `on_check` is told the name of each as it begins."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        on_check(name)
        outcome = check(machine)
        found += [outcome] if isinstance(outcome, Finding) else list(outcome)
    return found
