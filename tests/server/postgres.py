"""A private PostgreSQL cluster for tests: Unix socket in a temporary directory, no TCP, gone afterwards."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path or "initdb").parent


@contextmanager
def cluster(directory: Path) -> Iterator[str]:
    """Run a cluster in `directory` and yield its URL. PostgreSQL refuses to run as root: then it is user postgres."""
    data, sockets = directory / "data", directory / "s"
    sockets.mkdir(parents=True)
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(directory, "postgres", "postgres")
        shutil.chown(sockets, "postgres", "postgres")
    binaries = _binaries()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(directory)}

    def call(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*prefix, str(binaries / program), *arguments],
            env=environment,
            cwd="/",
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    call("initdb", "-D", str(data), "-U", "fidoloop", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses= -c unix_socket_directories={sockets} -c fsync=off"
    call("pg_ctl", "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        yield f"postgresql://fidoloop@/postgres?host={sockets}"
    finally:
        call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")


async def schema_of(url: str, home: Path) -> str:
    """Return the URL of a schema of `home`'s own, which is made where it is not there yet."""
    import asyncpg

    schema = f"s{hashlib.sha256(str(home).encode()).hexdigest()[:32]}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    await connection.close()
    return f"{url}&options=-csearch_path%3D{schema}"
