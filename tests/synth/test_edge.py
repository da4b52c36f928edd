"""The edge: what it serves from where, what it never keeps, and what it refuses."""

import json
import re
from typing import Any

import pytest

from exchange_constructs.front_door import API_PATHS
from local import resolve
from local.site import _security_headers

HOME, WEB, EDGE = "ap-southeast-3", "ap-southeast-1", "us-east-1"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_AND_CLOUDFRONT = "33f36d7e-f396-46d9-90e0-52428a34d9dc"


def distribution(exchange: Any) -> dict[str, Any]:
    ((_, found),) = exchange.of_type("AWS::CloudFront::Distribution")
    return dict(found["DistributionConfig"])


def regions(exchange: Any) -> dict[str, str]:
    manifest = json.loads((exchange.folder / "manifest.json").read_text())
    return {
        artifact["properties"]["stackName"].removeprefix(f"{exchange.stage}-"): artifact["environment"].split("/")[-1]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }


def test_only_the_edge_the_site_and_what_watches_them_live_abroad(exchange: Any) -> None:
    found = regions(exchange)
    abroad = {"Web": WEB, "Edge": EDGE, "SecurityWeb": WEB, "SecurityEdge": EDGE}
    assert {name: region for name, region in found.items() if region != HOME} == abroad


def test_nothing_that_holds_data_lives_abroad(exchange: Any) -> None:
    stores = ("AWS::DynamoDB", "AWS::RDS", "AWS::Kinesis", "AWS::S3::Bucket", "AWS::SQS", "AWS::Logs::LogGroup")
    stores += ("AWS::SecretsManager", "AWS::Cognito")
    abroad = [name for name, region in regions(exchange).items() if region != HOME]
    held = [path for path, resource in exchange.resources() if resource["Type"].startswith(stores)]
    held = [path for path in held if path.split("/", maxsplit=1)[0] in abroad and not path.endswith("Policy")]
    # The site, which everybody may have, and alarms and findings that reached nobody.
    others = [path for path in held if "/OperatorsUndelivered" not in path]
    assert {path for path in others if not path.startswith("Web/ScreenBundles")} == set()
    assert any(path.startswith("Web/ScreenBundles") for path in held)


def test_rest_is_never_cached_and_learns_the_viewers_address(exchange: Any) -> None:
    behaviors = {each["PathPattern"]: each for each in distribution(exchange)["CacheBehaviors"]}
    assert set(behaviors) == set(API_PATHS)
    for path, behavior in behaviors.items():
        assert behavior["CachePolicyId"] == CACHING_DISABLED, path
        assert behavior["OriginRequestPolicyId"] == ALL_VIEWER_AND_CLOUDFRONT, path
        assert behavior["ViewerProtocolPolicy"] == "https-only", path
        assert set(behavior["AllowedMethods"]) >= {"GET", "POST", "PUT", "DELETE"}, path


def test_rest_is_reached_inside_the_network_by_tls(exchange: Any) -> None:
    ((_, origin),) = exchange.of_type("AWS::CloudFront::VpcOrigin")
    endpoint = origin["VpcOriginEndpointConfig"]
    assert endpoint["OriginProtocolPolicy"] == "https-only"
    assert endpoint["OriginSSLProtocols"] == ["TLSv1.2"]
    assert "RestFrontBalancer" in exchange.text(endpoint["Arn"])
    ids = {each["Id"] for each in distribution(exchange)["Origins"] if "VpcOriginConfig" in each}
    assert {each["TargetOriginId"] for each in distribution(exchange)["CacheBehaviors"]} == ids


def test_the_balancers_certificate_covers_every_name_that_cloudfront_passes_on(exchange: Any) -> None:
    certificates = dict(exchange.of_type("AWS::CertificateManager::Certificate"))
    (rest,) = [each for path, each in certificates.items() if path.startswith("Gateway/RestFront")]
    names = {rest["DomainName"], *rest["SubjectAlternativeNames"]}
    assert set(distribution(exchange)["Aliases"]) <= names
    assert names == {exchange.config.domain, f"api.{exchange.config.domain}"}


