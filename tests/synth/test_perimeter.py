"""The way out, the names that resolve, what is recorded about whom, and the copies of what is stored."""

import json
import re
from typing import Any

import pytest

from exchange_constructs.backups import KINDS, TAG

CLOSED = "NXDOMAIN"


def of(exchange: Any, kind: str, prefix: str = "") -> list[dict[str, Any]]:
    return [found for path, found in exchange.of_type(kind) if path.startswith(prefix)]


# ---- the way out


def test_one_way_leads_out_and_passes_a_firewall_both_ways(exchange: Any) -> None:
    zones = exchange.config.egress.zone_count
    routes = [
        (exchange.text(route["RouteTableId"]), exchange.text(route["DestinationCidrBlock"]), route)
        for route in of(exchange, "AWS::EC2::Route", "Network/")
    ]
    outward = [(table, route) for table, destination, route in routes if destination == "0.0.0.0/0"]
    assert {"Application", "Data"} & {
        tier for tier in ("Application", "Data") for t, _ in outward if tier in t
    } == set()
    by_tier = {tier: [r for t, r in outward if f"{tier}Subnet" in t] for tier in ("Egress", "Inspection", "Public")}
    assert sum(len(found) for found in by_tier.values()) == len(outward)
    assert len(by_tier["Egress"]) == len(by_tier["Inspection"]) == zones
    assert all("VpcEndpointId" in route for route in by_tier["Egress"])
    assert all("NatGatewayId" in route for route in by_tier["Inspection"])
    (door,) = by_tier["Public"]
    assert "GatewayId" in door
    back = [(table, destination, route) for table, destination, route in routes if destination != "0.0.0.0/0"]
    assert len(back) == zones
    assert all("PublicSubnet" in table and "VpcEndpointId" in route for table, _, route in back)
    egress = {each["CidrBlock"] for path, each in exchange.of_type("AWS::EC2::Subnet") if "EgressSubnet" in path}
    assert {destination for _, destination, _ in back} <= egress  # else answers would bypass the firewall


def test_gateways_to_s3_and_dynamodb_pass_our_own_accounts_alone(exchange: Any) -> None:
    config = exchange.config
    passed = {
        exchange.text(endpoint["ServiceName"]).rpartition(".")[2]: endpoint["PolicyDocument"]["Statement"]
        for endpoint in of(exchange, "AWS::EC2::VPCEndpoint", "Network/")
        if endpoint["VpcEndpointType"] == "Gateway"
    }
    assert passed.keys() == {"s3", "dynamodb"}
    (objects, fetched), (items,) = passed["s3"], passed["dynamodb"]
    owners = sorted({config.account, config.accounts.wallet})
    for statement, owned_by in ((objects, config.account), (items, owners if len(owners) > 1 else owners[0])):
        assert statement["Condition"] == {
            "StringEquals": {"aws:PrincipalAccount": config.account, "aws:ResourceAccount": owned_by}
        }
    # Two buckets of AWS, each by its whole name, and only to be read.
    assert fetched["Action"] == "s3:GetObject"
    assert {exchange.text(each) for each in fetched["Resource"]} == {
        f"arn:aws:s3:::prod-{config.region}-starport-layer-bucket/*",
        f"arn:aws:s3:::al2023-repos-{config.region}-de612dc2/*",
    }


def test_public_subnets_of_a_network_share_one_route_to_the_internet(exchange: Any) -> None:
    for network in ("Network/", "Nodes/"):
        doors = [route for route in of(exchange, "AWS::EC2::Route", network) if "GatewayId" in route]
        assert len(doors) == 1, network
        table = exchange.text(doors[0]["RouteTableId"])
        joined = [
            exchange.text(each["RouteTableId"])
            for each in of(exchange, "AWS::EC2::SubnetRouteTableAssociation", network)
            if "PublicSubnet" in exchange.text(each["SubnetId"])
        ]
        assert joined == [table] * exchange.config.network.az_count, network
        waits = [
            resource["DependsOn"]
            for path, resource in exchange.resources()
            if resource["Type"] == "AWS::EC2::NatGateway" and path.startswith(network)
        ]
        assert waits, network
        assert all("PublicTierOut" in str(each) for each in waits), "a NAT gateway needs the way out to be there first"


