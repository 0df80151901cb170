"""The lab console of a server that is started as an operator does."""

import re
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from fidoloop.server.lab.access import COOKIE
from tests.server.process import COMMAND, command, started


def test_the_url_that_opens_the_lab_is_printed_and_a_restart_shuts_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cookies: list[str] = []
    for _ in range(2):
        with started(tmp_path / "home", "--lab", "--access-log", log=log) as server:
            assert re.fullmatch(rf"{server.url}/lab#[A-Za-z0-9_-]{{43}}", server.lab)
            token = urlsplit(server.lab).fragment
            context = ssl.create_default_context(cafile=server.ca)
            with httpx2.Client(base_url=server.url, verify=context, headers={"origin": server.url}) as client:
                for cookie in cookies:
                    assert client.get("/lab/overview", headers={"cookie": cookie}).status_code == 401
                assert client.post("/lab/enter", json={"token": token}).status_code == 204
                assert client.get("/lab/overview").status_code == 200
                rebound = client.get("/lab/overview", headers={"host": f"attacker.example:{server.port}"})
                assert rebound.status_code == 421
                cookies.append(f"{COOKIE}={client.cookies[COOKIE]}")
            assert server.stop() == 0
        assert token not in log.read_text()
    assert len(set(cookies)) == 2


def test_people_read_it_on_a_line_of_its_own(tmp_path: Path) -> None:
    words = [*COMMAND, "run", "--home", str(tmp_path), "--port", "0", "--lab"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        process.terminate()
    url = first.removeprefix("listening on ").split()[0]
    assert second.startswith(f"lab console, good once: {url}/lab#")


def test_a_lab_that_others_could_reach_does_not_start(tmp_path: Path) -> None:
    done = command(tmp_path, "run", "--lab", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - what is refused
    assert done.returncode == 2
    assert "lab_anywhere" in done.stderr
    assert done.stdout == ""
