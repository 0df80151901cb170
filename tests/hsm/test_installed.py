"""Which modules there are: p11-kit's configuration as pkcs11.conf(5) has it, and files makers put in known places."""

from pathlib import Path

import pytest

from fidoloop.hsm.pkcs11.installed import InstalledModule, installed_modules, parse_configuration

SYSTEM = "etc/pkcs11/modules"
PACKAGES = "usr/share/p11-kit/modules"
USER = "home/.config/pkcs11/modules"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(root: Path, *, superuser: bool = False, **environment: str) -> list[InstalledModule]:
    return installed_modules(root=root, environment={"HOME": str(root / "home"), **environment}, superuser=superuser)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("module: a.so\n", {"module": "a.so"}),
        ("  module :  /x/a b.so  \n\n# module: c.so\n", {"module": "/x/a b.so"}),
        ("x-init-reserved: configdir='sql:/db' flags=\n", {"x-init-reserved": "configdir='sql:/db' flags="}),
        ("module:\n", {"module": ""}),
        ("setting.2: a # no comment\n", {"setting.2": "a # no comment"}),
        ("no field\n: nameless\nna me: x\n", {}),
        ("module: a\nmodule: b\n", {"module": "b"}),
        ("", {}),
    ],
)
def test_fields_of_a_file(text: str, fields: dict[str, str]) -> None:
    assert parse_configuration(text) == fields


def test_modules_are_found_in_every_place_and_by_their_names(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{SYSTEM}/admin.module": "module: /opt/admin.so",
            f"{PACKAGES}/vendor.module": "module: vendor.so\ncritical: no",
            f"{USER}/mine.module": "module: /home/mine.so",
            "usr/lib/arch/pkcs11/vendor.so": "",
            f"{SYSTEM}/-wrong.module": "module: /wrong.so",
            f"{SYSTEM}/backup.module~": "module: /wrong.so",
            f"{SYSTEM}/empty.module": "priority: 1",
        },
    )
    assert [(module.name, module.path) for module in found(tmp_path)] == [
        ("admin", "/opt/admin.so"),
        ("mine", "/home/mine.so"),
        ("vendor", f"{tmp_path}/usr/lib/arch/pkcs11/vendor.so"),
    ]


def test_the_users_fields_come_before_the_administrators_and_an_empty_module_is_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{PACKAGES}/a.module": "module: /package.so",
            f"{SYSTEM}/a.module": "module: /admin.so\nx-init-reserved: from the administrator",
            f"{USER}/a.module": "module: /user.so",
            f"{SYSTEM}/b.module": "module: /b.so",
            f"{USER}/b.module": "module:",
        },
    )
    assert found(tmp_path) == [InstalledModule("/user.so", "a", proxy_only=True)]


@pytest.mark.parametrize(
    ("system", "user", "names"),
    [
        (None, None, ["admin", "mine"]),
        ("user-config: none", "user-config: only", ["admin"]),
        ("user-config: only", None, ["mine"]),
        ("user-config: merge", "user-config: only", ["mine"]),
    ],
)
def test_pkcs11_conf_says_whose_configuration_counts(
    tmp_path: Path, system: str | None, user: str | None, names: list[str]
) -> None:
    write(tmp_path, {f"{SYSTEM}/admin.module": "module: /admin.so", f"{USER}/mine.module": "module: /mine.so"})
    for directory, text in (("etc/pkcs11", system), ("home/.config/pkcs11", user)):
        if text is not None:
            write(tmp_path, {f"{directory}/pkcs11.conf": text})
    assert [module.name for module in found(tmp_path)] == names


def test_root_has_no_configuration_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, {f"{SYSTEM}/admin.module": "module: /admin.so", f"{USER}/mine.module": "module: /mine.so"})
    assert [module.name for module in found(tmp_path, superuser=True)] == ["admin"]


def test_the_users_configuration_may_lie_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {"elsewhere/pkcs11/modules/mine.module": "module: /mine.so"})
    assert [module.name for module in found(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "elsewhere"))] == ["mine"]


def test_a_module_that_only_p11_kit_can_load_brings_its_proxy(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{SYSTEM}/nss.module": "module: /nss.so\nx-init-reserved: configdir='sql:/db'",
            f"{SYSTEM}/away.module": "remote: |ssh host p11-kit remote /a.so",
            "usr/lib/arch/p11-kit-proxy.so": "",
        },
    )
    assert found(tmp_path) == [
        InstalledModule("|ssh host p11-kit remote /a.so", "away", proxy_only=True),
        InstalledModule("/nss.so", "nss", proxy_only=True),
        InstalledModule(f"{tmp_path}/usr/lib/arch/p11-kit-proxy.so"),
    ]


def test_a_file_is_listed_once_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path, {"usr/lib/arch/softhsm/libsofthsm2.so": "", "usr/lib/arch/pkcs11/p11-kit-client.so": ""})
    (tmp_path / "usr/lib/softhsm").mkdir()
    (tmp_path / "usr/lib/softhsm/libsofthsm2.so").symlink_to(tmp_path / "usr/lib/arch/softhsm/libsofthsm2.so")
    assert len(found(tmp_path)) == 1
    names = [Path(module.path).name for module in found(tmp_path, P11_KIT_SERVER_ADDRESS="unix:path=/s")]
    assert names == ["libsofthsm2.so", "p11-kit-client.so"]
