"""A private PostgreSQL cluster for tests: Unix socket in a temporary directory, no TCP, gone afterwards."""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ATTEMPTS = 50


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path or "initdb").parent


class Cluster:
    """A cluster in `directory`, of which nobody else has a file. PostgreSQL refuses to run as root: it is postgres."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data, self._sockets = directory / "data", directory / "s"
        self.url = f"postgresql://fidoloop@/postgres?host={self._sockets}"
        self._sockets.mkdir(parents=True)
        self._prefix: list[str] = []
        self._suspended: list[int] = []
        if os.geteuid() == 0:
            self._prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(directory, "postgres", "postgres")
            shutil.chown(self._sockets, "postgres", "postgres")
        self.call("initdb", "-D", str(self._data), "-U", "fidoloop", "-A", "trust", "-E", "UTF8", "--no-sync")

    def call(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs, and return what it says."""
        done = self._run(program, *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self) -> None:
        """Start, also after a kill: then it is refused until the last of the former's children is gone."""
        options = f"-c listen_addresses= -c unix_socket_directories={self._sockets} -c fsync=off"
        log = str(self._directory / "log")
        for _ in range(ATTEMPTS):
            done = self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")
            if done.returncode == 0:
                return
        raise AssertionError(done.stdout)

    def stop(self) -> None:
        """Stop at once, connections and transactions cut off; nothing where it does not run."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """End the postmaster as the kernel would; its children find out by themselves."""
        os.kill(self._postmaster, signal.SIGKILL)

    def suspend(self) -> None:
        """Stop all its processes as they are: it takes connections, and does nothing. `resume` has to follow."""
        # It first, so that it makes no more children meanwhile.
        self._suspended.append(self._postmaster)
        os.kill(self._postmaster, signal.SIGSTOP)
        children = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text().split()
        for child in map(int, children):
            self._suspended.append(child)
            os.kill(child, signal.SIGSTOP)

    def resume(self) -> None:
        """Let all go on that `suspend` stopped."""
        while self._suspended:
            os.kill(self._suspended.pop(), signal.SIGCONT)

    @property
    def _postmaster(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def dump(self, url: str) -> Path:
        """Back up the schema of a URL of `schema_of`, as it is at one moment, and return the file."""
        file = self._directory / "dump"
        schema = url.rpartition("%3D")[2]
        self.call("pg_dump", "--format=custom", f"--schema={schema}", f"--file={file}", f"--dbname={url}")
        return file

    def restore(self, dump: Path, url: str, name: str) -> str:
        """Restore what `dump` made of `url` in a new database, and return the URL of it there."""
        self.call("createdb", f"--host={self._sockets}", "--username=fidoloop", name)
        restored = url.replace("/postgres?", f"/{name}?")
        self.call("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored}", str(dump))
        return restored

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._prefix, str(_binaries() / program), *arguments],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._directory)},
            cwd="/",
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Run a cluster in `directory`."""
    made = Cluster(directory)
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def schema_of(url: str, home: Path) -> str:
    """Return the URL of a schema of `home`'s own, which is made where it is not there yet."""
    import asyncpg

    schema = f"s{hashlib.sha256(str(home).encode()).hexdigest()[:32]}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    await connection.close()
    return f"{url}&options=-csearch_path%3D{schema}"
