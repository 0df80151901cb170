"""A child of os.fork can use the stores it inherited, and the parent's go on undisturbed."""

import subprocess
import sys
from pathlib import Path


def test_forking_while_threads_sign(uri: str) -> None:
    script = Path(__file__).with_name("fork_script.py")
    done = subprocess.run([sys.executable, script, uri], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["children 0 0 0 0 0 0", "failures", "session kept True", "keys 9"], done.stderr
