"""The reports: the same twice, nothing unexplained, nothing that is gone, nothing that is too wide."""

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.edge_watch import ACTUAL_PERCENT
from scripts.evidence import assembly, controls, cost, identity, packs, page, pictures


@pytest.fixture(scope="module")
def found(exchanges: dict[str, Any]) -> assembly.Assembly:
    return assembly.read(exchanges["prod"].folder.parent)


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"assembly-Dev is missing: run `make synth` for all environments first"):
        assembly.read(tmp_path)


def test_every_sensitive_statement_is_explained(found: assembly.Assembly) -> None:
    statements = identity.statements(found, "Prod")
    assert {"kms:Decrypt", "ecr:GetAuthorizationToken"} <= {each.action for each in statements}
    assert all(each.why for each in statements)


def test_a_statement_that_nobody_explained_is_named(found: assembly.Assembly, tmp_path: Path) -> None:
    few = tmp_path / "reasons.json"
    rules = json.loads(identity.REASONS.read_text())
    few.write_text(json.dumps([rule for rule in rules if "ecr:" not in rule["action"]]))
    with pytest.raises(
        ValueError, match=r"(?s)say in reasons.json why.*Engine/Cluster/ImagePull: ecr:GetAuthorizationToken on \*"
    ):
        identity.statements(found, "Prod", few)


def test_each_key_of_a_statement_is_explained(found: assembly.Assembly) -> None:
    (opens,) = (
        each
        for each in identity.statements(found, "Prod")
        if each.role == "Gateway/Rest/Role" and each.action == "kms:Decrypt" and "ApiSecrets" in each.resource
    )
    assert len(opens.resource.splitlines()) == len(opens.why.splitlines()) > 1


def test_a_key_whose_name_is_not_known_needs_a_reason_of_its_own(found: assembly.Assembly, tmp_path: Path) -> None:
    few = tmp_path / "reasons.json"
    rules = json.loads(identity.REASONS.read_text())
    few.write_text(json.dumps([rule for rule in rules if "key/" not in rule.get("resource", "")]))
    with pytest.raises(ValueError, match=r"Withdrawals/Clerk/Role: kms:Decrypt on arn:aws:kms:\S+:key/\*"):
        identity.statements(found, "Prod", few)


def test_every_control_has_a_construct_and_a_test(found: assembly.Assembly) -> None:
    rows = controls.rows(found, "Prod")
    assert {"ISO 27001", "POJK 27/2024"} <= {row["framework"] for row in rows}
    text = json.dumps(rows).lower()
    assert "compliant" not in text
    assert "certified" not in text


def test_a_control_without_its_construct_or_test_is_named(found: assembly.Assembly, tmp_path: Path) -> None:
    source = tmp_path / "controls.csv"
    source.write_text(
        "framework,clause,asks,construct,test\nX,1,a,Engine/Nothing,tests/test_docs.py::test_gone\nX,2,a,,tests/test_docs.py\n"
    )
    with pytest.raises(ValueError, match=r"controls\.csv") as caught:
        controls.rows(found, "Prod", source)
    assert str(caught.value).splitlines()[1:] == [
        "X 1: no construct or file is called Engine/Nothing",
        "X 1: there is no test tests/test_docs.py::test_gone",
        "X 2: construct is empty",
    ]


def write_report(folder: Path, path: str, reason: str) -> None:
    accepted = [{"acknowledgedId": "AwsSolutions::AwsSolutions-S1", "acknowledgedAt": path, "reason": reason}]
    reports = [
        {"pluginName": pack, "violations": [], "suppressedViolations": accepted if pack == "AwsSolutions" else []}
        for pack in packs.PACKS
    ]
    bucket = {"path": "Prod/Data/Bucket", "constructInfo": {"fqn": "aws-cdk-lib.aws_s3.Bucket"}}
    stack = {"path": "Prod/Data", "constructInfo": {"fqn": "aws-cdk-lib.Stack"}, "children": {"Bucket": bucket}}
    tree = {"path": "", "constructInfo": {"fqn": "aws-cdk-lib.App"}, "children": {"Data": stack}}
    (folder / "validation-report.json").write_text(json.dumps({"pluginReports": reports}))
    (folder / "tree.json").write_text(json.dumps({"tree": tree}))


GOOD = "A reason that is long enough to be taken for one [owner: platform; expires: 2027-06-30]"


