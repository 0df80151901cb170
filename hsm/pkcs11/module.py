"""One PKCS#11 module per process: its lock, and its life across fork.

python-pkcs11 initialises a module for use by one thread and lets go of the GIL in every call, so **every** call into a
module, iteration and attribute reads included, happens while holding `Module.lock`. A fork waits for calls in progress;
the child gets fresh locks, and initialises the module again at its first use, as PKCS#11 2.40 section 5.4 asks. The
parent's sessions are not touched by that.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pkcs11 as p11
from pkcs11 import _pkcs11

from fidoloop.hsm.errors import ModuleError
from fidoloop.hsm.pkcs11.errors import reason_not_loaded, translate

_registry_lock = threading.RLock()
_modules: dict[str, "Module"] = {}
_MAX_LEAKED_SESSIONS = 16


class Module:
    """A loaded PKCS#11 module. Everything but `lock` is used while holding `lock`."""

    def __init__(self, path: str, library: _pkcs11.lib) -> None:
        """Wrap an initialised library; use `load_module`."""
        self.path = path
        self.lock = threading.RLock()
        self.dependants: list[Callable[[], None]] = []
        """Called, with no PKCS#11 call allowed, when all sessions and handles of the module have become void."""
        self.survives_fork = True
        """False where a child would share the parent's connection to the device: it may not use the module at all."""
        self._library = library
        self._stopped = False
        self._forked = False
        self._leaked = 0

    def library(self) -> _pkcs11.lib:
        """Return the library, initialised in this process. Raises KeyStoreError where that does not work."""
        if self._forked and not self.survives_fork:
            raise ModuleError(
                "this module's keys cannot be used in a fork of a process that used them: start a program of its own"
            )
        if self._forked:
            self._start_in_child()
        elif self._stopped:
            self._start()
        elif self._leaked >= _MAX_LEAKED_SESSIONS:
            self.reinitialise()
        return self._library

    def reinitialise(self) -> None:
        """Finalise and initialise the module: closes every session in this process, and shows new tokens.

        Raises KeyStoreError; the next use tries again.
        """
        self._void()
        self._start()

    def session_leaked(self) -> None:
        """Count a session that python-pkcs11 lost, as it does where logging in or out fails; `library` cleans up."""
        self._leaked += 1

    def _start(self) -> None:
        self._leaked = 0
        self._stopped = True
        with contextlib.suppress(p11.PKCS11Error):  # what was broken is thrown away
            self._library.finalize()
        try:
            self._library.initialize()
        except p11.PKCS11Error as error:
            raise translate(error, f"starting the module {self.path} again") from error
        self._stopped = self._forked = False

    def _start_in_child(self) -> None:
        """Initialise without finalising first, as PKCS#11 2.40 5.4 asks; some modules want it all the same."""
        try:
            self._library = _pkcs11.lib(self.path)
        except p11.PKCS11Error:
            self._start()
        self._leaked = 0
        self._stopped = self._forked = False

    def _void(self) -> None:
        for dependant in self.dependants:
            dependant()

    def after_fork_in_child(self) -> None:
        """Forget everything that belongs to the parent; makes no PKCS#11 call."""
        self.lock = threading.RLock()
        self._forked = True
        self._void()
        if not self.survives_fork:
            # Never finalised, not even when the child ends: that would wait for a thread the child does not have.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._library))


def load_module(path: str) -> Module:
    """Load a PKCS#11 module, once per process. Raises ModuleError."""
    real = str(Path(path).resolve())
    with _registry_lock:
        module = _modules.get(real)
        if module is None:
            try:
                library = p11.lib(real)
            except p11.PKCS11Error as error:
                reason = reason_not_loaded(error, real)
                raise ModuleError(f"the PKCS#11 module {path} cannot be loaded: {reason}") from error
            module = _modules[real] = Module(real, library)
    return module


def _before_fork() -> None:
    _registry_lock.acquire()
    for module in _modules.values():
        module.lock.acquire()


def _after_fork_in_parent() -> None:
    for module in _modules.values():
        module.lock.release()
    _registry_lock.release()


def _after_fork_in_child() -> None:
    global _registry_lock  # noqa: PLW0603  # the old lock is held by a thread that does not exist here
    _registry_lock = threading.RLock()
    for module in _modules.values():
        module.after_fork_in_child()


# Nobody holds a module's lock while taking the registry's, or two modules' locks, so this cannot deadlock.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
