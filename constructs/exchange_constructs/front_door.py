"""CloudFront: the one address of site and REST, which keeps nothing that belongs to a client."""

from datetime import date
from typing import Final

from aws_cdk import Annotations, ArnFormat, Duration, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from config.model import Environment
from exchange_constructs.cut_over_name import CutOverName
from exchange_constructs.nag import accept
from exchange_constructs.web_firewall import VIEWER_ADDRESS

API_PATHS: Final = ("/api/*", "/sapi/*", "/hooks/*")
LOGO_STYLE: Final = "sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY="
"""The one inline style on the page: the attribution logo of the chart library, which its licence wants shown."""
HSTS_DAYS: Final = 730


class FrontDoor(Construct):
    """`/` comes from Amplify, or from the copy in Jakarta when that fails; API_PATHS come from our own network."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        zone: route53.IHostedZone,
        firewall: waf.CfnWebACL,
        site_host: str,
        site_copy: s3.IBucket,
        rest: elb.IApplicationLoadBalancer,
        access_logs: s3.IBucket,
    ) -> None:
        """Create the distribution with its names, and send its log to `access_logs`."""
        super().__init__(scope, construct_id)
        self.names = (config.domain, config.api_name)
        certificate = acm.Certificate(
            self,
            "Certificate",
            domain_name=self.names[0],
            subject_alternative_names=list(self.names[1:]),
            validation=acm.CertificateValidation.from_dns(zone),
        )
        site = origins.OriginGroup(
            primary_origin=origins.HttpOrigin(
                site_host,
                protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
                origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
                connection_attempts=2,
                connection_timeout=Duration.seconds(3),
            ),
            fallback_origin=self._copy(site_copy),
            fallback_status_codes=[403, 404, 500, 502, 503, 504],
        )
        api = cloudfront.BehaviorOptions(
            origin=origins.VpcOrigin.with_application_load_balancer(
                rest,
                protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
                origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
                keepalive_timeout=Duration.seconds(60),
            ),
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            # With CloudFront's own headers, among them the address of the viewer, which a client cannot forge.
            origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_AND_CLOUDFRONT_2022,
            function_associations=[
                cloudfront.FunctionAssociation(
                    event_type=cloudfront.FunctionEventType.VIEWER_REQUEST, function=self._tell_address()
                )
            ],
            response_headers_policy=self._headers("ApiHeaders", "default-src 'none'; frame-ancestors 'none'"),
            compress=False,
        )
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"{config.name}: trading screen and REST",
            domain_names=list(self.names),
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            default_root_object="index.html",
            web_acl_id=firewall.attr_arn,
            geo_restriction=cloudfront.GeoRestriction.denylist(*config.edge.denied_countries),
            default_behavior=cloudfront.BehaviorOptions(
                origin=site,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD,
                # Neither cookies nor the host name go to Amplify, which serves by its own name.
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=self._headers("SiteHeaders", _site_policy(config.domain)),
            ),
            additional_behaviors=dict.fromkeys(API_PATHS, api),
        )
        accept(
            self.distribution,
            "AwsSolutions-CFR3",
            reason="Logs leave by log delivery, as it alone reaches a bucket in Jakarta; the rule knows the old way",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self._add_names(zone, config)
        self._log_to(access_logs)

    def _tell_address(self) -> cloudfront.Function:
        """Return what writes the client's address where the web firewall before REST reads it."""
        return cloudfront.Function(
            self,
            "ViewerAddress",
            comment="Hands on the address of the client",
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            code=cloudfront.FunctionCode.from_inline(
                "function handler(event) {\n"
                f"  event.request.headers['{VIEWER_ADDRESS}'] = {{ value: event.viewer.ip }};\n"
                "  return event.request;\n"
                "}\n"
            ),
        )

    def _copy(self, bucket: s3.IBucket) -> cloudfront.IOrigin:
        # By attributes: CDK would otherwise write this distribution into the policy of a bucket that is made before it.
        copy = s3.Bucket.from_bucket_attributes(
            self,
            "SiteCopy",
            bucket_arn=bucket.bucket_arn,
            bucket_regional_domain_name=bucket.bucket_regional_domain_name,
        )
        Annotations.of(self).acknowledge_warning("@aws-cdk/aws-cloudfront-origins:updateImportedBucketPolicyOac")
        return origins.S3BucketOrigin.with_origin_access_control(copy)

    def _headers(self, name: str, content_policy: str) -> cloudfront.ResponseHeadersPolicy:
        frames = cloudfront.HeadersFrameOption.DENY
        return cloudfront.ResponseHeadersPolicy(
            self,
            name,
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=content_policy, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(frame_option=frames, override=True),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(HSTS_DAYS),
                    include_subdomains=True,
                    preload=True,
                    override=True,
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=header, value=value, override=True)
                    for header, value in (
                        ("cross-origin-opener-policy", "same-origin"),
                        ("cross-origin-resource-policy", "same-origin"),
                        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
                    )
                ]
            ),
        )

    def _add_names(self, zone: route53.IHostedZone, config: Environment) -> None:
        target = route53.RecordTarget.from_alias(targets.CloudFrontTarget(self.distribution))
        for label, name in zip(("Site", "Api"), self.names, strict=True):
            CutOverName(
                self,
                f"{label}Name",
                cut_over=config.migration.cut_over,
                zone=zone,
                name=name,
                target=target,
                has_ipv6=True,
            )
        route53.CaaAmazonRecord(self, "Authorities", zone=zone)

    def _log_to(self, bucket: s3.IBucket) -> None:
        stack = Stack.of(self)
        name = f"{stack.stack_name}-front-door".lower()
        arn = stack.format_arn(
            service="cloudfront",
            region="",
            resource="distribution",
            resource_name=self.distribution.distribution_id,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        source = logs.CfnDeliverySource(self, "LogSource", name=name, log_type="ACCESS_LOGS", resource_arn=arn)
        destination = logs.CfnDeliveryDestination(
            self, "LogDestination", name=name, destination_resource_arn=bucket.bucket_arn, output_format="parquet"
        )
        delivery = logs.CfnDelivery(
            self,
            "LogDelivery",
            delivery_source_name=source.name,
            delivery_destination_arn=destination.attr_arn,
            s3_suffix_path="/{yyyy}/{MM}/{dd}/{HH}",
        )
        delivery.add_resource_dependency(source)


def _site_policy(domain: str) -> str:
    """Return what a page may load and reach: its own files, REST, and the streams."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' '{LOGO_STYLE}'; img-src 'self'; "
        f"connect-src 'self' wss://stream.{domain}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
