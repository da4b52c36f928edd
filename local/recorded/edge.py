"""What stands between the internet and the exchange; here the front door stands in its place."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service

EDGE: Final = "the front door is reached by loopback only"
SITE: Final = "the front door serves the built site"
API: Final = "moto answers no call to an API of one's own; the front door does"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::CertificateManager::Certificate": Recorded(
        reason=EDGE, ref="arn:aws:acm:{region}:{account}:certificate/{uuid}"
    ),
    "AWS::CloudFront::Distribution": Recorded(
        reason=EDGE, ref="E{hex8}", attributes={"Id": "{ref}", "DomainName": "d{hex8}.cloudfront.net"}
    ),
    "AWS::CloudFront::Function": Recorded(
        reason=EDGE,
        ref="arn:aws:cloudfront::{account}:function/{name}",
        name_property="Name",
        attributes={"FunctionARN": "{ref}", "FunctionMetadata.FunctionARN": "{ref}", "Stage": "LIVE"},
    ),
    **of_service(
        "CloudFront",
        EDGE,
        "CachePolicy",
        "ContinuousDeploymentPolicy",
        "KeyGroup",
        "KeyValueStore",
        "MonitoringSubscription",
        "OriginAccessControl",
        "OriginRequestPolicy",
        "PublicKey",
        "RealtimeLogConfig",
        "ResponseHeadersPolicy",
        "VpcOrigin",
    ),
    "AWS::WAFv2::LoggingConfiguration": Recorded(
        reason=EDGE, ref="arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{uuid}"
    ),
    "AWS::WAFv2::WebACL": Recorded(
        reason=EDGE,
        ref="{name}|{uuid}|REGIONAL",
        attributes={
            "Arn": "arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{uuid}",
            "Id": "{uuid}",
        },
    ),
    "AWS::WAFv2::WebACLAssociation": Recorded(reason=EDGE, ref="{name}"),
    **of_service("WAFv2", EDGE, "IPSet", "RegexPatternSet", "RuleGroup"),
    **of_service("Shield", EDGE, "DRTAccess", "ProactiveEngagement", "Protection", "ProtectionGroup"),
    "AWS::Amplify::App": Recorded(
        reason=SITE,
        ref="arn:aws:amplify:{region}:{account}:apps/d{hex8}",
        name_property="Name",
        attributes={
            "AppId": "d{hex8}",
            "AppName": "{name}",
            "Arn": "{ref}",
            "DefaultDomain": "d{hex8}.amplifyapp.com",
        },
    ),
    **of_service("Amplify", SITE, "Branch", "Domain"),
    **of_service(
        "ApiGateway",
        API,
        "Account",
        "ApiKey",
        "Authorizer",
        "BasePathMapping",
        "DomainName",
        "GatewayResponse",
        "Method",
        "Model",
        "RequestValidator",
        "UsagePlan",
        "UsagePlanKey",
        "VpcLink",
    ),
    "AWS::ApiGateway::RestApi": Recorded(
        reason=API, ref="r{hex8}", attributes={"RestApiId": "{ref}", "RootResourceId": "root{hex8}"}
    ),
    "AWS::ApiGateway::Resource": Recorded(reason=API, ref="{hex8}", attributes={"ResourceId": "{ref}"}),
    "AWS::ApiGateway::Deployment": Recorded(reason=API, ref="{hex8}", attributes={"DeploymentId": "{ref}"}),
    "AWS::ApiGateway::Stage": Recorded(reason=API, ref="{name}", name_property="StageName"),
    "AWS::ApiGatewayV2::Api": Recorded(
        reason=API,
        ref="a{hex8}",
        attributes={
            "ApiId": "{ref}",
            "ApiEndpoint": "https://{ref}.execute-api.{region}.amazonaws.com",
        },
    ),
    **of_service(
        "ApiGatewayV2", API, "ApiMapping", "Authorizer", "Deployment", "DomainName", "Integration", "Route", "VpcLink"
    ),
    "AWS::ApiGatewayV2::Stage": Recorded(reason=API, ref="{name}", name_property="StageName"),
}
