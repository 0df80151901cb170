"""The files by which phones know which apps take this server's links."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server.config import ServerConfig
from fidoloop.server.errors import SettingError
from fidoloop.server.settings.app_links import AppLinks
from tests.server.harness import Bench, running
from tests.server.test_openapi import check_answer

FIRST, SECOND = ":".join(["AA"] * 32), ":".join(["0B"] * 32)
PATHS = ("/.well-known/assetlinks.json", "/.well-known/apple-app-site-association")


def run(home: Path, check: Callable[[Bench], Awaitable[None]], links: AppLinks) -> None:
    async def scenario() -> None:
        async with running(home, app_links=links) as bench:
            await check(bench)

    asyncio.run(scenario())


def test_android_apps_are_named_with_all_their_certificates(tmp_path: Path) -> None:
    links = AppLinks(android=(f"com.example.app {FIRST}", f"com.example.app {SECOND}", f"org.example.b {SECOND}"))

    async def check(bench: Bench) -> None:
        answer = await bench.client.get(PATHS[0])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        check_answer("GET", PATHS[0], answer)
        found = {entry["target"]["package_name"]: entry for entry in answer.json()}
        assert found["com.example.app"]["target"]["sha256_cert_fingerprints"] == [FIRST, SECOND]
        assert found["org.example.b"]["target"] == {
            "namespace": "android_app",
            "package_name": "org.example.b",
            "sha256_cert_fingerprints": [SECOND],
        }
        assert all("delegate_permission/common.handle_all_urls" in entry["relation"] for entry in answer.json())
        assert (await bench.client.get(PATHS[1])).status_code == 404

    run(tmp_path, check, links)


def test_apple_apps_are_named_for_links_and_passkeys(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.client.get(PATHS[1])
        # No redirect, and JSON, or Apple's service does not take it.
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        check_answer("GET", PATHS[1], answer)
        apps = ["ABCDE12345.com.example.app"]
        assert answer.json()["webcredentials"] == {"apps": apps}
        (details,) = answer.json()["applinks"]["details"]
        assert (details["appIDs"], details["components"][0]["/"]) == (apps, "/link")
        assert (await bench.client.get(PATHS[0])).status_code == 404

    run(tmp_path, check, AppLinks(apple=("ABCDE12345.com.example.app",)))


def test_without_apps_there_are_no_files(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for path in PATHS:
            answer = await bench.client.get(path)
            assert answer.status_code == 404
            check_answer("GET", path, answer)

    run(tmp_path, check, AppLinks())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("android", "com.example.app"),
        ("android", f"app {FIRST}"),
        ("android", f"com.example.app {FIRST[:-3]}"),
        ("android", f"com.example.app {FIRST.lower()}"),
        ("android", f"com.example.app\n{FIRST}"),
        ("apple", "com.example.app"),
        ("apple", "abcde12345.com.example.app"),
        ("apple", "ABCDE12345."),
    ],
)
def test_what_names_no_app_stops_the_start(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"app_links.{name}"):
        ServerConfig(home=tmp_path, base_url="https://localhost", app_links=AppLinks(**{name: (text,)}))
