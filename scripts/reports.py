"""`python -m scripts.reports`: write `docs/reports/` from what `make synth` left in `cdk.out`."""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from exchange_constructs.nag import AS_OF
from scripts.evidence import assembly, controls, cost, identity, packs, page, pictures

ROOT: Final = Path(__file__).resolve().parent.parent
OUT: Final = ROOT / "docs/reports"
MAIN: Final = "Prod"
"""The environment that an audit is about; the others have the same structure and other values."""
KEPT: Final = ("unused-grants.json",)
"""Recorded by a run, not made here."""
TARGETS: Final = {"AwsSolutions": 0.15, "NIST.800.53.R5": 0.25}


def main(folder: Path = ROOT / "cdk.out") -> int:
    """Write every report. Returns 2, with a line for each reason, when something must be put right first."""
    try:
        found = assembly.read(folder)
        findings = packs.read(folder, AS_OF)
        statements = identity.statements(found, MAIN)
        controlled = controls.rows(found, MAIN)
        bills = {stage: cost.items(found, stage) for stage in assembly.ENVIRONMENTS}
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if findings.open:
        sys.stderr.write(f"{findings.open} findings are open: `make synth` names them\n")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        if old.name not in KEPT:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    sections = [
        ("packs", "Rule packs", _packs(found, findings)),
        ("acceptances", "Accepted findings", _acceptances(findings)),
        ("identity", "Sensitive and wide permissions", _identity(statements)),
        ("controls", "Control map", _controls(controlled)),
        ("threats", "Threat model", page.markdown(ROOT / "docs/threat-model.md")),
        ("pictures", "Architecture", _pictures(found)),
        ("cost", "Cost", _cost(bills)),
        ("regions", "Regions", _regions(found)),
    ]
    (OUT / "index.html").write_text(
        page.whole("Bursa: evidence for a security review", _intro(found, findings), sections)
    )
    return 0


def _intro(found: assembly.Assembly, findings: packs.Findings) -> str:
    accepted = [each for each in findings.accepted if each.stage == MAIN]
    share = packs.per_resource(found, MAIN, len(accepted))
    stages = ", ".join(assembly.ENVIRONMENTS)
    rules = sum(findings.rules.values())
    return (
        f"<p>Reviewed as of {AS_OF}. Made from the synthesized templates of {stages}; nothing here was deployed."
        " Tables show production unless they say otherwise; the other environments have the same structure.</p>"
        f"<p>{sum(1 for _ in found.of(MAIN)):,} resources in {len(found.order)} stacks."
        f" {len(findings.rules)} rule packs with {rules} rules ran:"
        f' <span class="good">{findings.open} findings open</span>,'
        f" {len(accepted)} accepted ({share:.2f} per resource; the target is at most 0.10).</p>"
        "<p>The packs for PCI DSS are those of version 3.2.1; 4.0.1 is current. No mapping here makes an operator"
        " compliant: it shows what supports a requirement.</p>"
    )


def _packs(found: assembly.Assembly, findings: packs.Findings) -> str:
    ran = [(name, rules, findings.open) for name, rules in findings.rules.items()]
    raw = []
    for stage in assembly.ENVIRONMENTS:
        for pack in findings.rules:
            count = findings.raw(stage, pack)
            target = f"at most {TARGETS[pack]:.2f}" if pack in TARGETS else ""
            raw.append((stage.lower(), pack, count, round(packs.per_resource(found, stage, count), 3), target))
    _csv("findings.csv", ("environment", "pack", "raw findings", "per resource", "target"), raw)
    by_stack = findings.by_stack(MAIN)
    stacks = []
    for stack in found.order:
        resources = sum(1 for each in found.of(MAIN) if each.stack == stack)
        stacks.append((stack, resources, *(by_stack[stack, pack] for pack in findings.rules)))
    _csv("packs.csv", ("stack", "resources", *findings.rules), stacks)
    (OUT / "packs.json").write_text(_json({"ran": findings.rules, "open": findings.open, "as_of": str(AS_OF)}))
    return (
        page.table(("Pack", "Rules", "Open"), ran, caption="Packs that ran over every environment")
        + page.table(
            ("Environment", "Pack", "Raw findings", "Per resource", "Target"), raw, caption="Before any was accepted"
        )
        + page.table(("Stack", "Resources", *findings.rules), stacks, caption="Accepted findings by stack, none open")
    )


def _acceptances(findings: packs.Findings) -> str:
    head = ("where", "pack", "finding", "reason", "owner", "expires", "scope")
    rows = [
        (e.where, e.pack, e.finding, e.reason, e.owner, e.expires, e.kind) for e in findings.accepted if e.stage == MAIN
    ]
    _csv(
        "acceptances.csv",
        ("environment", *head),
        [
            (e.stage.lower(), e.where, e.pack, e.finding, e.reason, e.owner, e.expires, e.kind)
            for e in findings.accepted
        ],
    )
    grouped: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for where, pack, finding, reason, owner, expires, kind in rows:
        grouped.setdefault((reason, owner, expires), []).append(
            (where, finding if finding.startswith(pack) else f"{pack}: {finding}", kind)
        )
    table = [
        (
            "\n".join(sorted({w for w, _, _ in each})),
            "\n".join(sorted({f for _, f, _ in each})),
            reason,
            owner,
            expires,
            ", ".join(sorted({k for _, _, k in each})),
        )
        for (reason, owner, expires), each in sorted(grouped.items(), key=lambda item: sorted(item[1]))
    ]
    return (
        "<p>Each on one resource, never on a stack. Findings that were accepted for one reason share a row.</p>"
        + page.table(("Where", "Findings", "Reason", "Owner", "Until", "Scope"), table)
    )


