"""Does the steps of the Containerfile in a Debian that debootstrap makes, and starts what comes out of it.

For machines without a container engine: FROM is a copy of that Debian, RUN is a chroot, COPY is cp. As root:
`python3 deploy/try_containerfile.py DIRECTORY`, where DIRECTORY is empty, or has a Debian from before in base/.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
_CARRIED = ("PIP_CERT", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return (instruction, arguments) of a Containerfile, comments left out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


class Stage:
    """One root directory, built step by step."""

    def __init__(self, base: Path, root: Path) -> None:
        self.root, self.directory, self.user = root, "/", "root"
        if not root.exists():
            subprocess.run(["cp", "-a", str(base), str(root)], check=True)

    def run(self, command: str) -> None:
        """RUN: as Docker does, by sh in the working directory."""
        self.chroot("sh", "-c", f"cd {self.directory} && {command}")

    def chroot(self, *command: str) -> None:
        """Run a command in it, and raise CalledProcessError where that fails."""
        kept = {name: os.environ[name] for name in _CARRIED if name in os.environ}
        env = kept | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        subprocess.run(["chroot", f"--userspec={self.user}", str(self.root), *command], env=env, check=True)

    def copy(self, source: Path, target: str) -> None:
        """COPY: a file, or a directory's content."""
        place = self.root / (Path(self.directory) / target).relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        what = f"{source}/." if source.is_dir() else str(source)
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", what, str(place)], check=True)


def build(work: Path) -> Stage:
    """Do every step and return the last stage."""
    base = work / "base"
    if not base.exists():
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(base)], check=True)
    context = work / "context"
    context.mkdir(exist_ok=True)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(context)], input=archive, check=True)
    stages: dict[str, Stage] = {}
    stage = Stage(base, base)
    for what, rest in instructions(CONTAINERFILE.read_text("utf-8")):
        sys.stderr.write(f"{what} {rest}\n")
        words = shlex.split(rest)
        match what:
            case "FROM":
                name = words[2] if len(words) == 3 else "last"
                stage = stages[name] = Stage(base, work / name)
            case "RUN":
                stage.run(rest)
            case "WORKDIR":
                stage.directory = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY" if words[0].startswith("--from="):
                other = stages[words[0].removeprefix("--from=")]
                stage.copy(other.root / words[1].lstrip("/"), words[2])
            case "COPY":
                stage.copy(context / words[0], words[1])
            case "USER":
                stage.user = rest
    return stage


if __name__ == "__main__":
    built = build(Path(sys.argv[1]).resolve())
    built.chroot("/opt/fidoloop/bin/fidoloop", "--version")
    built.chroot("/opt/fidoloop/bin/fidoloop", "server", "user", "add", "alice", "--home", "/var/lib/fidoloop")
    built.chroot("/opt/fidoloop/bin/fidoloop", "server", "config", "--home", "/var/lib/fidoloop", "--json")
