"""Custody: the wallet account. Keys, the enclaves that use them, and the table through which they are asked."""

from datetime import date
from typing import Final

from aws_cdk import Environment as Target
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.enclave_fleet import EnclaveFleet
from exchange_constructs.encryption_keys import AccountKeys
from exchange_constructs.endpoint_policy import own_accounts_only
from exchange_constructs.isolated_network import IsolatedNetwork
from exchange_constructs.key_watch import KeyWatch
from exchange_constructs.nag import accept
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.signing_table import WAITING, SigningTable
from exchange_constructs.wallet_keys import WalletKeys
from stacks.base_stack import ExchangeStack

KMS: Final = "Kms"
DYNAMO_DB: Final = "DynamoDb"


class CustodyStack(ExchangeStack):
    """Stands alone: nothing in it is of another account, and its network is joined to no other.

    It is deployed by the break-glass role: KMS takes a key policy only from someone who may change it again.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create keys, network, table and fleet."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Wallet keys, signing enclaves and their table",
            env=Target(account=str(config.accounts.wallet), region=config.region),
            deployed_by=config.custody.break_glass_role,
        )
        self.keys = AccountKeys(self, "Keys", config=config)
        self.topics = OperatorTopics(self, "Custodians", config=config, key=self.keys.messages)
        self.undelivered = DeadLetters(self, "Undelivered", config=config, key=self.keys.messages, last=None)
        accept(
            self.undelivered,
            "AwsSolutions-SQS3",
            reason="What fails in this account is left here by its functions, by name: no queue stands before this one",
            expires=date(2027, 11, 20),
        )
        self.network = IsolatedNetwork(
            self,
            "Network",
            config=config,
            cidr=config.custody.cidr,
            gateways={DYNAMO_DB: ec2.GatewayVpcEndpointAwsService.DYNAMODB},
            interfaces={KMS: ec2.InterfaceVpcEndpointAwsService.KMS},
            logs_key=self.keys.logs,
        )
        self.network.interfaces[KMS].add_to_policy(own_accounts_only(config.accounts.wallet, "*"))
        signer_name = f"bursa-{config.name}-signer"
        signer = ServiceRole(
            self,
            "Signer",
            service="ec2.amazonaws.com",
            description="What hosts of signing enclaves may do",
            # An enclave measures the ARN of its host's role, so the keys' policies must know it beforehand.
            name=signer_name,
        )
        self.wallet_keys = WalletKeys(
            self,
            "WalletKeys",
            config=config,
            signer=signer,
            signer_arn=f"arn:{self.partition}:iam::{config.accounts.wallet}:role/{signer_name}",
        )
        KeyWatch(
            self,
            "KeyWatch",
            keys=self.wallet_keys,
            signer_name=signer_name,
            operators=self.topics.pager,
            undelivered=self.undelivered,
        )
        self.signing = SigningTable(self, "Signing", config=config, key=self.keys.data)
        self.signing.grant_answer(signer)
        table = self.signing.table.table_arn
        self.network.gateways[DYNAMO_DB].add_to_policy(
            own_accounts_only(config.accounts.wallet, table, f"{table}/index/{WAITING}")
        )
        self.fleet = EnclaveFleet(
            self,
            "Fleet",
            config=config,
            vpc=self.network.vpc,
            role=signer,
            signing_table=self.signing.table.table_name,
            disk_key=self.keys.data,
            operators=self.topics.tickets,
        )