def _identity(statements: list[identity.Statement]) -> str:
    head = ("role", "action", "resource", "condition", "why")
    _csv("identity.csv", head, [(s.role, s.action, s.resource, s.condition, s.why) for s in statements])
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for s in statements:
        grouped.setdefault((s.role, s.resource, s.condition, s.why), []).append(s.action)
    rows = [
        (role, "\n".join(actions), resource, condition, why)
        for (role, resource, condition, why), actions in grouped.items()
    ]
    text = page.table(("Role or resource", "Action", "On", "Condition", "Why"), rows)
    recorded = OUT / "unused-grants.json"
    if recorded.is_file():
        text += page.table(
            ("Statement", "Action", "On", "Why it stays"),
            [
                (each["statement"], "\n".join(each["actions"]), "\n".join(each["resources"]), each["reason"])
                for each in json.loads(recorded.read_text())["unused"]
            ],
            caption="Statements that no recorded call needed",
        )
    else:
        text += "<p>Statements that a recorded run did not need: no record is committed.</p>"
    return text


def _controls(rows: list[dict[str, str]]) -> str:
    _csv("controls.csv", controls.COLUMNS, [[row[name] for name in controls.COLUMNS] for row in rows])
    return page.table(
        ("Framework", "Clause", "Asks for", "Construct", "Test"),
        [[row[name].replace(" + ", "\n") for name in controls.COLUMNS] for row in rows],
    )


def _pictures(found: assembly.Assembly) -> str:
    folder = OUT / "pictures"
    folder.mkdir()
    drawn = {"overview": pictures.overview(found, MAIN)} | {
        stack: pictures.area(found, MAIN, stack) for stack in found.order
    }
    figures = []
    for name, svg in drawn.items():
        (folder / f"{name.lower()}.svg").write_text(svg)
        figures.append(f"<figure>{svg}</figure>")
    return "\n".join(figures)


def _cost(bills: dict[str, tuple[list[cost.Item], list[str]]]) -> str:
    rows = [
        (stage.lower(), item.area, item.what, round(item.quantity, 1), item.unit, item.price, round(item.usd, 2))
        for stage, (bill, _) in bills.items()
        for item in bill
    ]
    _csv("cost.csv", ("environment", "area", "item", "quantity", "unit", "usd per unit", "usd per month"), rows)
    areas = sorted({item.area for bill, _ in bills.values() for item in bill})
    summary = [
        (
            area,
            *(
                round(sum(item.usd for item in bills[stage][0] if item.area == area), 2)
                for stage in assembly.ENVIRONMENTS
            ),
        )
        for area in areas
    ]
    summary.append(("Total", *(round(cost.total(bills[stage][0]), 2) for stage in assembly.ENVIRONMENTS)))
    facts = cost.facts()
    unpriced = sorted({kind for _, missing in bills.values() for kind in missing})
    _csv("unpriced.csv", ("type",), [(kind,) for kind in unpriced])
    detail = [(i.area, i.what, round(i.quantity, 1), i.unit, f"{i.price:g}", round(i.usd, 2)) for i in bills[MAIN][0]]
    return (
        f"<p>Prices as of {facts['as_of']}: {facts['region']}. {facts['note']}</p>"
        + page.table(("Area", *(f"{stage.lower()}, USD a month" for stage in assembly.ENVIRONMENTS)), summary)
        + page.table(
            ("Area", "Item", "Quantity", "Unit", "USD a unit", "USD a month"), detail, caption="Production in detail"
        )
        + f"<p>Not priced, by type: {', '.join(unpriced) or 'none'}. Nor traffic between zones, support,"
        " recovery copies.</p>"
    )


def _regions(found: assembly.Assembly) -> str:
    facts = json.loads((ROOT / "config/regions.json").read_text())
    kinds: dict[str, set[str]] = {}
    for resource in found.of(MAIN):
        kinds.setdefault(resource.type, set()).add(resource.region)
    regions = sorted(facts["regions"])
    rows = [(kind, *("here" if region in where else "" for region in regions)) for kind, where in sorted(kinds.items())]
    _csv("regions.csv", ("type", *regions), rows)
    absent = [
        (
            region,
            facts["regions"][region]["holds"],
            ", ".join(each.removesuffix("::") for each in facts["regions"][region]["absent_types"]),
        )
        for region in regions
    ]
    closed = [(kind.removesuffix("::"), text) for kind, text in sorted(facts["closed"].items())]
    return (
        f"<p>As of {facts['as_of']}. {facts['source']} Synth refuses whatever stands against this table.</p>"
        + page.table(("Region", "Holds", "Not to be had there"), absent)
        + page.table(("Type", "Closed or ended"), closed)
        + page.table(("Type in the templates", *regions), rows, caption="Where each type is used")
    )


def _csv(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (OUT / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
