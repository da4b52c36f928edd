"""`make checkov`: hold every template against checkov; at most FAILED_PERCENT_MAX of its checks may fail.

What is skipped is in `config/checkov_skips.json`, each with its reason. checkov brings pins of its own, so it has an
environment of its own.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SKIPS: Final = ROOT / "config/checkov_skips.json"
PROGRAM: Final = ROOT / ".build/checkov/bin/checkov"
FAILED_PERCENT_MAX: Final = 3.0
EXIT_TOO_MANY: Final = 1
EXIT_NOT_RUN: Final = 2


def verdict(reports: list[dict[str, Any]], skips: dict[str, str]) -> tuple[int, Counter[str]]:
    """Return how many checks passed, and how often each failed that is not skipped."""
    failed = Counter[str]()
    for report in reports:
        for check in report["results"]["failed_checks"]:
            if check["check_id"] not in skips:
                failed[f"{check['check_id']} {check['check_name']}"] += 1
    return sum(report["summary"]["passed"] for report in reports), failed


def main(folder: Path = ROOT / "cdk.out") -> int:
    """Run checkov over `folder` and print what failed. An empty folder is an error: checkov would call it clean."""
    templates = sorted(folder.glob("assembly-*/*.template.json"))
    if not templates:
        sys.stderr.write(f"{folder} holds no template: run `make synth` first\n")
        return EXIT_NOT_RUN
    arguments = "--framework cloudformation --skip-download --compact --quiet --output json --directory"
    ran = subprocess.run(  # noqa: S603 - our own environment, our own arguments
        [str(PROGRAM), *arguments.split(), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        told = json.loads(ran.stdout)
    except json.JSONDecodeError:
        sys.stderr.write(ran.stderr)
        return EXIT_NOT_RUN
    skips = json.loads(SKIPS.read_text())
    passed, by_check = verdict(told if isinstance(told, list) else [told], skips)
    failed = by_check.total()
    percent = 100 * failed / max(passed + failed, 1)
    for name, count in by_check.most_common():
        print(f"{count:5} {name}")
    print(f"{len(templates)} templates: {passed} passed, {failed} failed ({percent:.1f} %), {len(skips)} kinds skipped")
    return EXIT_TOO_MANY if percent > FAILED_PERCENT_MAX or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
