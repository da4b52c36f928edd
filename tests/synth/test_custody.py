"""The wallet account: who may use the keys, what the enclaves' hosts can reach, and who is told."""

import json
import re
from typing import Any

from exchange_constructs.wallet_keys import pcr3

IMAGE = "kms:RecipientAttestation:ImageSha384"
USES = {"kms:Decrypt", "kms:GenerateDataKey"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def wallet_keys(exchange: Any) -> dict[str, list[dict[str, Any]]]:
    found = {
        path: key["KeyPolicy"]["Statement"]
        for path, key in exchange.of_type("AWS::KMS::Key")
        if path.startswith("Custody/WalletKeys")
    }
    assert len(found) == 2
    return found


def resources(exchange: Any, kind: str) -> list[dict[str, Any]]:
    return [properties for path, properties in exchange.of_type(kind) if path.startswith("Custody/")]


def test_no_statement_gives_a_wallet_key_without_every_measurement(exchange: Any) -> None:
    custody = exchange.config.custody
    role = f"arn:aws:iam::{exchange.config.accounts.wallet}:role/bursa-{exchange.config.name}-signer"
    for path, statements in wallet_keys(exchange).items():
        using = [each for each in statements if each["Effect"] == "Allow" and USES & set(listed(each["Action"]))]
        (allow,) = using
        assert set(allow["Action"]) == USES, path
        assert exchange.text(allow["Principal"]["AWS"]).startswith("<Signer")
        assert allow["Condition"]["StringEqualsIgnoreCase"] == {
            IMAGE: [image.pcr0 for image in custody.images],
            "kms:RecipientAttestation:PCR3": pcr3(role),
            "kms:RecipientAttestation:PCR8": custody.signing_certificate_pcr8,
        }
        every = [action for each in statements if each["Effect"] == "Allow" for action in listed(each["Action"])]
        assert not [action for action in every if "*" in action or action.endswith("Encrypt")], path


def test_the_account_itself_has_no_way_to_a_wallet_key(exchange: Any) -> None:
    for path, statements in wallet_keys(exchange).items():
        for statement in statements:
            assert ":root" not in json.dumps(statement["Principal"]), path
            if statement["Principal"] == {"AWS": "*"}:
                assert statement["Effect"] == "Deny", path
        denied = {each["Sid"]: each for each in statements if each["Effect"] == "Deny"}
        assert denied["NeverInPlain"]["Condition"] == {"Null": {IMAGE: "true"}}
        assert denied["NeverInDebugMode"]["Condition"] == {"StringEqualsIgnoreCase": {IMAGE: "0" * 96}}
        for sid in ("NeverInPlain", "NeverInDebugMode"):
            assert set(denied[sid]["Action"]) >= USES
        guarded = denied["GuardedByBreakGlass"]
        assert set(guarded["Action"]) >= {"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey"}
        break_glass = exchange.config.custody.break_glass_role
        assert guarded["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": break_glass}}