@pytest.mark.parametrize(
    ("path", "reason", "complaint"),
    [
        ("Prod/Data", GOOD, "is accepted on a aws-cdk-lib.Stack"),
        ("", GOOD, "the whole app"),
        ("Prod/Data/Bucket", "because [owner: platform; expires: 2027-06-30]", "without a reason, an owner or an end"),
        (
            "Prod/Data/Bucket",
            "A reason that is long enough to be taken for one",
            "without a reason, an owner or an end",
        ),
        ("Prod/Data/Bucket", GOOD.replace("2027-06", "2029-06"), "ends 2029-06-30; must be after"),
        ("Prod/Data/Bucket", GOOD.replace("2027-06", "2026-06"), "ends 2026-06-30; must be after"),
    ],
)
def test_a_wide_or_careless_acceptance_stops_the_reports(
    tmp_path: Path, path: str, reason: str, complaint: str
) -> None:
    write_report(tmp_path, path, reason)
    with pytest.raises(ValueError, match=complaint):
        packs.read(tmp_path, date(2026, 11, 25))


def test_a_pack_that_did_not_run_is_missed(tmp_path: Path) -> None:
    write_report(tmp_path, "Prod/Data/Bucket", GOOD)
    assert packs.read(tmp_path, date(2026, 11, 25)).raw("Prod", "AwsSolutions") == 1
    report = tmp_path / "validation-report.json"
    report.write_text(report.read_text().replace("HIPAA.Security", "Other"))
    with pytest.raises(ValueError, match=r"these rule packs did not run: HIPAA\.Security"):
        packs.read(tmp_path, date(2026, 11, 25))


def test_the_number_of_rules_is_the_librarys() -> None:
    assert {name: packs.rules_of(file) for name, file in packs.PACKS.items()} == {
        "AwsSolutions": 131,
        "NIST.800.53.R5": 85,
        "PCI.DSS.321": 69,
        "HIPAA.Security": 90,
        "Serverless": 18,
    }


def test_a_bill_grows_with_what_runs(found: assembly.Assembly) -> None:
    dev, prod = (cost.total(cost.items(found, stage)[0]) for stage in ("Dev", "Prod"))
    assert 300 < dev < prod
    hosts = [item for item in cost.items(found, "Prod")[0] if item.what == "Fargate ARM vCPU"]
    tasks = [each for each in found.of("Prod", "AWS::ECS::Service") if each.is_on]
    assert hosts[0].quantity >= cost.HOURS * len(tasks) / 4


def hosts_of(found: assembly.Assembly, stage: str) -> dict[str, tuple[float, float]]:
    bill, _ = cost.items(found, stage)
    return {item.what: (item.quantity / cost.HOURS, item.price) for item in bill if item.area == "Hosts"}


def test_every_host_is_priced_by_its_type(exchanges: dict[str, Any], found: assembly.Assembly) -> None:
    prices = cost.facts()["prices"]
    for name, exchange in exchanges.items():
        config = exchange.config
        hosts = Counter({config.custody.instance_type: config.custody.instance_count_min})  # of enclaves
        hosts[config.websocket.instance_type] += config.websocket.instance_count_min
        hosts.update(build.instance_type for chain in config.nodes.chains for build in chain.builds)
        expected: Counter[str] = Counter()
        for host, count in hosts.items():
            (price,) = (key for key, each in prices.items() if host in each.get("hosts", ()))
            expected[price] += count
        billed = {prices[key]["what"]: (count, prices[key]["usd"]) for key, count in expected.items()}
        assert hosts_of(found, name.title()) == billed
    dev = hosts_of(found, "Dev")
    assert dev["EC2 host, m6i/m7g.xlarge"] == (1, 0.204)
    assert dev["EC2 host, r7g/r7i.xlarge"] == (2, 0.28)


def test_disks_of_nodes_are_priced_by_size_operations_and_throughput(
    exchanges: dict[str, Any], found: assembly.Assembly
) -> None:
    for name, exchange in exchanges.items():
        bill, unpriced = cost.items(found, name.title())
        assert "AWS::EC2::Volume" not in unpriced
        disks = [(chain, build) for chain in exchange.config.nodes.chains for build in chain.builds]
        billed = {item.what: item.quantity for item in bill if item.what.startswith("Disk, gp3")}
        expected = {
            "Disk, gp3": sum(chain.data_gib for chain, _ in disks),
            "Disk, gp3, operations a second above 3,000": sum(chain.iops - 3000 for chain, _ in disks),
            "Disk, gp3, throughput above 125 MiB/s": sum(chain.throughput_mib - 125 for chain, _ in disks),
        }
        assert billed == {what: quantity for what, quantity in expected.items() if quantity}


