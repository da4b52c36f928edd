"""What README shows is run as it stands."""

import os
import re
import subprocess
import sys

import pytest

from local.paths import PROJECT

pytestmark = pytest.mark.integ


@pytest.mark.skipif("BURSA_DEMO" not in os.environ, reason="no exchange is running: `make test` starts one")
def test_the_snippet_trades() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in snippet.splitlines() if line]) <= 8
    program = snippet.replace(".local/demo.json", os.environ["BURSA_DEMO"])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert run.stdout.startswith("closed {"), run.stdout + run.stderr
