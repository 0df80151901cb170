"""Bytes to a TPM and back, through the TSS's loader of transports (TCTI): broker, kernel device or simulator.

tpm2-tools cannot be used: its `tpm2_certify` has no option for qualifying data, and so no nonce. The loader is a part
of what tpm2-pkcs11 itself stands on. Source: TCG TSS 2.0 TPM Command Transmission Interface (TCTI) API, section 3.
"""

import ctypes
from types import TracebackType
from typing import Final, Self

from fidoloop.hsm.errors import DeviceTimeout, ModuleError, NotSupported, TokenAbsent

_LIBRARY: Final = "libtss2-tctildr.so.0"
_MAX_RESPONSE: Final = 4096
TIMEOUT_MILLISECONDS: Final = 60_000
_TRY_AGAIN: Final = 9
_BAD_VALUE: Final = 11


class _Context(ctypes.Structure):
    """TSS2_TCTI_CONTEXT_COMMON_V1, as far as it is used."""


_Transmit = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.POINTER(_Context), ctypes.c_size_t, ctypes.c_void_p)
_Receive = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.POINTER(_Context), ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p, ctypes.c_int32
)
_Context._fields_ = [
    ("magic", ctypes.c_uint64),
    ("version", ctypes.c_uint32),
    ("transmit", _Transmit),
    ("receive", _Receive),
]


class TpmConnection:
    """A connection to a TPM, of its own: what is loaded through it nobody else sees. A context manager."""

    def __init__(self, configuration: str | None) -> None:
        """Connect.

        Args:
            configuration: the transport and its options ("device:/dev/tpmrm0", "tabrmd:bus_type=session"); None for
                the loader's own choice.

        Raises:
            NotSupported: the TSS is not installed.
            TokenAbsent: no TPM answers there.
        """
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise NotSupported(f"{_LIBRARY} is not installed (Debian: apt install libtss2-tctildr0)") from None
        self._context = ctypes.POINTER(_Context)()
        name = None if configuration is None else configuration.encode()
        code = self._library.Tss2_TctiLdr_Initialize(name, ctypes.byref(self._context))
        if code:
            where = "the transport the TSS chose" if configuration is None else configuration
            raise TokenAbsent(f"no TPM answers through {where} (TSS 0x{code & 0xFFFFFFFF:x})")

    def run(self, command: bytes) -> bytes:
        """Send a command and return the response. Raises TokenAbsent, DeviceTimeout, ModuleError."""
        context = self._context.contents
        code = context.transmit(self._context, len(command), command)
        if code:
            raise TokenAbsent(f"the TPM takes no command (TSS 0x{code:x})")
        size = ctypes.c_size_t(_MAX_RESPONSE)
        response = ctypes.create_string_buffer(_MAX_RESPONSE)
        code = context.receive(self._context, ctypes.byref(size), response, TIMEOUT_MILLISECONDS)
        if code & 0xFFFF == _BAD_VALUE:  # a transport that can only wait
            code = context.receive(self._context, ctypes.byref(size), response, -1)
        if code & 0xFFFF == _TRY_AGAIN:
            raise DeviceTimeout(f"the TPM did not answer within {TIMEOUT_MILLISECONDS // 1000} s")
        if code:
            raise ModuleError(f"the TPM's answer cannot be read (TSS 0x{code:x})")
        return response.raw[: size.value]

    def close(self) -> None:
        """Disconnect; more than once does no harm."""
        if self._context:
            self._library.Tss2_TctiLdr_Finalize(ctypes.byref(self._context))
            self._context = ctypes.POINTER(_Context)()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
