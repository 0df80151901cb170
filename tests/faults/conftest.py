"""Faults: places to have them at, and how long each took to get over, told at the end."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.place import Place, make_place
from tests.server.postgres import Cluster

RECOVERY = "recovery"
MeasuredBy = Callable[[str, float], None]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this suite's own, which tests may stop if they start it again."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-pg-") as directory:
        Path(directory).chmod(0o755)
        made = Cluster(Path(directory) / "c")
        made.start()
        yield made
        made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A home on a database of either kind."""
    cluster = request.getfixturevalue("cluster") if request.param == "postgresql" else None
    return make_place(tmp_path, cluster, settings="insecure = true\n")


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return make_place(tmp_path, settings="insecure = true\n")


@pytest.fixture
def postgres_place(tmp_path: Path, cluster: Cluster) -> Place:
    return make_place(tmp_path, cluster, settings="insecure = true\n")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> MeasuredBy:
    """Note how many seconds something took; nothing depends on it."""

    def note(what: str, seconds: float) -> None:
        request.node.user_properties.append((RECOVERY, f"{what}: {seconds:.2f} s"))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    lines = [
        f"{report.nodeid.partition('::')[2]}: {text}"
        for report in reports
        for name, text in report.user_properties
        if name == RECOVERY
    ]
    if lines:
        terminalreporter.section("how long faults lasted")
        terminalreporter.write_line("\n".join(sorted(lines)))
