"""Five rule packs: which ran, what they found, and who accepted it why and until when."""

import json
import re
import tarfile
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from scripts.evidence.assembly import Assembly

PACKS: Final = {
    "AwsSolutions": "aws-solutions",
    "NIST.800.53.R5": "nist-800-53-r5",
    "PCI.DSS.321": "pci-dss-321",
    "HIPAA.Security": "hipaa-security",
    "Serverless": "serverless",
}
"""Name of each pack in the report, and of its file in the library."""
WIDE: Final = (
    "aws-cdk-lib.App",
    "aws-cdk-lib.Stage",
    "aws-cdk-lib.Stack",
    "aws-cdk-lib.NestedStack",
    "constructs.Construct",
)
REASON_LENGTH_MIN: Final = 40
_RECORD: Final = re.compile(r"(?s)(.+) \[owner: (\w+); expires: ([\d-]+)\]")


@dataclass(frozen=True, slots=True, order=True)
class Acceptance:
    """One finding that was accepted on one resource."""

    stage: str
    where: str
    pack: str
    finding: str
    reason: str
    owner: str
    expires: str
    kind: str
    """Of the construct that it covers: never wider than a resource."""

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.where.split("/", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one synth found under all packs."""

    rules: dict[str, int]
    """How many rules each pack that ran has."""
    open: int
    accepted: tuple[Acceptance, ...]

    def raw(self, stage: str, pack: str) -> int:
        """Return how many findings a pack had in a stage before any was accepted."""
        return sum(1 for each in self.accepted if (each.stage, each.pack) == (stage, pack))

    def by_stack(self, stage: str) -> Counter[tuple[str, str]]:
        """Return the accepted findings of a stage, by stack and pack."""
        return Counter((each.stack, each.pack) for each in self.accepted if each.stage == stage)


def read(folder: Path, as_of: date) -> Findings:
    """Read the validation report. Raises ValueError for a pack that did not run and for an acceptance that is wrong."""
    report = json.loads((folder / "validation-report.json").read_text())
    plugins = {plugin["pluginName"]: plugin for plugin in report["pluginReports"]}
    if missing := PACKS.keys() - plugins.keys():
        raise ValueError(f"these rule packs did not run: {', '.join(sorted(missing))}")
    kinds = _kinds(json.loads((folder / "tree.json").read_text())["tree"])
    accepted = tuple(
        sorted(
            _acceptance(pack, violation, kinds, as_of)
            for pack in PACKS
            for violation in plugins[pack]["suppressedViolations"]
        )
    )
    open_findings = sum(len(plugins[pack]["violations"]) for pack in PACKS)
    return Findings({pack: rules_of(file) for pack, file in PACKS.items()}, open_findings, accepted)


def _acceptance(pack: str, violation: dict[str, Any], kinds: dict[str, str], as_of: date) -> Acceptance:
    path, finding = violation.get("acknowledgedAt", ""), violation["acknowledgedId"].split("::", maxsplit=1)[-1]
    kind = kinds.get(path, "")
    if not path or kind in WIDE:
        raise ValueError(
            f"{path or 'the whole app'}: {finding} is accepted on a {kind}; only on one resource is allowed"
        )
    record = _RECORD.fullmatch(violation["reason"])
    if record is None or len(record[1]) < REASON_LENGTH_MIN:
        raise ValueError(f"{path}: {finding} is accepted without a reason, an owner or an end")
    latest = as_of + timedelta(days=366)
    if not as_of < date.fromisoformat(record[3]) <= latest:
        raise ValueError(f"{path}: acceptance of {finding} ends {record[3]}; must be after {as_of}, at most {latest}")
    stage, _, where = path.partition("/")
    return Acceptance(stage, where, pack, finding, record[1], record[2], record[3], kind.rsplit(".", maxsplit=1)[-1])


def _kinds(node: dict[str, Any]) -> dict[str, str]:
    found = {node["path"]: node["constructInfo"]["fqn"]}
    for child in node.get("children", {}).values():
        found |= _kinds(child)
    return found


def rules_of(pack: str) -> int:
    """Return how many rules a pack applies, counted in the library as it is installed."""
    archive = next(each for each in files("cdk_nag._jsii").iterdir() if each.name.endswith(".tgz"))
    with tarfile.open(str(archive)) as library:
        source = library.extractfile(f"package/lib/packs/{pack}.js")
        assert source is not None
        return source.read().decode().count("this.applyRule(")


def per_resource(assembly: Assembly, stage: str, count: int) -> float:
    """Return `count` divided by the number of resources of a stage."""
    return count / sum(1 for _ in assembly.of(stage))
