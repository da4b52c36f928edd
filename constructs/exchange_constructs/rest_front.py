"""The private end of the REST gateway: an application load balancer that only the network itself reaches."""

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.private_network import APPLICATION, PrivateNetwork
from exchange_constructs.web_firewall import VIEWER_ADDRESS, WebFirewall


class RestFront(Construct):
    """HTTPS on port 443 behind a web firewall. CloudFront reaches it through interfaces inside the network."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        network: PrivateNetwork,
        zone: route53.IHostedZone,
        service: FargateService,
        access_logs: s3.IBucket,
        firewall_logs: s3.IBucket,
    ) -> None:
        """Create the load balancer in front of `service`."""
        super().__init__(scope, construct_id)
        group = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="REST clients, from inside only", allow_all_outbound=False
        )
        group.add_ingress_rule(_origin_facing(config), ec2.Port.tcp(443), "CloudFront, by its VPC origin")
        self.balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            internet_facing=False,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_group=group,
            drop_invalid_header_fields=True,
            desync_mitigation_mode=elb.DesyncMitigationMode.STRICTEST,
            deletion_protection=True,
        )
        self.balancer.set_attribute("zonal_shift.config.enabled", "true")
        self.balancer.log_access_logs(access_logs, "rest")
        self.target_group = elb.ApplicationTargetGroup(
            self,
            "Tasks",
            vpc=network.vpc,
            port=service.process.port,
            protocol=elb.ApplicationProtocol.HTTP,
            target_type=elb.TargetType.IP,
            targets=[service.service],
            deregistration_delay=Duration.seconds(30),
            health_check=elb.HealthCheck(
                path="/healthz",
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )
        self.listener = self.balancer.add_listener(
            "Https",
            port=443,
            protocol=elb.ApplicationProtocol.HTTPS,
            open=False,
            certificates=[
                acm.Certificate(
                    self,
                    "Certificate",
                    # CloudFront passes on the name that the viewer asked for, and checks the certificate against it.
                    domain_name=zone.zone_name,
                    subject_alternative_names=[f"api.{zone.zone_name}"],
                    validation=acm.CertificateValidation.from_dns(zone),
                )
            ],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            default_target_groups=[self.target_group],
        )
        WebFirewall(
            self,
            "Firewall",
            config=config,
            name="Rest",
            requests_per_address=config.edge.requests_per_address,
            logs=firewall_logs,
            address_in=VIEWER_ADDRESS,
        ).stand_before(self.balancer.load_balancer_arn)


def _origin_facing(config: Environment) -> ec2.IPeer:
    """CloudFront as a source of traffic: its prefix list, or the group that it gives its interfaces here."""
    known_by = config.edge.origin_facing
    if known_by.startswith("pl-"):
        return ec2.Peer.prefix_list(known_by)
    return ec2.Peer.security_group_id(known_by)
