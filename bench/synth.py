"""How long the templates of one environment take, with every rule pack."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.result import Result
from local.paths import PROJECT

ENVIRONMENT: Final = "dev"
RUNS: Final = 2
"""The first warms what the second uses."""


def synth() -> Result:
    """Measure a warm synthesis of dev."""
    seconds = 0.0
    resources = 0
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "app.py"],
                cwd=PROJECT,
                env={**os.environ, "ENV": ENVIRONMENT, "CDK_OUTDIR": folder},
                check=True,
                capture_output=True,
            )
            seconds = time.perf_counter() - started
            templates = [json.loads(path.read_text()) for path in Path(folder).rglob("*.template.json")]
            resources = sum(len(template["Resources"]) for template in templates)
    what = f"{ENVIRONMENT} with five rule packs and the template validator, warm: {resources} resources"
    return Result(name="synth", value=seconds, unit="seconds", input=what)
