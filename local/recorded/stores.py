"""Stores that a local server stands in for, at the address that the template's own references give."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service

STORE: Final = "a local server stands in, at the address that the template's own references give"
NO_USERS: Final = "the local server knows no users: it cannot check tokens"
JOURNAL: Final = "the engine's file journal stands in"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::ElastiCache::ServerlessCache": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="ServerlessCacheName",
        name_limit=40,
        attributes={"ARN": "arn:aws:elasticache:{region}:{account}:serverlesscache:{ref}"},
    ),
    "AWS::ElastiCache::User": Recorded(
        reason=NO_USERS, attributes={"Arn": "arn:aws:elasticache:{region}:{account}:user:{ref}"}
    ),
    "AWS::ElastiCache::UserGroup": Recorded(
        reason=NO_USERS, attributes={"Arn": "arn:aws:elasticache:{region}:{account}:usergroup:{ref}"}
    ),
    **of_service("ElastiCache", STORE, "ParameterGroup", "SubnetGroup"),
    "AWS::MSK::Cluster": Recorded(
        reason=JOURNAL,
        ref="arn:aws:kafka:{region}:{account}:cluster/{name}/{uuid}-1",
        name_property="ClusterName",
        name_limit=64,
        attributes={"Arn": "{ref}"},
    ),
    "AWS::MSK::Configuration": Recorded(
        reason=JOURNAL,
        ref="arn:aws:kafka:{region}:{account}:configuration/{name}/{uuid}-1",
        name_property="Name",
        attributes={"Arn": "{ref}", "LatestRevision.Revision": "1"},
    ),
    "AWS::MSK::ServerlessCluster": Recorded(
        reason=JOURNAL,
        ref="arn:aws:kafka:{region}:{account}:cluster/{name}/{uuid}-s1",
        name_property="ClusterName",
        name_limit=64,
        attributes={"Arn": "{ref}"},
    ),
    **of_service("MSK", JOURNAL, "BatchScramSecret", "ClusterPolicy", "VpcConnection"),
    "AWS::RDS::DBCluster": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="DBClusterIdentifier",
        name_limit=63,
        attributes={
            "DBClusterArn": "arn:aws:rds:{region}:{account}:cluster:{ref}",
            "DBClusterResourceId": "cluster-{hex32}",
        },
    ),
    "AWS::RDS::DBClusterParameterGroup": Recorded(reason=STORE, ref="{name}"),
    "AWS::RDS::DBInstance": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="DBInstanceIdentifier",
        name_limit=63,
        attributes={
            "DBInstanceArn": "arn:aws:rds:{region}:{account}:db:{ref}",
            "DbiResourceId": "db-{hex32}",
        },
    ),
    "AWS::RDS::DBProxy": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="DBProxyName",
        name_limit=63,
        attributes={"DBProxyArn": "arn:aws:rds:{region}:{account}:db-proxy:prx-{hex17}"},
    ),
    "AWS::DMS::ReplicationConfig": Recorded(reason="there is no predecessor to copy from"),
    **of_service("RDS", STORE, "DBParameterGroup", "DBProxyEndpoint", "DBProxyTargetGroup"),
    "AWS::RDS::DBSubnetGroup": Recorded(reason=STORE, ref="{name}"),
}