def test_a_node_calls_peers_through_a_nat_gateway(exchange: Any) -> None:
    out = [route for route in of(exchange, "AWS::EC2::Route", "Nodes/") if "NatGatewayId" in route]
    assert len(out) == exchange.config.network.az_count
    assert len({exchange.text(route["NatGatewayId"]) for route in out}) == exchange.config.nodes.nat_zone_count
    assert {route["DestinationCidrBlock"] for route in out} == {"0.0.0.0/0"}


def test_each_zone_of_the_way_out_has_a_firewall_and_an_address_of_its_own(exchange: Any) -> None:
    zones = exchange.config.egress.zone_count
    firewalls = of(exchange, "AWS::NetworkFirewall::Firewall", "Network/")
    assert len(firewalls) == len(of(exchange, "AWS::EC2::EIP", "Network/")) == zones
    assert [len(each["SubnetMappings"]) for each in firewalls] == [1] * zones
    assert all("InspectionSubnet" in exchange.text(each["SubnetMappings"][0]["SubnetId"]) for each in firewalls)
    assert len(of(exchange, "AWS::NetworkFirewall::LoggingConfiguration", "Network/")) == zones


def test_the_firewall_passes_the_price_sources_and_drops_the_rest(exchange: Any) -> None:
    (group,) = of(exchange, "AWS::NetworkFirewall::RuleGroup", "Network/")
    rules = group["RuleGroup"]["RulesSource"]["RulesString"].splitlines()
    hosts = [rule.split('content:"')[1].split('"')[0] for rule in rules if "tls.sni" in rule]
    assert hosts == list(exchange.config.hosts_outside)
    assert all(rule.startswith("pass ") and " 443 (" in rule and "startswith; endswith" in rule for rule in rules[:-1])
    assert "flow:not_established" in rules[-1]  # the handshake alone passes without a name
    (policy,) = of(exchange, "AWS::NetworkFirewall::FirewallPolicy", "Network/")
    assert "aws:drop_strict" in policy["FirewallPolicy"]["StatefulDefaultActions"]


def networks(exchange: Any) -> dict[str, str]:
    """Return stack → its network; each stack has one at most."""
    return {path.split("/")[0]: f"<{path.split('/')[1]}>" for path, _ in exchange.of_type("AWS::EC2::VPC")}


def test_names_are_judged_and_kept_in_every_network(exchange: Any) -> None:
    for stack, vpc in networks(exchange).items():
        judged = of(exchange, "AWS::Route53Resolver::FirewallRuleGroupAssociation", f"{stack}/")
        assert [exchange.text(each["VpcId"]) for each in judged] == [vpc], stack
        kept = of(exchange, "AWS::Route53Resolver::ResolverQueryLoggingConfigAssociation", f"{stack}/")
        assert [exchange.text(each["ResourceId"]) for each in kept] == [vpc, vpc], stack


def test_names_that_are_not_on_the_list_do_not_resolve_and_every_question_is_kept(exchange: Any) -> None:
    config = exchange.config
    for stack in networks(exchange):
        (group,) = of(exchange, "AWS::Route53Resolver::FirewallRuleGroup", f"{stack}/")
        allow, block = sorted(group["FirewallRules"], key=lambda rule: rule["Priority"])
        assert (allow["Action"], block["Action"], block["BlockResponse"]) == ("ALLOW", "BLOCK", CLOSED), stack
        lists = {
            path.split("/")[1]: found["Domains"]
            for path, found in exchange.of_type("AWS::Route53Resolver::FirewallDomainList")
            if path.startswith(f"{stack}/")
        }
        allowed, blocked = (
            lists[exchange.text(rule["FirewallDomainListId"]).strip("<>").split(".")[0]] for rule in (allow, block)
        )
        assert blocked == ["*"], stack
        assert not {"*", "*.com", "*.amazonaws.com", "*.internal"} & set(allowed), stack
        beyond = {name for name in allowed if not name.endswith((".amazonaws.com", ".api.aws", ".compute.internal"))}
        if stack == "Network":
            assert set(config.hosts_outside) < beyond
        elif stack == "Nodes":
            assert beyond == {
                name for chain in config.nodes.chains for seed in chain.seeds for name in (seed, f"x9.{seed}")
            }
        else:
            assert beyond == set(), stack
    kept = {
        exchange.text(each["DestinationArn"]).split("<")[0]
        for each in of(exchange, "AWS::Route53Resolver::ResolverQueryLoggingConfig")
    }
    assert kept == {"", f"arn:aws:s3:::bursa-{config.name}-audit-{config.accounts.audit}"}  # a log group, the archive


