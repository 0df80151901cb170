"""The Server-Timing header (W3C Server Timing): how long the steps of an answer took."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class ServerTiming:
    """The steps of one answer, in their order."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the step `name`, a token of letters."""
        started = perf_counter()
        try:
            yield
        finally:
            self._steps.append((name, 1000 * (perf_counter() - started)))

    def header(self) -> tuple[bytes, bytes]:
        """Return the header, durations in milliseconds."""
        return b"server-timing", ", ".join(f"{name};dur={millis:.3f}" for name, millis in self._steps).encode("ascii")
