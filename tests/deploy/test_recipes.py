"""What is given to copy: by the schemas of those who read it, and against what is really there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fidoloop.server.settings.described import all_settings
from tests.cli.command import invoke

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
SCHEMAS = {
    "compose.yaml": ("vendor.compose-spec",),
    "github-workflow.yml": ("vendor.github-workflows",),
    "gitlab-ci.yml": ("vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
}


def loaded(name: str) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def checked(name: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", *SCHEMAS[name], str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_recipe_is_what_its_schema_wants(name: str, tmp_path: Path) -> None:
    done = checked(name, DEPLOY / name)
    assert done.returncode == 0, done.stdout
    text = (DEPLOY / name).read_text("utf-8")
    broken = tmp_path / name
    broken.write_text(re.sub(r"^( *)(image|runs-on): .*", r"\1\2: [1]", text, flags=re.MULTILINE), encoding="utf-8")
    assert checked(name, broken).returncode == 1


def test_a_recipe_says_how_it_was_checked() -> None:
    files = [path for path in DEPLOY.iterdir() if path.suffix not in {".lock", ".py"}]
    assert len(files) == 5
    for path in files:
        assert "# Checked: " in path.read_text("utf-8"), path


def test_pipelines_use_options_that_the_plugin_has() -> None:
    shown = subprocess.run([BIN / "pytest", "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in ("github-workflow.yml", "gitlab-ci.yml"):
        used = set(re.findall(r"--fidoloop-[a-z-]+", (DEPLOY / name).read_text("utf-8")))
        assert "--fidoloop-require" in used
        assert used <= set(re.findall(r"--fidoloop-[a-z-]+", shown))


def installed_by(name: str) -> set[str]:
    """Return the Debian packages that a pipeline installs."""
    lines: list[str] = re.findall(r"--no-install-recommends (.*)", (DEPLOY / name).read_text("utf-8"))
    return {package for line in lines for package in line.split()}


def test_pipelines_install_packages_that_are_known_here() -> None:
    known = {line.split()[0] for line in (ROOT / "debian-packages.txt").read_text("utf-8").splitlines() if line.strip()}
    for name in ("github-workflow.yml", "gitlab-ci.yml"):
        assert installed_by(name) <= known


def test_pipelines_install_what_the_page_names_for_each_key_store() -> None:
    page = (ROOT / "docs" / "pytest.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(softhsm|tpm|piv)` \|.*\| ([^|]+) \|$", page, re.MULTILINE))
    assert rows.keys() == {"softhsm", "tpm", "piv"}
    named = {package for packages in rows.values() for package in packages.split()}
    for name in ("github-workflow.yml", "gitlab-ci.yml"):
        assert named <= installed_by(name)


def test_the_containerfile_is_clean() -> None:
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Containerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_the_versions_that_are_tested() -> None:
    def pinned(path: Path) -> set[str]:
        return set(re.findall(r"^([a-z0-9.-]+==[^ ]+)", path.read_text("utf-8"), re.MULTILINE))

    image = pinned(DEPLOY / "requirements.lock")
    assert len(image) > 30
    assert image <= pinned(ROOT / "requirements.lock"), "run `make lock`"
    assert not any(name.startswith(("pytest==", "sphinx==")) for name in image)


def test_the_compose_file_names_what_is_there() -> None:
    compose = loaded("compose.yaml")
    settings = {f"FIDOLOOP_SERVER_{name.replace('.', '_').upper()}" for name in all_settings()}
    volumes = set(compose["volumes"])
    for service in compose["services"].values():
        variables = set(service["environment"])
        assert {name for name in variables if name.startswith("FIDOLOOP_")} <= settings
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= volumes
        assert set(service.get("depends_on", {})) <= set(compose["services"])
    for name in ("server", "migrate"):
        words = compose["services"][name]["command"]
        done = invoke(*words[:2], "--help")
        assert done.code == 0
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", done.out))


def systemd_analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


def test_the_unit_is_one_that_systemd_takes_and_is_shut_in(tmp_path: Path) -> None:
    unit = tmp_path / "fidoloop.service"
    text = (DEPLOY / "fidoloop.service").read_text("utf-8")
    unit.write_text(text.replace("/opt/fidoloop/bin/fidoloop", str(BIN / "fidoloop")), encoding="utf-8")
    done = systemd_analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")
    done = systemd_analyze("security", "--offline=true", "--threshold=15", unit)
    assert done.returncode == 0, done.stdout
    unit.write_text(unit.read_text("utf-8").replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"), encoding="utf-8")
    assert "NoNewPrivilege" in systemd_analyze("verify", unit).stderr


def test_the_unit_starts_a_command_that_is_there() -> None:
    text = (DEPLOY / "fidoloop.service").read_text("utf-8")
    (words,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    shown = invoke(*words.split()[:2], "--help").out
    assert set(re.findall(r"--[a-z-]+", words)) <= set(re.findall(r"--[a-z-]+", shown))