def test_nodes_of_bitcoin_find_first_peers_by_names_and_those_of_ethereum_by_addresses(exchange: Any) -> None:
    for chain in exchange.config.nodes.chains:
        assert bool(chain.seeds) is (chain.name == "bitcoin"), chain.name


# ---- who did what


def trails(exchange: Any) -> list[dict[str, Any]]:
    return [found for _, found in exchange.of_type("AWS::CloudTrail::Trail")]


def test_each_account_has_a_trail_that_sees_everything_and_cannot_be_forged(exchange: Any) -> None:
    assert len(trails(exchange)) == len(exchange.config.accounts.distinct())
    for trail in trails(exchange):
        assert trail["IsMultiRegionTrail"] is trail["IsLogging"] is trail["EnableLogFileValidation"] is True
        assert trail["IncludeGlobalServiceEvents"] is True
        assert exchange.config.accounts.audit in exchange.text(trail["KMSKeyId"])
        seen = {
            field["Equals"][0]
            for selector in trail["AdvancedEventSelectors"]
            for field in selector["FieldSelectors"]
            if "Equals" in field
        }
        assert seen == {"Management", "Data", "AWS::S3::Object", "AWS::Lambda::Function"}


def test_records_are_locked_where_those_who_act_cannot_reach_them(exchange: Any) -> None:
    ((path, bucket),) = [(p, b) for p, b in exchange.of_type("AWS::S3::Bucket") if p.startswith("Audit/Archive")]
    config = exchange.config
    assert {trail["S3BucketName"] for trail in trails(exchange)} == {bucket["BucketName"]}, path
    assert bucket["ObjectLockEnabled"] is True
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Days": config.audit.retention_days, "Mode": config.audit.lock_mode}
    manifest = json.loads((exchange.folder / "manifest.json").read_text())
    homes = {
        a["environment"]
        for n, a in manifest["artifacts"].items()
        if n.startswith(f"{exchange.stage}Audit") and "environment" in a
    }
    assert f"aws://{config.accounts.audit}/{config.region}" in homes


def test_the_flows_of_every_network_are_locked_away_as_well(exchange: Any) -> None:
    config = exchange.config
    places: dict[str, set[str]] = {}
    for path, flows in exchange.of_type("AWS::EC2::FlowLog"):
        assert (flows["TrafficType"], flows["ResourceType"]) == ("ALL", "VPC"), path
        network = f"{path.split('/')[0]}/{exchange.text(flows['ResourceId'])}"
        places.setdefault(network, set()).add(exchange.text(flows.get("LogDestination", "log group")))
    networks = {f"{path.split('/')[0]}/<{path.split('/')[1]}>" for path, _ in exchange.of_type("AWS::EC2::VPC")}
    locked = f"arn:aws:s3:::bursa-{config.name}-audit-{config.accounts.audit}"
    assert places == {network: {"log group", locked} for network in networks}


def test_a_network_is_made_after_the_archive_of_its_flows(exchange: Any) -> None:
    manifest = json.loads((exchange.folder / "manifest.json").read_text())["artifacts"]
    stacks = {
        each["displayName"].partition(" ")[0].partition("/")[2]: name
        for name, each in manifest.items()
        if each["type"] == "aws:cloudformation:stack"
    }
    for stack in {path.split("/")[0] for path, _ in exchange.of_type("AWS::EC2::VPC")}:
        assert stacks["Audit"] in manifest[stacks[stack]]["dependencies"], stack


