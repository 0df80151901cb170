"""A real server, sent what schemathesis makes of its own description."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.openapi import faults
from tests.server.harness import write_metadata
from tests.server.phone import full_model, surrogate_model
from tests.server.process import command, serving

EXAMPLES = 8
"""Of right and of wrong requests each, for each operation."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("server")
    write_metadata(made, full_model(), surrogate_model())
    assert command(made, "user", "add", "jeff").returncode == 0
    return made


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[tuple[str, str]]:
    """The URL of a server and an API credential of it."""
    bearer = json.loads(command(home, "apikey", "add", "fuzz", "--json").stdout)["apiKey"]
    with serving(home, "--insecure", log=home / "log") as (url, _):
        yield url, bearer


def test_every_answer_is_one_that_the_description_names(server: tuple[str, str], home: Path) -> None:
    found = list(faults(*server, examples=EXAMPLES))
    assert not found, "\n".join(found)
    assert "Traceback" not in (home / "log").read_text("utf-8")


def test_a_description_that_is_wrong_is_found(server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a status left out of the document is a fault."""
    url, bearer = server

    def without_404(document: dict[str, object]) -> None:
        operation = document["paths"]["/nevisfido/token/dispatch/targets"]["get"]  # type: ignore[index]
        operation["responses"] = {"200": operation["responses"]["200"]}

    monkeypatch.setattr("fuzz.openapi._take_apart", without_404)
    found = list(faults(url, bearer, examples=3, only="GET /nevisfido/token/dispatch/targets"))
    assert any("UndefinedStatusCode" in fault for fault in found)