def test_the_site_falls_back_to_jakarta(exchange: Any) -> None:
    config = distribution(exchange)
    origins = {each["Id"]: each for each in config["Origins"]}
    (group,) = config["OriginGroups"]["Items"]
    assert config["DefaultCacheBehavior"]["TargetOriginId"] == group["Id"]
    first, second = (origins[member["OriginId"]] for member in group["Members"]["Items"])
    assert "ScreenApp" in exchange.text(first["DomainName"])
    assert first["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    assert "SiteCopyBucket" in exchange.text(second["DomainName"])
    assert second["OriginAccessControlId"]
    assert {500, 502, 503, 504} <= set(group["FailoverCriteria"]["StatusCodes"]["Items"])
    assert "OriginRequestPolicyId" not in config["DefaultCacheBehavior"]  # Amplify knows the site by its own name


def test_clients_speak_modern_tls_and_pass_the_firewall(exchange: Any) -> None:
    config = distribution(exchange)
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["ViewerCertificate"]["SslSupportMethod"] == "sni-only"
    assert "FirewallAcl" in exchange.text(config["WebACLId"])
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    denied = set(exchange.config.edge.denied_countries)
    assert config["Restrictions"]["GeoRestriction"] == {"RestrictionType": "blacklist", "Locations": sorted(denied)}


@pytest.mark.parametrize(
    ("stack", "kind", "limit", "address_in"),
    [
        ("Edge", "CLOUDFRONT", "requests_per_address", None),
        ("Gateway", "REGIONAL", "requests_per_address", "x-viewer-address"),
        ("Onboarding", "REGIONAL", "sign_in_requests_per_address", None),
    ],
)
def test_every_firewall_asks_for_country_rate_and_known_attacks(
    exchange: Any, stack: str, kind: str, limit: str, address_in: str | None
) -> None:
    (acl,) = [each for path, each in exchange.of_type("AWS::WAFv2::WebACL") if path.startswith(f"{stack}/")]
    assert acl["Scope"] == kind
    rules = {rule["Name"]: rule for rule in acl["Rules"]}
    address = {"ForwardedIPConfig": {"HeaderName": address_in, "FallbackBehavior": "MATCH"}} if address_in else {}
    assert "Block" in rules["DeniedCountries"]["Action"]
    assert rules["DeniedCountries"]["Statement"]["GeoMatchStatement"] == {
        "CountryCodes": list(exchange.config.edge.denied_countries),
        **address,
    }
    assert rules["TooManyRequests"]["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 429
    assert rules["TooManyRequests"]["Statement"]["RateBasedStatement"] == {
        "AggregateKeyType": "FORWARDED_IP" if address_in else "IP",
        "EvaluationWindowSec": 300,
        "Limit": getattr(exchange.config.edge, limit),
        **address,
    }
    managed = [name for name in rules if name.startswith("AWSManagedRules")]
    # The list of bad addresses knows senders alone, and before REST the sender is CloudFront.
    assert len(managed) == (2 if address_in else 3)
    assert all(rules[name]["OverrideAction"] == {"None": {}} for name in managed)


def test_the_address_that_rest_is_told_is_written_by_cloudfront(exchange: Any) -> None:
    ((_, function),) = exchange.of_type("AWS::CloudFront::Function")
    assert "event.request.headers['x-viewer-address'] = { value: event.viewer.ip };" in function["FunctionCode"]
    behaviors = distribution(exchange)["CacheBehaviors"]
    assert {behavior["PathPattern"] for behavior in behaviors} == {"/api/*", "/sapi/*", "/hooks/*"}
    for behavior in behaviors:
        (association,) = behavior["FunctionAssociations"]
        assert association["EventType"] == "viewer-request"
        assert "ViewerAddress" in exchange.text(association["FunctionARN"])


def test_no_log_keeps_a_key_or_a_signature(exchange: Any) -> None:
    for path, logging in exchange.of_type("AWS::WAFv2::LoggingConfiguration"):
        assert {"SingleHeader": {"Name": "x-mbx-apikey"}} in logging["RedactedFields"], path
        assert {"QueryString": {}} in logging["RedactedFields"], path


def test_logs_of_clients_requests_stay_in_jakarta(exchange: Any) -> None:
    (edge,) = [log for path, log in exchange.of_type("AWS::WAFv2::LoggingConfiguration") if path.startswith("Edge/")]
    (bucket,) = [each for path, each in exchange.of_type("AWS::S3::Bucket") if path.startswith("EdgeStore/Logs")]
    assert bucket["BucketName"].startswith("aws-waf-logs-")  # the firewall takes no other name
    assert edge["LogDestinationConfigs"] == [f"arn:aws:s3:::{bucket['BucketName']}"]
    (destination,) = [
        each for path, each in exchange.of_type("AWS::Logs::DeliveryDestination") if path.startswith("Edge/")
    ]
    assert destination["DestinationResourceArn"] == f"arn:aws:s3:::{bucket['BucketName']}"
    (source,) = [each for path, each in exchange.of_type("AWS::Logs::DeliverySource") if path.startswith("Edge/")]
    assert (source["LogType"], "Distribution" in exchange.text(source["ResourceArn"])) == ("ACCESS_LOGS", True)


def test_the_page_has_the_headers_that_the_local_front_door_gives(exchange: Any) -> None:
    """The screen is tried against these headers on every machine; in AWS it must meet the same."""
    (site,) = [
        each["ResponseHeadersPolicyConfig"]
        for path, each in exchange.of_type("AWS::CloudFront::ResponseHeadersPolicy")
        if "SiteHeaders" in path
    ]
    security = site["SecurityHeadersConfig"]
    given = {
        "content-security-policy": security["ContentSecurityPolicy"]["ContentSecurityPolicy"],
        "referrer-policy": security["ReferrerPolicy"]["ReferrerPolicy"],
        "x-content-type-options": "nosniff" if security["ContentTypeOptions"]["Override"] else "",
        "x-frame-options": security["FrameOptions"]["FrameOption"],
        **{each["Header"]: each["Value"] for each in site["CustomHeadersConfig"]["Items"]},
    }
    local = {name.decode(): value.decode() for name, value in _security_headers(8000).items()}
    streams = f"wss://stream.{exchange.config.domain}"
    local["content-security-policy"] = local["content-security-policy"].replace(
        "ws://127.0.0.1:8000 ws://localhost:8000", streams
    )
    assert given == local
    assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000


def test_both_names_lead_to_cloudfront_by_both_protocols(exchange: Any) -> None:
    records = {
        (each["Name"].rstrip("."), each["Type"])
        for path, each in exchange.of_type("AWS::Route53::RecordSet")
        if path.startswith("Edge/FrontDoor") and "AliasTarget" in each
    }
    domain = exchange.config.domain
    assert records == {(name, kind) for name in (domain, f"api.{domain}") for kind in ("A", "AAAA")}
    (caa,) = [each for _, each in exchange.of_type("AWS::Route53::RecordSet") if each["Type"] == "CAA"]
    assert caa["ResourceRecords"] == ['0 issue "amazon.com"']


def test_every_public_name_is_asked_for_from_outside(exchange: Any) -> None:
    hosts = {
        check["HealthCheckConfig"]["FullyQualifiedDomainName"]
        for _, check in exchange.of_type("AWS::Route53::HealthCheck")
    }
    domain = exchange.config.domain
    assert hosts == {domain, f"api.{domain}", f"stream.{domain}"}


class _Conditions:
    """The conditions of one template, by the rules of the local run; they ask only for mappings."""

    def __init__(self, template: dict[str, Any]) -> None:
        self._template = template

    def condition(self, name: str) -> bool:
        return resolve.holds(self._template["Conditions"][name], self)  # type: ignore[arg-type]

    def mapping(self, table: str, key: str, leaf: str) -> Any:
        return self._template["Mappings"][table][key][leaf]


def holds(exchange: Any, path: str, resource: dict[str, Any]) -> bool:
    """Return whether the condition of a resource holds, as CloudFormation would find it."""
    return _Conditions(exchange.stacks[path.split("/", maxsplit=1)[0]]).condition(resource["Condition"])


def test_switches_stand_in_every_environment_and_hold_where_config_says_so(exchange: Any) -> None:
    wanted = {
        "AWS::Route53::DNSSEC": exchange.config.edge.dnssec,
        "AWS::Route53::KeySigningKey": exchange.config.edge.dnssec,
        "AWS::Shield::Protection": exchange.config.edge.shield_advanced,
        "AWS::DMS::ReplicationConfig": exchange.config.migration.copies_database,
    }
    found = {
        resource["Type"]: holds(exchange, path, resource)
        for path, resource in exchange.resources()
        if "Condition" in resource
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_floods_are_held_off_from_every_public_end(exchange: Any) -> None:
    protected = [exchange.text(each["ResourceArn"]) for _, each in exchange.of_type("AWS::Shield::Protection")]
    assert len(protected) == 2 + exchange.config.network.az_count
    addresses = [arn for arn in protected if ":eip-allocation/" in arn]
    here = f"arn:aws:ec2:{HOME}:{exchange.config.account}:eip-allocation/"
    assert len(addresses) == len(set(addresses)) == exchange.config.network.az_count
    assert all(arn.startswith(here) and "StreamFrontAddress" in arn for arn in addresses), addresses


def test_the_zone_is_signed_with_a_key_that_route_53_takes(exchange: Any) -> None:
    (key,) = [key for path, key in exchange.of_type("AWS::KMS::Key") if path.startswith("Edge/KeysZone")]
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")


def test_only_cloudfront_and_amplify_of_this_account_read_the_site(exchange: Any) -> None:
    for path, policy in exchange.of_type("AWS::S3::BucketPolicy"):
        if not path.startswith(("EdgeStore/SiteCopy", "Web/Screen")):
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == exchange.config.account, path
                assert set(statement["Principal"]) == {"Service"}, path


def test_a_page_works_through_cloudfront_alone(exchange: Any) -> None:
    """Amplify's own name is open to all: there a page runs nothing, and CloudFront replaces every header of Amplify."""
    ((_, app),) = exchange.of_type("AWS::Amplify::App")
    assert re.findall(r'^  - pattern: "(.+)"$', app["CustomHeaders"], re.MULTILINE) == ["**/*"]
    said = dict(re.findall(r'^      - key: "([^"]+)"\n        value: "([^"]+)"$', app["CustomHeaders"], re.MULTILINE))
    policy = said["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
    (given,) = [
        each["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
        for path, each in exchange.of_type("AWS::CloudFront::ResponseHeadersPolicy")
        if "SiteHeaders" in path
    ]
    replaced = {
        "content-security-policy": "ContentSecurityPolicy",
        "referrer-policy": "ReferrerPolicy",
        "strict-transport-security": "StrictTransportSecurity",
        "x-content-type-options": "ContentTypeOptions",
        "x-frame-options": "FrameOptions",
    }
    assert said.keys() == replaced.keys()
    assert all(given[name]["Override"] is True for name in replaced.values())


def test_the_site_is_deployed_by_hand_from_no_repository(exchange: Any) -> None:
    ((_, app),) = exchange.of_type("AWS::Amplify::App")
    assert {"Repository", "OauthToken", "AccessToken"} & set(app) == set()
    ((_, branch),) = exchange.of_type("AWS::Amplify::Branch")
    assert branch["EnableAutoBuild"] is False
    for path, bucket in exchange.of_type("AWS::S3::Bucket"):
        if path.startswith("Web/Screen"):
            assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def test_the_budget_warns_before_it_is_spent(exchange: Any) -> None:
    ((_, budget),) = exchange.of_type("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": exchange.config.edge.monthly_budget_usd, "Unit": "USD"}
    kinds = {each["Notification"]["NotificationType"] for each in budget["NotificationsWithSubscribers"]}
    assert kinds == {"ACTUAL", "FORECASTED"}