def test_in_prod_nobody_can_shorten_a_record(prod: Any) -> None:
    ((_, bucket),) = [(p, b) for p, b in prod.of_type("AWS::S3::Bucket") if p.startswith("Audit/Archive")]
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention["Mode"] == "COMPLIANCE"
    assert retention["Days"] >= 5 * 365
    assert len(set(prod.config.accounts.distinct().values())) == 4


LOGS = {
    "core": "Foundation/AccessLogs",
    "edge": "EdgeStore/LogsBucket",
    "nodes": "Nodes/AccessLogs",
    "configuration": "Audit/ConfigurationBucket",
}
"""What S3 copies into the archive: part → bucket. There balancers, S3, CloudFront, web firewalls, AWS Config write."""


def copiers(exchange: Any) -> set[str]:
    config = exchange.config
    homes = {
        "core": config.account,
        "edge": config.account,
        "nodes": config.accounts.nodes,
        "configuration": config.accounts.audit,
    }
    return {f"arn:aws:iam::{home}:role/bursa-{config.name}-log-copies-{part}" for part, home in homes.items()}


def test_every_log_of_balancers_and_the_edge_is_copied_into_the_archive(exchange: Any) -> None:
    config = exchange.config
    archive = f"arn:aws:s3:::bursa-{config.name}-audit-{config.accounts.audit}"
    key = f"arn:aws:kms:{config.region}:{config.accounts.audit}:alias/bursa-{config.name}-audit"
    buckets = dict(exchange.of_type("AWS::S3::Bucket"))
    for part, name in LOGS.items():
        ((path, bucket),) = [each for each in buckets.items() if each[0].startswith(name)]
        (rule,) = bucket["ReplicationConfiguration"]["Rules"]
        assert (rule["Status"], rule["Filter"]["Prefix"]) == ("Enabled", ""), path
        assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
        assert exchange.text(rule["Destination"]["Bucket"]) == archive
        assert exchange.text(rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"]) == key
        role = exchange.text(bucket["ReplicationConfiguration"]["Role"]).strip("<>").split(".")[0]
        found = exchange.stacks[path.split("/")[0]]["Resources"][role]["Properties"]
        assert found["RoleName"] == f"bursa-{config.name}-log-copies-{part}"
        assert found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}
    written = {
        exchange.text(attribute["Value"])
        for _, balancer in exchange.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer")
        for attribute in balancer["LoadBalancerAttributes"]
        if attribute["Key"] == "access_logs.s3.bucket"
    }
    assert {re.sub(r"[0-9A-F]{8}>", ">", each).strip("<>").split("/")[-1] for each in written} == {"AccessLogs"}
    for path, logging in exchange.of_type("AWS::WAFv2::LoggingConfiguration"):
        (where,) = logging["LogDestinationConfigs"]
        assert "LogsBucket" in exchange.text(where) or f"aws-waf-logs-{config.name}-edge" in exchange.text(where), path


def test_who_copies_logs_reads_one_bucket_and_writes_the_archive_alone(exchange: Any) -> None:
    config = exchange.config
    for stack, name in (
        ("Foundation", "LogCopiesRole"),
        ("EdgeStore", "LogsCopiesRole"),
        ("Nodes", "LogCopiesRole"),
        ("Audit", "ConfigurationCopiesRole"),
    ):
        ((_, policy),) = [
            each for each in exchange.of_type("AWS::IAM::ManagedPolicy") if each[0].startswith(f"{stack}/{name}")
        ]
        statements = policy["PolicyDocument"]["Statement"]
        writes = [each for each in statements if "s3:ReplicateObject" in each["Action"]]
        assert [exchange.text(each["Resource"]) for each in writes] == [
            f"arn:aws:s3:::bursa-{config.name}-audit-{config.accounts.audit}/*"
        ]
        seals = [each for each in statements if "kms:GenerateDataKey" in each["Action"]]
        assert [each["Condition"] for each in seals] == [
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/bursa-{config.name}-audit"}}
        ]
        actions = {action for each in statements for action in listed(each["Action"])}
        assert not {action for action in actions if "Delete" in action or action == "s3:PutObject"}


