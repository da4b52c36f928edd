"""Pictures of the architecture, drawn from the assembly: stacks and what they take; the parts of one stack."""

import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.evidence.assembly import Assembly, Resource, references

BOX_WIDTH: Final = 210
BOX_HEIGHT: Final = 44
GAP_X: Final = 90
GAP_Y: Final = 16
MARGIN: Final = 20
ARROW_HEAD: Final = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#778"/></marker></defs>'
)
ROWS_MAX: Final = 12
"""Boxes in a column; more go to another column beside it."""
INK: Final = {
    "own": ("#ffffff", "#1f4e79"),
    "other": ("#f0f0f0", "#888888"),
    "store": ("#eef6ee", "#2e6b34"),
    "edge": ("#fdf1e4", "#a85d10"),
}
SHOWN: Final = {  # type → what it is called, and how it is drawn
    "AWS::AmazonMQ::Broker": ("broker", "store"),
    "AWS::Amplify::App": ("Amplify app", "edge"),
    "AWS::ApiGateway::RestApi": ("REST API", "edge"),
    "AWS::ApiGatewayV2::Api": ("HTTP API", "edge"),
    "AWS::Athena::WorkGroup": ("Athena workgroup", "own"),
    "AWS::AutoScaling::AutoScalingGroup": ("EC2 Auto Scaling", "own"),
    "AWS::Backup::BackupPlan": ("backup plan", "own"),
    "AWS::Backup::BackupVault": ("backup vault", "store"),
    "AWS::Backup::LogicallyAirGappedBackupVault": ("air-gapped vault", "store"),
    "AWS::CloudFront::Distribution": ("CloudFront", "edge"),
    "AWS::CloudTrail::Trail": ("CloudTrail", "own"),
    "AWS::Cognito::UserPool": ("Cognito user pool", "store"),
    "AWS::Config::ConformancePack": ("Config pack", "own"),
    "AWS::DynamoDB::GlobalTable": ("DynamoDB table", "store"),
    "AWS::EC2::NatGateway": ("NAT gateway", "edge"),
    "AWS::EC2::TransitGateway": ("transit gateway", "edge"),
    "AWS::EC2::VPC": ("VPC", "own"),
    "AWS::EC2::VPCEndpointService": ("endpoint service", "edge"),
    "AWS::EC2::VPNConnection": ("VPN", "edge"),
    "AWS::EC2::Volume": ("EBS volume", "store"),
    "AWS::ECS::Service": ("Fargate service", "own"),
    "AWS::ElastiCache::ServerlessCache": ("Valkey cache", "store"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("load balancer", "edge"),
    "AWS::Events::EventBus": ("event bus", "store"),
    "AWS::Events::Rule": ("event rule", "own"),
    "AWS::Glue::Table": ("Glue table", "store"),
    "AWS::GuardDuty::Detector": ("GuardDuty", "own"),
    "AWS::KMS::Key": ("KMS key", "store"),
    "AWS::Kinesis::Stream": ("Kinesis stream", "store"),
    "AWS::KinesisAnalyticsV2::Application": ("Managed Flink", "own"),
    "AWS::KinesisFirehose::DeliveryStream": ("Firehose", "own"),
    "AWS::Lambda::Function": ("Lambda function", "own"),
    "AWS::MSK::Cluster": ("MSK cluster", "store"),
    "AWS::NetworkFirewall::Firewall": ("Network Firewall", "edge"),
    "AWS::RDS::DBCluster": ("Aurora PostgreSQL", "store"),
    "AWS::RDS::DBProxy": ("RDS Proxy", "own"),
    "AWS::Route53::HostedZone": ("hosted zone", "edge"),
    "AWS::S3::Bucket": ("S3 bucket", "store"),
    "AWS::SNS::Topic": ("SNS topic", "own"),
    "AWS::SQS::Queue": ("SQS queue", "store"),
    "AWS::SSM::Parameter": ("parameter", "store"),
    "AWS::SageMaker::Endpoint": ("SageMaker endpoint", "own"),
    "AWS::SecretsManager::Secret": ("secret", "store"),
    "AWS::SecurityHub::Hub": ("Security Hub", "own"),
    "AWS::StepFunctions::StateMachine": ("state machine", "own"),
    "AWS::WAFv2::WebACL": ("web firewall", "edge"),
}


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a picture."""

    key: str
    title: str
    note: str
    look: str


def overview(assembly: Assembly, stage: str) -> str:
    """Draw every stack, and an arrow from each that gives something to each that takes it, without detours."""
    counts: dict[str, int] = defaultdict(int)
    takes: dict[str, set[str]] = {name: set() for name in assembly.order}
    for resource in assembly.of(stage):
        counts[resource.stack] += 1
        for stack, _ in references(resource.properties):
            if stack is not None:
                giver = stack.removeprefix(f"{stage}-")
                if giver != resource.stack:
                    takes[resource.stack].add(giver)
    boxes = [
        Box(
            name,
            name,
            f"{counts[name]} resources, {assembly.regions[stage, name]}",
            _look_of(assembly.regions[stage, name]),
        )
        for name in assembly.order
        if counts[name]
    ]
    return _draw(f"Stacks of {stage.lower()}, and what they take from each other", boxes, _shortest(takes))


def area(assembly: Assembly, stage: str, stack: str) -> str:
    """Draw the main parts of one stack, with what they use, through roles and policies too; other stacks in grey."""
    inside = {each.logical_id: each for each in assembly.of(stage) if each.stack == stack}
    shown = {key: each for key, each in inside.items() if each.type in SHOWN}
    boxes = [Box(key, each.path, SHOWN[each.type][0], SHOWN[each.type][1]) for key, each in shown.items()]
    uses: dict[str, set[str]] = {key: set() for key in shown}
    others = set()
    for key in shown:
        for found in _reached(inside, key, set(shown)):
            uses[key].add(found)
            if found not in shown:
                others.add(found)
    boxes += [Box(name, name.removeprefix(f"{stage}-"), "another stack", "other") for name in sorted(others)]
    return _draw(f"{stack}: its parts, and what they use", boxes, _shortest(uses))


def _reached(inside: Mapping[str, Resource], start: str, stops: set[str]) -> set[str]:
    """Return shown parts and other stacks that `start` refers to, itself or through what is not shown."""
    found: set[str] = set()
    seen, queue = {start}, [start]
    while queue:
        for stack, name in references(inside[queue.pop()].properties):
            if stack is not None:
                found.add(stack)
            elif name in stops:
                if name != start:
                    found.add(name)
            elif name in inside and name not in seen:
                seen.add(name)
                queue.append(name)
    return found


def _shortest(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return `edges` without those that a longer way makes needless."""

    def beyond(node: str, seen: set[str]) -> set[str]:
        for other in edges.get(node, ()):
            if other not in seen:
                seen.add(other)
                beyond(other, seen)
        return seen

    return {
        node: {other for other in others if not any(other in beyond(step, set()) for step in others - {other})}
        for node, others in edges.items()
    }


def _columns(boxes: Sequence[Box], edges: Mapping[str, set[str]]) -> list[list[Box]]:
    """Return boxes by how many steps stand before them; what is given stands left of what takes it."""
    depth: dict[str, int] = {}

    def of(key: str, path: frozenset[str]) -> int:
        if key not in depth:
            before = [of(other, path | {key}) for other in edges.get(key, ()) if other not in path and other != key]
            depth[key] = 1 + max(before, default=-1)
        return depth[key]

    columns: dict[int, list[Box]] = defaultdict(list)
    for box in boxes:
        columns[of(box.key, frozenset({box.key}))].append(box)
    split: list[list[Box]] = []
    for _, column in sorted(columns.items()):
        column.sort(key=lambda box: (box.look != "other", box.note, box.title))
        split += [column[at : at + ROWS_MAX] for at in range(0, len(column), ROWS_MAX)]
    return split


def _draw(title: str, boxes: Sequence[Box], edges: Mapping[str, set[str]]) -> str:
    columns = _columns(boxes, edges)
    tallest = max((len(column) for column in columns), default=0)
    width = 2 * MARGIN + len(columns) * BOX_WIDTH + max(len(columns) - 1, 0) * GAP_X
    height = 2 * MARGIN + 30 + tallest * (BOX_HEIGHT + GAP_Y)
    place: dict[str, tuple[int, int]] = {}
    for at, column in enumerate(columns):
        top = MARGIN + 30 + (tallest - len(column)) * (BOX_HEIGHT + GAP_Y) // 2
        for row, box in enumerate(column):
            place[box.key] = (MARGIN + at * (BOX_WIDTH + GAP_X), top + row * (BOX_HEIGHT + GAP_Y))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
        f' role="img" aria-label="{html.escape(title)}" font-family="Helvetica, Arial, sans-serif">',
        ARROW_HEAD,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(MARGIN, MARGIN + 10, title, 'font-size="15" font-weight="bold" fill="#223"'),
        *_arrows(edges, place),
        *(line for box in boxes for line in _box(box, *place[box.key])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _arrows(edges: Mapping[str, set[str]], place: Mapping[str, tuple[int, int]]) -> Iterable[str]:
    for taker, givers in sorted(edges.items()):
        for giver in sorted(givers):
            if giver in place and taker in place:
                (x0, y0), (x1, y1) = place[giver], place[taker]
                left, right = x0 + BOX_WIDTH, x1
                top, bottom = y0 + BOX_HEIGHT // 2, y1 + BOX_HEIGHT // 2
                bend = max(40, (right - left) // 2)
                yield (
                    f'<path d="M{left} {top}C{left + bend} {top} {right - bend} {bottom} {right} {bottom}"'
                    ' fill="none" stroke="#99a" stroke-width="1.1" marker-end="url(#a)"/>'
                )


def _box(box: Box, x: int, y: int) -> Iterable[str]:
    fill, line = INK[box.look]
    size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"'
    yield f'<rect x="{x}" y="{y}" {size} fill="{fill}" stroke="{line}" stroke-width="1.3"/>'
    yield _text(x + 9, y + 19, _cut(box.title, 29), 'font-size="12" font-weight="bold" fill="#223"')
    yield _text(x + 9, y + 35, _cut(box.note, 36), 'font-size="10.5" fill="#556"')


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text x="{x}" y="{y}" {style}>{html.escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _look_of(region: str) -> str:
    return "own" if region == "ap-southeast-3" else "edge"
