"""Redshift Serverless: the lake asked again and again, at a scale where Athena's price by byte is too much."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_redshiftserverless as redshift
from constructs import Construct

from config.model import Environment
from exchange_constructs.private_network import DATA, PrivateNetwork, may_call_aws
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_lake import TradeLake

PORT = 5439
LOGS = ("connectionlog", "useractivitylog", "userlog")


class Warehouse(Construct):
    """A namespace and a workgroup in the data subnets, TLS only; it reads the lake and nothing else.

    Its administrator's password is made, rotated and kept by the service, in a secret under our key.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        network: PrivateNetwork,
        lake: TradeLake,
    ) -> None:
        """Create both; questions come from inside the network."""
        super().__init__(scope, construct_id)
        name, size = f"bursa-{config.name}", config.analytics.warehouse
        role = ServiceRole(
            self, "Role", service="redshift-serverless.amazonaws.com", description="Reads the lake for the warehouse"
        )
        lake.grant_read(role)
        namespace = redshift.CfnNamespace(
            self,
            "Namespace",
            namespace_name=name,
            db_name="exchange",
            manage_admin_password=True,
            admin_password_secret_kms_key_id=key.key_id,
            kms_key_id=key.key_id,
            iam_roles=[role.role_arn],
            default_iam_role_arn=role.role_arn,
            log_exports=list(LOGS),
        )
        access = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="Warehouse: from inside only", allow_all_outbound=False
        )
        access.add_ingress_rule(network.inside, ec2.Port.tcp(PORT), "questions, from inside the network")
        may_call_aws(access)
        workgroup = redshift.CfnWorkgroup(
            self,
            "Workgroup",
            workgroup_name=name,
            namespace_name=namespace.namespace_name,
            base_capacity=size.base_units,
            max_capacity=size.units_max,
            enhanced_vpc_routing=True,
            publicly_accessible=False,
            security_group_ids=[access.security_group_id],
            subnet_ids=network.vpc.select_subnets(subnet_group_name=DATA).subnet_ids,
            config_parameters=[
                redshift.CfnWorkgroup.ConfigParameterProperty(parameter_key=parameter, parameter_value="true")
                for parameter in ("enable_user_activity_logging", "require_ssl")
            ],
        )
        workgroup.node.add_dependency(namespace)