def test_questions_to_names_and_refusals_are_ready_and_name_a_day(exchange: Any) -> None:
    tables = {
        given["TableInput"]["Name"]: given["TableInput"]
        for path, given in exchange.of_type("AWS::Glue::Table")
        if path.startswith("Audit/")
    }
    assert tables.keys() == {"trail", "dns", "web_firewall"}
    for name in ("dns", "web_firewall"):
        parts = [each["Name"] for each in tables[name]["PartitionKeys"]]
        template = exchange.text(tables[name]["Parameters"]["storage.location.template"])
        assert re.findall(r"\$\{(\w+)\}", template) == parts
        assert {f"projection.{part}.type" for part in parts} <= tables[name]["Parameters"].keys()
        asked = [
            query["QueryString"]
            for _, query in exchange.of_type("AWS::Athena::NamedQuery")
            if f" FROM {name} " in query["QueryString"]
        ]
        assert asked
        for text in asked:
            assert all(re.search(rf"\b{part} = '", text) for part in parts), text


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_only_our_accounts_add_records_and_none_reads_or_deletes_them(exchange: Any) -> None:
    ((_, policy),) = [(p, b) for p, b in exchange.of_type("AWS::S3::BucketPolicy") if p.startswith("Audit/Archive")]
    ours = set(exchange.config.accounts.distinct().values())
    for statement in policy["PolicyDocument"]["Statement"]:
        if statement["Effect"] == "Deny":
            continue
        if "AWS" in statement["Principal"]:  # S3 as the roles that carry logs over
            assert set(statement["Action"]) == {"s3:ReplicateObject", "s3:ReplicateTags"}
            (allowed,) = statement["Condition"].values()
            named = allowed["aws:PrincipalArn"]
            assert set([named] if isinstance(named, str) else named) <= copiers(exchange)
            continue
        services = statement["Principal"]["Service"]
        assert set([services] if isinstance(services, str) else services) <= {
            "cloudtrail.amazonaws.com",
            "delivery.logs.amazonaws.com",
        }
        given = statement["Condition"]["StringEquals"]["aws:SourceAccount"]
        assert set([given] if isinstance(given, str) else given) == ours
        actions = statement["Action"]
        assert set([actions] if isinstance(actions, str) else actions) <= {
            "s3:GetBucketAcl",
            "s3:ListBucket",
            "s3:PutObject",
        }


def test_the_usual_questions_are_ready_and_name_a_day(exchange: Any) -> None:
    queries = {query["Name"]: query["QueryString"] for _, query in exchange.of_type("AWS::Athena::NamedQuery")}
    audit = {name: text for name, text in queries.items() if " FROM trail " in text}
    assert {"WhoDidWhat", "UsesOfKeys", "RootAndRefused", "SecuritySwitches"} == set(audit)
    assert all("WHERE day = " in text for text in audit.values())  # else a question reads, and costs, everything


def test_every_account_is_held_against_the_standards(exchange: Any) -> None:
    watched = len(list(exchange.of_type("AWS::SecurityHub::Hub")))
    found = [exchange.text(s["StandardsArn"]) for _, s in exchange.of_type("AWS::SecurityHub::Standard")]
    assert len(found) == watched * len(exchange.config.audit.standards)
    assert all(any(f"/{name}/" in arn for arn in found) for name in exchange.config.audit.standards)


def test_the_detector_looks_at_objects_disks_databases_and_functions(exchange: Any) -> None:
    for _, detector in exchange.of_type("AWS::GuardDuty::Detector"):
        on = {feature["Name"] for feature in detector["Features"] if feature["Status"] == "ENABLED"}
        assert on == {"S3_DATA_EVENTS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS"}


