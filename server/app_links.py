"""Which apps take this server's https links, in files that phones fetch (Digital Asset Links; Associated Domains)."""

from typing import Any, Final

from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.settings.app_links import ANDROID
from fidoloop.server.web import link_page

ASSET_LINKS: Final = "/.well-known/assetlinks.json"
APPLE_ASSOCIATION: Final = "/.well-known/apple-app-site-association"
RELATIONS: Final = ("delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds")
_CACHED: Final = (b"cache-control", b"public, max-age=3600")


async def serve_asset_links(environment: Environment, request: Request) -> Response:
    """Answer with the Android apps: those that open links, and may use passkeys of this server."""
    certificates: dict[str, list[str]] = {}
    for text in environment.config.app_links.android:
        package, fingerprint = _parsed(text)
        certificates.setdefault(package, []).append(fingerprint)
    statements = [
        {
            "relation": list(RELATIONS),
            "target": {
                "namespace": "android_app",
                "package_name": package,
                "sha256_cert_fingerprints": fingerprints,
            },
        }
        for package, fingerprints in certificates.items()
    ]
    return _found(statements)


async def serve_apple_association(environment: Environment, request: Request) -> Response:
    """Answer with the Apple apps: those that open links, and may use passkeys of this server."""
    apps = list(environment.config.app_links.apple)
    details = {"appIDs": apps, "components": [{"/": link_page.PATH, "comment": "dispatched tokens"}]}
    return _found({"applinks": {"details": [details]}, "webcredentials": {"apps": apps}} if apps else {})


def _found(value: Any) -> Response:  # noqa: ANN401 - JSON
    if not value:
        raise HttpProblem(404, "no app is configured")
    answer = json_response(value)
    return answer._replace(headers=(*answer.headers, _CACHED))


def _parsed(text: str) -> tuple[str, str]:
    found = ANDROID.fullmatch(text)
    assert found is not None, text  # the configuration was checked
    return found[1], found[2]