def test_the_stack_of_the_keys_is_deployed_by_the_role_that_may_change_them(exchange: Any) -> None:
    manifest = json.loads((exchange.folder / "manifest.json").read_text())
    deployers = {
        artifact["properties"]["stackName"]: artifact["properties"]["cloudFormationExecutionRoleArn"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    deployer = deployers[f"{exchange.stage}-Custody"]
    assert deployer == exchange.config.custody.break_glass_role
    assert deployer not in {role for name, role in deployers.items() if not name.endswith("-Custody")}


def test_the_role_that_enclaves_measure_has_the_name_the_policy_knows(exchange: Any) -> None:
    roles = [role for role in resources(exchange, "AWS::IAM::Role") if "RoleName" in role]
    assert [role["RoleName"] for role in roles] == [f"bursa-{exchange.config.name}-signer"]


def test_the_wallet_network_has_no_way_in_or_out_but_two_endpoints(exchange: Any) -> None:
    for kind in ("InternetGateway", "NatGateway", "Route", "VPCPeeringConnection", "TransitGatewayAttachment", "EIP"):
        assert resources(exchange, f"AWS::EC2::{kind}") == [], kind
    assert resources(exchange, "AWS::ElasticLoadBalancingV2::LoadBalancer") == []
    endpoints = resources(exchange, "AWS::EC2::VPCEndpoint")
    services = {exchange.text(each["ServiceName"]).rpartition(".")[2] for each in endpoints}
    assert services == {"kms", "dynamodb"}
    wallet = exchange.config.accounts.wallet
    reached = {}
    for endpoint in endpoints:
        (statement,) = endpoint["PolicyDocument"]["Statement"]
        assert statement["Condition"] == {
            "StringEquals": {"aws:PrincipalAccount": wallet, "aws:ResourceAccount": wallet},
        }
        reached[endpoint["VpcEndpointType"]] = [
            re.sub(r"[0-9A-F]{8}\.Arn", "", exchange.text(each)) for each in listed(statement["Resource"])
        ]
    assert reached == {"Interface": ["*"], "Gateway": ["<SigningTable>", "<SigningTable>/index/Waiting"]}


def test_nothing_connects_to_a_host_of_the_enclaves(exchange: Any) -> None:
    (template,) = resources(exchange, "AWS::EC2::LaunchTemplate")
    data = template["LaunchTemplateData"]
    assert data["EnclaveOptions"] == {"Enabled": True}
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert "KeyName" not in data
    (interface,) = data["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is False
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True
    assert "KeysData" in exchange.text(disk["Ebs"]["KmsKeyId"])
    groups = {
        path.split("/")[1]: group
        for path, group in exchange.of_type("AWS::EC2::SecurityGroup")
        if path.startswith("Custody/Fleet")
    }
    (name,) = [exchange.text(each).strip("<>").split(".")[0] for each in interface["Groups"]]
    assert "SecurityGroupIngress" not in groups[name]
    reaching = [rule for rule in resources(exchange, "AWS::EC2::SecurityGroupIngress") if name in json.dumps(rule)]
    assert reaching == []
    script = exchange.text(data["UserData"])
    for tool in ("dnf", "docker", "curl", "aws "):
        assert tool not in script


def test_a_host_may_answer_requests_and_nothing_else(exchange: Any) -> None:
    actions = {
        action
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Custody/Signer")
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    }
    # Decrypt is of the table's key: the wallet keys name this role in their own policy.
    assert actions == {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "kms:Decrypt"}


def test_the_hosts_environment_leads_to_the_enclave_kms_and_the_table(exchange: Any) -> None:
    (template,) = resources(exchange, "AWS::EC2::LaunchTemplate")
    script = exchange.text(template["LaunchTemplateData"]["UserData"])
    written = re.search(r"^cat > /etc/bursa/service\.json <<'(\w+)'\n(.*?)\n\1$", script, re.MULTILINE | re.DOTALL)
    assert written
    descriptor = json.loads(written[2])
    assert descriptor["command"] == ["python", "-m", "runtime.wallet_parent.main"]
    environment = descriptor["environment"]
    assert re.fullmatch(r"<SigningTable\w+>", environment.pop("SIGNING_TABLE"))
    assert environment == {
        "SERVICE": "wallet_parent",
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "7010",
        "AWS_REGION": "ap-southeast-3",
        "ENCLAVE": "vsock:16:5000",
        "KMS_FORWARDER": "vsock:8000",
        "KMS_ADDRESS": "kms.ap-southeast-3.amazonaws.com:443",
        "WALLET": "hot-1",
    }


def test_operators_are_told_of_every_change_and_every_strange_use_of_a_key(exchange: Any) -> None:
    rules = {
        path.split("/")[1].removeprefix("KeyWatch")[:-8][:7]: rule
        for path, rule in exchange.of_type("AWS::Events::Rule")
        if path.startswith("Custody/KeyWatch")
    }
    assert set(rules) == {"Changed", "UsedByO", "Refused"}
    for name, rule in rules.items():
        assert rule["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", name
        (target,) = rule["Targets"]
        assert "Pager" in exchange.text(target["Arn"])
        assert target["DeadLetterConfig"]
    for name in ("Changed", "UsedByO", "Refused"):
        detail = rules[name]["EventPattern"]["detail"]
        assert detail["eventSource"] == ["kms.amazonaws.com"]
        assert len(detail["resources"]["ARN"]) == 2
    assert set(rules["Changed"]["EventPattern"]["detail"]["eventName"]) >= {
        "DisableKey",
        "ScheduleKeyDeletion",
        "PutKeyPolicy",
        "CreateGrant",
    }
    assert set(rules["UsedByO"]["EventPattern"]["detail"]["eventName"]) >= {"Decrypt", "GenerateDataKey"}
    issuer = rules["UsedByO"]["EventPattern"]["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]
    assert issuer == {"userName": [{"anything-but": [f"bursa-{exchange.config.name}-signer"]}]}