def test_what_outsiders_upload_is_scanned_and_the_result_stands_on_it(exchange: Any) -> None:
    scanned = {}
    for path, plan in exchange.of_type("AWS::GuardDuty::MalwareProtectionPlan"):
        bucket = plan["ProtectedResource"]["S3Bucket"]
        assert plan["Actions"] == {"Tagging": {"Status": "ENABLED"}}, path
        scanned[path.split("/")[0]] = (exchange.text(bucket["BucketName"])[:8], bucket.get("ObjectPrefixes"))
    assert scanned == {"Onboarding": ("<Documen", None), "Migration": ("<Landing", ["incoming/"])}


def test_the_scanner_writes_no_object_but_its_own_and_no_rule_but_guardduty_s(exchange: Any) -> None:
    found = {
        path: policy["PolicyDocument"]["Statement"]
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if "ScanRole" in path
    }
    assert len(found) == 2
    for path, statements in found.items():
        by_action = {action: each for each in statements for action in _listed(each["Action"])}
        written = exchange.text(by_action["s3:PutObject"]["Resource"])
        assert written.endswith("/malware-protection-resource-validation-object"), path
        for action in ("events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:DeleteRule"):
            assert list(by_action[action]["Condition"]["StringEquals"]) == ["events:ManagedBy"], path
        assert "kms:ViaService" in by_action["kms:Decrypt"]["Condition"]["StringEquals"]
        assert not any(action.startswith("s3:Delete") for action in by_action)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_image_is_looked_through_when_it_comes_and_for_as_long_as_it_stays(exchange: Any) -> None:
    for path, scanning in exchange.of_type("AWS::ECR::RegistryScanningConfiguration"):
        assert scanning["ScanType"] == "ENHANCED", path
        (rule,) = scanning["Rules"]
        assert rule["ScanFrequency"] == "CONTINUOUS_SCAN"
        assert rule["RepositoryFilters"] == [{"Filter": "*", "FilterType": "WILDCARD"}]


def test_findings_of_every_source_reach_a_queue(exchange: Any) -> None:
    sources: dict[str, list[str]] = {}
    for path, rule in exchange.of_type("AWS::Events::Rule"):
        if path.startswith("Security") and "BaselineFindings" in str(rule["Targets"]):
            (target,) = rule["Targets"]
            assert "LostFindings" in exchange.text(target["DeadLetterConfig"]["Arn"])
            sources.setdefault(path.split("/", maxsplit=1)[0], []).extend(rule["EventPattern"]["source"])
    wanted = ["aws.access-analyzer", "aws.guardduty", "aws.inspector2", "aws.securityhub"]
    assert len(sources) == len(exchange.config.accounts.distinct())
    assert all(sorted(found) == wanted for found in sources.values())


# ---- copies


def mark(resource: dict[str, Any]) -> str | None:
    properties = resource["Properties"]
    holder = properties["Replicas"][0] if resource["Type"] == "AWS::DynamoDB::GlobalTable" else properties
    tags = holder.get("Tags", [])
    return next((tag["Value"] for tag in tags if tag["Key"] == TAG), None)


def test_every_store_is_marked_for_backup_or_left_out_by_name(exchange: Any) -> None:
    marks = {path: mark(resource) for path, resource in exchange.resources() if resource["Type"] in KINDS}
    assert marks
    left_out = {path for path, value in marks.items() if value != "yes"}
    assert all(marks[path] == "no" for path in left_out), left_out
    stacks = {"Analytics", "Audit", "EdgeStore", "Foundation", "Nodes", "Web"}
    assert {path.split("/", maxsplit=1)[0] for path in left_out} == stacks
    assert not [path for path in left_out if path.startswith("Foundation") and "AccessLogs" not in path]
    assert not [path for path in left_out if path.startswith("Analytics") and "LakeAnswers" not in path]


