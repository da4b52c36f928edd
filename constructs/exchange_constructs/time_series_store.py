"""Timestream for InfluxDB: quotes and candles at a rate that partitioned tables of Aurora do not take."""

import json
from datetime import date
from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_timestream as timestream
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import HIPAA, NIST, accept
from exchange_constructs.private_network import DATA, PrivateNetwork

PORT: Final = 8086
ADMINISTRATOR: Final = "administrator"


class TimeSeriesStore(Construct):
    """One database with a standby in another zone, in the data subnets.

    The service takes no key of the customer for its storage; the administrator's password is in a secret under ours.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, network: PrivateNetwork
    ) -> None:
        """Create password and database; writers and readers come from inside the network."""
        super().__init__(scope, construct_id)
        size = config.analytics.time_series
        secret = secretsmanager.Secret(
            self,
            "Administrator",
            description=f"{config.name}: administrator of the time-series store",
            encryption_key=key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"username": ADMINISTRATOR}),
                generate_string_key="password",
                exclude_punctuation=True,
                password_length=40,
            ),
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        accept(
            secret,
            "AwsSolutions-SMG4",
            *(f"{pack}-SecretsManagerRotationEnabled" for pack in (HIPAA, NIST)),
            reason="InfluxDB takes it when it is created; programs have tokens of their own, this is for emergencies",
            expires=date(2027, 11, 20),
        )
        access = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="Time series: from inside only", allow_all_outbound=False
        )
        access.add_ingress_rule(network.inside, ec2.Port.tcp(PORT), "quotes and candles, from inside the network")
        timestream.CfnInfluxDBInstance(
            self,
            "Database",
            name=f"bursa-{config.name}",
            db_instance_type=f"db.influx.{size.size}",
            db_storage_type="InfluxIOIncludedT1",
            allocated_storage=size.storage_gib,
            deployment_type="WITH_MULTIAZ_STANDBY",
            organization="bursa",
            bucket="quotes",
            username=ADMINISTRATOR,
            password=secret.secret_value_from_json("password").unsafe_unwrap(),  # a reference, never the value
            port=PORT,
            publicly_accessible=False,
            vpc_security_group_ids=[access.security_group_id],
            vpc_subnet_ids=network.vpc.select_subnets(subnet_group_name=DATA).subnet_ids,
        )
