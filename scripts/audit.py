"""Holds requirements.lock against known advisories: `make audit`.

Exit codes as the command's: 0 all were looked up and none has an advisory, 1 one has, 4 some or all could not be looked
up.
pip-audit itself ends with 0 where the service does not know a package, or nothing at all.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

AUDITED, ADVISORIES, NOT_REACHED = 0, 1, 4
LOCK = "requirements.lock"


def judge(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Return the exit code for a report of `pip-audit --format json`, and what is to be said."""
    found = [
        f"{one['name']} {one['version']}: {advisory['id']}, mended in {', '.join(advisory['fix_versions']) or 'none'}"
        for one in report["dependencies"]
        for advisory in one.get("vulns", ())
    ]
    looked_up = [one for one in report["dependencies"] if "vulns" in one]
    skipped = [one["name"] for one in report["dependencies"] if "vulns" not in one]
    lines = [*found, f"{len(looked_up)} packages were looked up, {len(found)} advisories"]
    if skipped:
        some = f"{', '.join(skipped[:8])}{', …' if len(skipped) > 8 else ''}"
        lines.append(f"NOT AUDITED: {len(skipped)} packages that the advisory service did not answer for: {some}")
    if found:
        return ADVISORIES, lines
    return NOT_REACHED if skipped or not looked_up else AUDITED, lines


def main() -> int:
    """Audit, by the pip-audit beside this interpreter; or judge the report that is named."""
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_text("utf-8")
    else:
        command = [str(Path(sys.executable).with_name("pip-audit")), "--format", "json", "--progress-spinner", "off"]
        command += ["--require-hashes", "--disable-pip", "--requirement", LOCK]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    if not text.strip():
        print("NOT AUDITED: the advisory service was not reached")
        return NOT_REACHED
    code, lines = judge(json.loads(text))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
