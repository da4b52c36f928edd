"""The people who ask the lake: one role, which reads by IAM, or, with a switch, by what Lake Formation grants it.

Locations are registered in the hybrid mode: Lake Formation decides for a principal that was opted in to it, and IAM for
everybody else. So the switch takes nothing from the job, the delivery or any other reader, here or elsewhere in the
account. The opt-in, and the administrators of Lake Formation, belong to the account: an operator sets them by hand,
before and after the switch (docs/deploy.md). Until then the analyst reads nothing, rather than everything.
"""

from datetime import date

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3 as s3
from constructs import Construct

from exchange_constructs.account_role import AccountRole
from exchange_constructs.curated_trades import CuratedTrades
from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_lake import TradeLake
from runtime.curation.lake import CURATED


class Analyst(Construct):
    """Asks in the workgroup of the lake; sees both tables of trades."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        key: kms.IKey,
        lake: TradeLake,
        curated: CuratedTrades,
    ) -> None:
        """Create the role, and both ways to read: of `by_iam` and `by_grants`, one is turned on, never both."""
        super().__init__(scope, construct_id)
        self.role = AccountRole(self, "Role", description="People who ask the lake of trades")
        lake.grant_question(self.role)
        lake.grant_look(self.role)
        curated.grant_look(self.role)
        objects = iam.ManagedPolicy(
            self,
            "ReadsObjects",
            description="Finds and reads objects of the lake by itself",
            roles=[self.role],
            statements=[
                iam.PolicyStatement(
                    actions=["s3:GetObject"], resources=[f"{place}/*" for place in (lake.location, curated.location)]
                ),
                *_finds(lake.raw, "trades/"),
                *_finds(curated.days, CURATED),
            ],
        )
        lake.accept_trades(objects)
        curated.accept_days(objects)
        self.by_iam: tuple[Construct, ...] = (objects,)
        self.by_grants: tuple[Construct, ...] = (
            *self._registered(key, lake, curated),
            *self._granted(lake, curated),
            self._data_access(),
        )

    def _registered(self, key: kms.IKey, lake: TradeLake, curated: CuratedTrades) -> list[Construct]:
        reader = ServiceRole(
            self, "Reader", service="lakeformation.amazonaws.com", description="Reads the lake for whom it was granted"
        )
        lake.grant_read_raw(reader)
        curated.grant_read_days(reader)
        key.grant(reader, "kms:Decrypt")
        places = [
            lakeformation.CfnResource(
                self,
                name,
                resource_arn=place,
                role_arn=reader.role_arn,
                use_service_linked_role=False,
                hybrid_access_enabled=True,
            )
            for name, place in (("Raw", lake.location), ("Days", curated.location))
        ]
        for place in places:
            place.node.add_dependency(reader.policy)
        return [reader, *places]

    def _granted(self, lake: TradeLake, curated: CuratedTrades) -> list[Construct]:
        grant = lakeformation.CfnPrincipalPermissions
        database = grant.DatabaseResourceProperty(catalog_id=Stack.of(self).account, name=lake.database_name)
        resources = {
            "LooksAtDatabase": (("DESCRIBE",), grant.ResourceProperty(database=database)),
            **{
                name: (
                    ("DESCRIBE", "SELECT"),
                    grant.ResourceProperty(
                        table=grant.TableResourceProperty(
                            catalog_id=Stack.of(self).account, database_name=lake.database_name, name=table
                        )
                    ),
                )
                for name, table in (("AsksRaw", lake.table_name), ("AsksDays", curated.table_name))
            },
        }
        return [
            grant(
                self,
                name,
                principal=grant.DataLakePrincipalProperty(data_lake_principal_identifier=self.role.role_arn),
                resource=resource,
                permissions=list(permissions),
                permissions_with_grant_option=[],
            )
            for name, (permissions, resource) in resources.items()
        ]

    def _data_access(self) -> iam.ManagedPolicy:
        policy = iam.ManagedPolicy(
            self,
            "TakesGrants",
            description="Takes from Lake Formation what it was granted",
            roles=[self.role],
            statements=[iam.PolicyStatement(actions=["lakeformation:GetDataAccess"], resources=["*"])],
        )
        accept(
            policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="This one action knows no resource: what it opens is what Lake Formation granted to the role",
            expires=date(2027, 11, 25),
            owner="security",
        )
        return policy


def _finds(bucket: s3.IBucket, prefix: str) -> list[iam.PolicyStatement]:
    """Return what Athena needs besides the objects of a table: where they are, and which there are under `prefix`."""
    return [
        iam.PolicyStatement(actions=["s3:GetBucketLocation"], resources=[bucket.bucket_arn]),
        iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[bucket.bucket_arn],
            conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
        ),
    ]
