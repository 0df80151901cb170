"""A card that answers from a script, and remembers what it was sent."""

from collections.abc import Callable

OK = b"\x90\x00"


class ScriptedCard:
    """Answers commands one after the other; an answer may be a function of the command."""

    def __init__(self, *answers: bytes | Callable[[bytes], bytes]) -> None:
        self._answers = list(answers)
        self.sent: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        answer = self._answers.pop(0)
        return answer if isinstance(answer, bytes) else answer(command)

    @property
    def done(self) -> bool:
        """Whether every answer was given."""
        return not self._answers
