"""`make diagrams`: runs the loop and draws what travelled; docs/diagrams/ has the recordings and the drawings."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from fidoloop.traffic import Party, SentMessage
from manual.recordings import Recording, new_token, record_all
from manual.sequence import draw

DIAGRAMS: Final = Path(__file__).parents[1] / "docs" / "diagrams"


def steps(recording: Recording) -> list[tuple[str, ...]]:
    """Return what does not depend on how fast things went: each message once, in the order of the first of its kind.

    How often the laptop asks for the status, and which states it sees, is left out; so is, of the OAuth walk, how often
    a refresh is answered one way or the other before a changed policy is taken up.
    """
    return list(
        dict.fromkeys(
            (part.caption, message.sender, message.receiver, message.name)
            for part in recording.parts
            for message in part.messages
            if not _is_watching(message) and not (part.caption and message.sender is Party.SERVER)
        )
    )


def _is_watching(message: SentMessage) -> bool:
    return "/status" in message.name or message.name.startswith(("200 status", "200 tokenCreated", "200 client"))


def committed(directory: Path = DIAGRAMS) -> dict[str, Recording]:
    """Return the recordings that the diagrams were drawn from, by name."""
    return {
        path.stem: msgspec.json.decode(path.read_bytes(), type=Recording) for path in sorted(directory.glob("*.json"))
    }


def write(recordings: dict[str, Recording], directory: Path = DIAGRAMS) -> None:
    """Write recordings and drawings."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, recording in recordings.items():
        encoded = msgspec.json.format(msgspec.json.encode(recording), indent=1)
        (directory / f"{name}.json").write_bytes(encoded + b"\n")
        (directory / f"{name}.svg").write_text(draw(recording), encoding="utf-8")
        sys.stdout.write(f"docs/diagrams/{name}.svg\n")


if __name__ == "__main__":
    with new_token() as token:
        write(record_all(token))
