"""Settings are read from four layers, and what is wrong with one is said with its place."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fidoloop.server.config import load_config, make_config
from fidoloop.server.errors import ConfigError
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.described import all_settings
from fidoloop.server.settings.effective import effective_settings
from fidoloop.server.settings.layers import FILE_NAME, Kind, read_layers

URL = "https://fido.example"


def write(home: Path, text: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    path = home / FILE_NAME
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[server]\nhost = "::1"\nport = 1\nlink_base_url = "a://b"\n\n[server.lifetimes]\ntarget = 9\n'
    )
    environment = {"FIDOLOOP_SERVER_PORT": "2", "FIDOLOOP_SERVER_LINK_BASE_URL": "c://d", "FIDOLOOP_PIN": "1234"}
    layers = read_layers(path, environment=environment, options={"port": 3, "host": None})
    settings = msgspec.convert(layers.nested(), Settings)
    assert (settings.host, settings.port, settings.link_base_url, settings.lifetimes.target) == ("::1", 3, "c://d", 9)
    assert settings.lifetimes.registration_token == 300
    names = ("port", "link_base_url", "host", "lifetimes.target", "insecure")
    assert [(layers.origin(name).kind, layers.origin(name).where) for name in names] == [
        (Kind.COMMAND_LINE, "--port"),
        (Kind.ENVIRONMENT, "FIDOLOOP_SERVER_LINK_BASE_URL"),
        (Kind.FILE, f"{path}:2"),
        (Kind.FILE, f"{path}:7"),
        (Kind.DEFAULT, ""),
    ]


def test_every_setting_can_be_set_by_its_variable_and_no_two_share_one() -> None:
    settings = all_settings()
    assert len({setting.variable for setting in settings.values()}) == len(settings)
    assert settings["lifetimes.registration_token"].variable == "FIDOLOOP_SERVER_LIFETIMES_REGISTRATION_TOKEN"
    for name, setting in settings.items():
        value = setting.default
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        layers = read_layers(Path("/nonexistent"), environment={setting.variable: text})
        assert layers.values == {name: value}, name
        assert setting.description.endswith("."), name


FILE_ERRORS = [
    ("[server]\nport = 'x'\n", 2, "port: expected `int`, got `str`"),
    ("[server]\n# a comment\n\nport = 70000 # too high\n", 4, "port: expected `int` <= 65535"),
    ("[server]\nport = 1\nbase_uri = 'https://fido.example'\n", 3, "base_uri: not a setting; did you mean base_url?"),
    ("[server]\nlifetimes = 5\n", 2, "lifetimes: a section, not a value"),
    ("server = 5\n", 1, "server: a section, not a value"),
    ("[server]\nport = 1\n[server.lifetimes]\ntarget = 1\nauthentication_token = 0\n", 5, "expected `int` >= 1"),
    ("server.lifetimes.target = -1\n", 1, "lifetimes.target: expected `int` >= 0"),
    ("server = {lifetimes = {target = true}}\n", 1, "lifetimes.target: expected `int`, got `bool`"),
    ("[server]\nlog_format = 'xml'\n", 2, "log_format: not one of plain, json"),
    ("[server]\ndispatchers = [\n  'link',\n  'pigeon',\n]\n", 2, "dispatchers: not one of png-qr-code, link,"),
    ("[server]\nfacets = ['https://a', 5]\n", 2, "facets: expected `str`, got `int` (entry 1)"),
    ("[server]\napp_id = 'http://fido.example/facets'\n", 2, "app_id: not an https URL"),
    ("[server]\napp_id = 'https:'\n", 2, "app_id: not an https URL"),
    ("[server]\nfacets = ['https://shop.example.org']\n", 2, "not under fido.example as the AppID is: clients would"),
    ("[server]\nfacets = ['http://fido.example']\n", 2, "facets: http://fido.example: a page without TLS"),
    ("[server]\nfacets = ['https://']\n", 2, "facets: https://: not an https origin"),
    ("[server]\nfacets = ['android:apk-key-hash:AAAA=']\n", 2, "android:apk-key-hash:AAAA=: a hash with padding"),
    ("[server]\nfacets = ['my app']\n", 2, "facets: my app: neither an https origin nor android:apk-key-hash:"),
    ("[server]\ninsecure = 'true'\n", 2, "insecure: expected `bool`, got `str`"),
    ("[server]\nuaf_versions = ['eleven']\n", 2, "uaf_versions: not one of 1.0, 1.1, 1.2"),
    ("[server]\nuaf_versions = ['1.1', '1.1']\n", 2, "uaf_versions: one of them twice"),
    ("[server]\nport = 1\nport = 2\n", 3, "Cannot overwrite a value"),
    ("[server]\n[servers]\n", 2, "servers: not a section; there is [server] only"),
    ("[server\n", 1, "Expected ']'"),
    ("[server]\nhost = '''\n", 2, "Expected \"'''\""),
    ("[server]\nport = 1\nbase_url = 'ftp://fido.example'\n", 3, "base_url: not an http(s) URL"),
    ("[server]\nbase_url = 'https://fido.example/?x=1'\n", 2, "base_url: not an http(s) URL"),
]


@pytest.mark.parametrize(("text", "line", "reason"), FILE_ERRORS)
def test_a_wrong_file_is_refused_with_line_and_reason(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, fallback_base_url=URL)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert reason in str(caught.value)


OTHER_ERRORS: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"FIDOLOOP_SERVER_PROT": "1"}, {}, "FIDOLOOP_SERVER_PROT: no setting has this variable; did you mean"),
    ({"FIDOLOOP_SERVER_PORT": "http"}, {}, "FIDOLOOP_SERVER_PORT: port: expected `int`"),
    ({"FIDOLOOP_SERVER_INSECURE": "perhaps"}, {}, "FIDOLOOP_SERVER_INSECURE: insecure: expected `bool`"),
    ({}, {"port": -1}, "--port: port: expected `int` >= 0"),
    ({}, {"lifetimes.target": "soon"}, "--lifetimes-target: lifetimes.target: expected `int`"),
    ({}, {"prot": "1"}, "command line: prot: not a setting; did you mean port?"),
]


@pytest.mark.parametrize(("environment", "options", "reason"), OTHER_ERRORS)
def test_a_wrong_variable_or_option_is_refused_by_its_name(
    environment: dict[str, str], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        read_layers(Path("/nonexistent"), environment=environment, options=options)


def test_a_wrong_value_is_never_shown(tmp_path: Path) -> None:
    for setting in all_settings().values():
        # A text is wrong only where it is one of a few, so a list stands for those that are free.
        value: Any = ["hunter2"] if setting.kind == "text" and not setting.choices else "hunter2"
        with pytest.raises(ConfigError) as caught:
            read_layers(write(tmp_path, "\n".join(["server." + setting.name + f" = {value!r}"])))
        assert "hunter2" not in str(caught.value), setting.name


def test_a_file_that_is_too_long_or_no_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "#" * 70000)
    with pytest.raises(ConfigError, match="more than 65536 characters"):
        read_layers(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="utf-8"):
        read_layers(path)


@pytest.mark.parametrize(
    ("more", "facets"),
    [
        ({}, ["https://fido.example", "https://login.fido.example:8443", "https://fido.example/path"]),
        ({}, ["android:apk-key-hash:bE0f1WtRJrZv/C0y9CM73bAUqiI", "ios:bundle-id:com.example.app"]),
        ({"app_id": "https://apps.example.org/list"}, ["https://shop.example.org"]),
        ({"app_id": "ios:bundle-id:com.example.app"}, ["anything"]),
        ({"insecure": True, "base_url": "http://localhost:8080"}, ["http://localhost:8080"]),
    ],
)
def test_facets_that_clients_take_are_taken(tmp_path: Path, more: dict[str, Any], facets: list[str]) -> None:
    config = load_config(tmp_path, {"base_url": "https://fido.example", "facets": facets, **more})
    assert config.facets == tuple(facets)


def test_facets_that_make_a_list_too_long_for_clients_are_refused(tmp_path: Path) -> None:
    facets = [f"ios:bundle-id:{number:0100}" for number in range(200)]
    with pytest.raises(ConfigError, match="larger than the 65536 bytes"):
        load_config(tmp_path, {"base_url": URL, "facets": facets})


def test_what_was_left_empty_follows_from_the_rest(tmp_path: Path) -> None:
    config = load_config(tmp_path, {"base_url": URL + "/"})
    assert config.base_url == URL
    assert config.app_id == f"{URL}/nevisfido/uaf/1.1/facets"
    assert config.facets[0] == URL
    assert config.database == f"sqlite:///{tmp_path}/server.sqlite"
    with pytest.raises(ConfigError, match="no base URL is known"):
        make_config(tmp_path, read_layers(Path("/nonexistent"), environment={}))


@pytest.mark.parametrize(
    ("database", "shown"),
    [
        ("postgresql://fido:hunter2@db/fido", "postgresql://fido:(hidden)@db/fido"),
        ("postgresql://fido@db/fido?password=hunter2", "postgresql://fido@db/fido?(hidden)"),
        ("postgresql://fido@db/fido", "postgresql://fido@db/fido"),
        ("postgresql://[hunter2/fido", "(hidden)"),
        ("sqlite:////var/lib/fido.sqlite", "sqlite:////var/lib/fido.sqlite"),
    ],
)
def test_the_settings_in_effect_show_no_password(tmp_path: Path, database: str, shown: str) -> None:
    found = {entry.setting.name: entry for entry in effective_settings(tmp_path, {"database": database})}
    assert found["database"].value == shown
    assert found["base_url"].value == "https://localhost:8443"
    assert found["base_url"].origin.kind is Kind.DEFAULT
