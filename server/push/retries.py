"""Attempts that are repeated with back-off, as long as whoever waits for the dispatch may be kept waiting."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from fidoloop.server.dispatchers.base import DispatchError
from fidoloop.server.push.client import Answer

T = TypeVar("T")
FIRST_PAUSE = 0.25
MAX_RETRY_AFTER = 86400.0
_random = random.SystemRandom()


class TryAgainError(Exception):
    """An attempt failed in a way that may pass; `after` are the seconds the push service asks to wait, if it does."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


async def with_retries(
    attempt: Callable[[float], Awaitable[T]],
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Return what `attempt` returns, which is told how many seconds it may take, half of those left at first.

    Each pause is twice the one before it, less up to a half by chance, or what the push service asks for.

    Raises:
        DispatchError: another attempt would begin after `seconds`; the text is of the last one.
    """
    deadline = clock() + seconds
    backoff, share = FIRST_PAUSE, 0.5
    while True:
        try:
            return await attempt((deadline - clock()) * share)
        except TryAgainError as error:
            delay = backoff * _random.uniform(0.5, 1) if error.after is None else error.after
            if clock() + delay >= deadline:
                raise DispatchError(str(error)) from None
        await pause(delay)
        backoff, share = 2 * backoff, 1.0


def retry_after(answer: Answer, now: datetime | None = None) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110 section 10.2.3), None where it says nothing readable."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