def test_a_host_of_a_type_without_a_price_is_refused(found: assembly.Assembly) -> None:
    def made_larger(each: assembly.Resource) -> assembly.Resource:
        if each.name != "Custody/Fleet/Template":
            return each
        data = each.properties["LaunchTemplateData"] | {"InstanceType": "m7g.16xlarge"}
        return replace(each, properties=each.properties | {"LaunchTemplateData": data})

    larger = replace(found, resources=tuple(made_larger(each) for each in found.resources))
    with pytest.raises(
        ValueError, match=r"Custody/Fleet/Group.*: config/prices\.json has no price for a host of type m7g\.16xlarge"
    ):
        cost.items(larger, "Dev")


def test_what_documents_say_of_the_cost_is_what_the_bill_says(
    exchanges: dict[str, Any], found: assembly.Assembly
) -> None:
    totals = {stage: cost.total(cost.items(found, stage.title())[0]) for stage in exchanges}
    deploy = re.sub(r"\s+", " ", (identity.REASONS.parents[1] / "docs/deploy.md").read_text())
    told = re.search(
        r"about ([\d,]+) US dollars a month for `dev`, ([\d,]+) for `staging`, ([\d,]+) for `prod`", deploy
    )
    assert told
    for stage, figure in zip(("dev", "staging", "prod"), told.groups(), strict=True):
        assert float(figure.replace(",", "")) == pytest.approx(totals[stage], rel=0.05), stage
    assert f"about {told[1]} US dollars a month" in (identity.REASONS.parents[1] / "README.md").read_text()


def test_a_budget_warns_of_more_than_what_is_expected(exchanges: dict[str, Any], found: assembly.Assembly) -> None:
    for stage, exchange in exchanges.items():
        expected = cost.total(cost.items(found, stage.title())[0])
        assert expected < exchange.config.edge.monthly_budget_usd * ACTUAL_PERCENT / 100, stage


def test_what_a_switch_leaves_off_is_not_on_the_bill(found: assembly.Assembly) -> None:
    off = {each.type for each in found.of("Prod") if not each.is_on}
    assert {"AWS::APS::Workspace", "AWS::Timestream::InfluxDBInstance"} <= off
    on = {each.type for each in found.of("Prod") if each.is_on}
    _, unpriced = cost.items(found, "Prod")
    assert not set(unpriced) & (off - on)


def test_pictures_are_the_same_twice_and_show_what_is_there(found: assembly.Assembly) -> None:
    drawn = pictures.overview(found, "Prod")
    assert drawn == pictures.overview(found, "Prod")
    assert all(f">{stack}<" in drawn for stack in found.order)
    data = pictures.area(found, "Prod", "Data")
    assert "Aurora PostgreSQL" in data
    assert "Kinesis stream" in data


def test_a_detour_makes_an_arrow_needless() -> None:
    assert pictures._shortest({"a": set(), "b": {"a"}, "c": {"a", "b"}}) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_text_on_the_page_is_never_markup() -> None:
    assert "&lt;script&gt;" in page.table(("a",), [("<script>",)])


def test_the_page_is_one_file_that_reads_well_on_paper() -> None:
    text = page.whole("Title", "", [("a", "A", page.table(("where", "count"), [("Stack/Part", 2)], caption="C"))])
    for foreign in ("<script", "<link", "<img", " src=", "url(", "@import"):
        assert foreign not in text, foreign
    assert page.STYLE.count("{") == page.STYLE.count("}")
    on_paper = page.STYLE.split("@media print", maxsplit=1)[1]
    assert "max-width:none" in on_paper
    assert "h2{break-before:page" in on_paper
    for rule in ("@page{size:A4", "thead{display:table-header-group}", "tr{break-inside:avoid}", "counter(page)"):
        assert rule in page.STYLE, rule
    assert "<thead>" in text  # repeated on each sheet of a long table
    assert "/<wbr>" in text  # a path may break, so no column leaves the sheet
