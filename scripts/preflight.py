"""`python -m scripts.preflight ENV`: what must hold before a deployment. No other check reads the clock."""

import json
import re
import shutil
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from config.analytics import JOB_CONNECTORS
from config.model import ROOT, ConfigError, load_environments, samples

EXIT_NOT_READY: Final = 2
_ARGUMENTS: Final = 2
_EXPIRY: Final = re.compile(r"expires: (\d{4}-\d{2}-\d{2})\]")


def problems(name: str, report: Path, today: date) -> list[str]:
    """Return why environment `name`, synthesized with `report`, must not be deployed on `today`; empty if it may."""
    try:
        (environment,) = load_environments(name)
    except ConfigError as error:
        return str(error).splitlines()
    found = [
        f"config/environments.py: {name}.{path} is still the sample {value!r}; fill in the true value"
        for path, value in samples(environment).items()
    ]
    if shutil.which("docker") is None:
        found.append("docker is not on PATH: the deployment builds and pushes the services' images")
    if not report.exists():
        return [*found, f"{report} is missing: synthesize first (`make synth ENV={name}`)"]
    found += [
        f"function {path} has no libraries: `make deps`, then synthesize again"
        for path in bare_functions(report.parent)
    ]
    if environment.analytics.stream_job.on and not (ROOT / JOB_CONNECTORS).is_file():
        found.append(f"{name}.analytics.stream_job is on but {JOB_CONNECTORS} is missing: see docs/deploy.md, switches")
    return found + [f"an accepted finding expired: {text}" for text in expired(report, today)]


def bare_functions(assembly: Path) -> list[str]:
    """Return the functions in the templates of `assembly` that were synthesized without the layer of libraries."""
    return sorted(
        f"{template.name.removesuffix('.template.json')}/{logical_id}"
        for template in assembly.glob("assembly-*/*.template.json")
        for logical_id, resource in json.loads(template.read_text())["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function" and not resource["Properties"].get("Layers")
    )


def expired(report: Path, today: date) -> list[str]:
    """Return the accepted findings in a validation report whose expiry is before `today`."""
    document = json.loads(report.read_text())
    return sorted(
        {
            f"{accepted.get('ruleName')} on {accepted.get('acknowledgedAt')}, until {stamp}"
            for plugin in document.get("pluginReports", [])
            for accepted in plugin.get("suppressedViolations", [])
            for stamp in _EXPIRY.findall(json.dumps(accepted))
            if date.fromisoformat(stamp) < today
        }
    )


def main(arguments: list[str]) -> int:
    """Print every problem, a line each; return 0 when there is none."""
    if len(arguments) != _ARGUMENTS or not arguments[1]:
        sys.stderr.write("which environment? make deploy ENV=dev\n")
        return EXIT_NOT_READY
    found = problems(arguments[1], Path("cdk.out/validation-report.json"), datetime.now(UTC).date())
    for problem in found:
        sys.stderr.write(problem + "\n")
    return EXIT_NOT_READY if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