def test_the_plan_copies_what_is_marked_daily_and_monthly_into_the_air_gapped_vault_too(exchange: Any) -> None:
    (selection,) = [
        each for path, each in exchange.of_type("AWS::Backup::BackupSelection") if path.startswith("Backup/")
    ]
    (condition,) = selection["BackupSelection"]["ListOfTags"]
    assert (condition["ConditionKey"], condition["ConditionValue"]) == (TAG, "yes")
    (plan,) = [each for path, each in exchange.of_type("AWS::Backup::BackupPlan") if path.startswith("Backup/")]
    daily, monthly = plan["BackupPlan"]["BackupPlanRule"]
    times = exchange.config.backup
    assert daily["Lifecycle"] == {"DeleteAfterDays": times.daily_kept_days}
    assert monthly["Lifecycle"] == {"DeleteAfterDays": times.monthly_kept_days}
    assert ["AirGapped" in exchange.text(copy["DestinationBackupVaultArn"]) for copy in monthly["CopyActions"]] == [
        True
    ]


def test_every_vault_is_locked_and_in_prod_for_good(exchange: Any) -> None:
    """At home, abroad, and in the nodes' account."""
    times, snapshots = exchange.config.backup, exchange.config.nodes.snapshots_kept_days
    locks = {
        path.split("/")[0]: vault["LockConfiguration"] for path, vault in exchange.of_type("AWS::Backup::BackupVault")
    }
    assert {stack: (lock["MinRetentionDays"], lock["MaxRetentionDays"]) for stack, lock in locks.items()} == {
        "Backup": (times.daily_kept_days, times.monthly_kept_days),
        "Nodes": (snapshots, snapshots),
        "Web": (times.monthly_kept_days, times.monthly_kept_days),
    }
    final = [lock.get("ChangeableForDays") for lock in locks.values()]
    assert final == [3 if exchange.config.name == "prod" else None] * 3


@pytest.mark.parametrize("role", ["Backup/BackupsRole", "Nodes/SnapshotsRole"])
def test_who_copies_deletes_only_what_it_made_and_uses_keys_only_for_stores(exchange: Any, role: str) -> None:
    deletes, keys = set(), {}
    account = exchange.config.accounts.nodes if role.startswith("Nodes/") else exchange.config.account
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if not path.startswith(role):
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            (resource,) = [exchange.text(statement["Resource"])]
            for action in actions:
                if ":Delete" in action or action in {"events:PutTargets", "events:DisableRule"}:
                    deletes.add(action)
                    assert (
                        any(own in resource for own in ("awsbackup", "AwsBackup")) or "Null" in statement["Condition"]
                    )
                if action.startswith("kms:"):
                    assert resource == f"arn:aws:kms:*:{account}:key/*"
                    keys[action] = statement.get("Condition", {})
    assert {"ec2:DeleteSnapshot", "ec2:DeleteVolume"} <= deletes
    assert keys["kms:CreateGrant"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert keys["kms:Decrypt"] == keys["kms:GenerateDataKey"]
    for service in keys["kms:Decrypt"]["StringLike"]["kms:ViaService"]:
        assert re.fullmatch(r"(backup|dynamodb|ec2|rds|s3)\.\*\.amazonaws\.com", service)


def test_nothing_is_copied_abroad_unless_config_says_so(exchange: Any) -> None:
    plans = dict(exchange.of_type("AWS::Backup::BackupPlan"))
    assert exchange.config.web_region not in json.dumps(plans)
    abroad = [r for path, r in exchange.resources() if path.startswith("Web/RecoveryCopies")]
    assert abroad
    assert all(resource["Condition"] == "CopiesAbroad" for resource in abroad)
    switch = exchange.stacks["Web"]["Mappings"]["CopiesAbroadState"]["Switch"]["On"]
    assert switch == ("yes" if exchange.config.backup.copy_abroad else "no")


def test_a_restore_of_every_kind_is_rehearsed(exchange: Any) -> None:
    kinds = {s["ProtectedResourceType"] for _, s in exchange.of_type("AWS::Backup::RestoreTestingSelection")}
    assert kinds == {"Aurora", "DynamoDB", "EBS", "S3"}
