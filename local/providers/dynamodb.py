"""Tables. moto rounds `ADD` and `SET a - b` to 28 digits: amounts are integers in smallest units."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, ProviderError, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_CREATED_WITH: Final = ("AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes", "BillingMode")
_INDEX_PARTS: Final = ("IndexName", "KeySchema", "Projection")


class _AnyTable(Provider):
    """What the two types of table have in common: both become one table, as a list of settings of the API."""

    def settings(self, wanted: Wanted) -> dict[str, Json]:
        """Return the wanted settings in the API's words, whichever type of resource names them."""
        raise NotImplementedError

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the table."""
        dynamodb = cloud.client("dynamodb", wanted.region)
        name = wanted.name("TableName", limit=255)
        settings = self.settings(wanted)
        later = {key: settings.pop(key, None) for key in ("TimeToLive", "PointInTimeRecovery", "ResourcePolicy")}
        arn = dynamodb.create_table(TableName=name, **settings)["TableDescription"]["TableArn"]
        if later["TimeToLive"]:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=later["TimeToLive"])
        if later["PointInTimeRecovery"]:
            dynamodb.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification=later["PointInTimeRecovery"]
            )
        if later["ResourcePolicy"]:
            dynamodb.put_resource_policy(ResourceArn=arn, Policy=text(later["ResourcePolicy"]))
        table = dynamodb.describe_table(TableName=name)["Table"]
        attributes = {"Arn": arn}
        if "LatestStreamArn" in table:
            attributes["StreamArn"] = table["LatestStreamArn"]
        return Placed(name, attributes)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the table's settings in the API's words."""
        dynamodb = cloud.client("dynamodb", wanted.region)
        table = dynamodb.describe_table(TableName=placed.ref)["Table"]
        encryption = table.get("SSEDescription", {})
        found = {
            **table,
            "BillingMode": table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            "SSESpecification": {
                "Enabled": encryption.get("Status") == "ENABLED",
                "SSEType": encryption.get("SSEType"),
                "KMSMasterKeyId": encryption.get("KMSMasterKeyArn"),
            },
            "TimeToLive": _time_to_live(dynamodb.describe_time_to_live(TableName=placed.ref)),
            "PointInTimeRecovery": _recovery(dynamodb.describe_continuous_backups(TableName=placed.ref)),
        }
        if self.settings(wanted).get("ResourcePolicy"):
            found["ResourcePolicy"] = dynamodb.get_resource_policy(ResourceArn=table["TableArn"])["Policy"]
        return found

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the wanted settings in the API's words."""
        return self.settings(wanted)


@provides("AWS::DynamoDB::GlobalTable")
class GlobalTable(_AnyTable):
    """The replica of the stack's own region. Others are not made: the local cloud is one region."""

    dropped = MappingProxyType(
        {"ContributorInsightsSpecification": "a metric that only AWS takes", "TableClass": "a price"}
    )

    def settings(self, wanted: Wanted) -> dict[str, Json]:
        """Return the settings of the table and of the one replica made of it."""
        given = wanted.properties
        replica = next((each for each in given["Replicas"] if each["Region"] == wanted.region), None)
        if replica is None:
            regions = ", ".join(each["Region"] for each in given["Replicas"])
            raise ProviderError(f"{wanted.path}: no replica in {wanted.region}, only in {regions}")
        return _known(
            wanted,
            {
                **wanted.pick(*_CREATED_WITH),
                "GlobalSecondaryIndexes": _indexes(given),
                "StreamSpecification": _stream(given),
                "SSESpecification": _encryption(given.get("SSESpecification"), replica.get("SSESpecification")),
                "DeletionProtectionEnabled": replica.get("DeletionProtectionEnabled"),
                "TimeToLive": given.get("TimeToLiveSpecification"),
                "PointInTimeRecovery": replica.get("PointInTimeRecoverySpecification"),
                "ResourcePolicy": (replica.get("ResourcePolicy") or {}).get("PolicyDocument"),
            },
            table_keys={"Replicas", "TableName", "TimeToLiveSpecification", *self.dropped, "Tags"},
        )


@provides("AWS::DynamoDB::Table")
class Table(_AnyTable):
    """A table of one region."""

    dropped = MappingProxyType(
        {"ContributorInsightsSpecification": "a metric that only AWS takes", "TableClass": "a price"}
    )

    def settings(self, wanted: Wanted) -> dict[str, Json]:
        """Return the settings of the table."""
        given = wanted.properties
        return _known(
            wanted,
            {
                **wanted.pick(*_CREATED_WITH, "ProvisionedThroughput", "DeletionProtectionEnabled"),
                "GlobalSecondaryIndexes": _indexes(given),
                "StreamSpecification": _stream(given),
                "SSESpecification": _encryption(given.get("SSESpecification"), given.get("SSESpecification")),
                "TimeToLive": given.get("TimeToLiveSpecification"),
                "PointInTimeRecovery": given.get("PointInTimeRecoverySpecification"),
                "ResourcePolicy": (given.get("ResourcePolicy") or {}).get("PolicyDocument"),
            },
            table_keys={
                "TableName",
                "TimeToLiveSpecification",
                "PointInTimeRecoverySpecification",
                *self.dropped,
                "Tags",
            },
        )


def _known(wanted: Wanted, settings: dict[str, Json], *, table_keys: set[str]) -> dict[str, Json]:
    """Return the settings that are set. Raises ProviderError for a property that none of them came from."""
    if unknown := wanted.properties.keys() - settings.keys() - table_keys:
        raise ProviderError(f"{wanted.path}: no rule for {wanted.type}.{', '.join(sorted(unknown))}")
    return {key: value for key, value in settings.items() if value is not None}


def _indexes(given: Mapping[str, Json]) -> list[dict[str, Json]] | None:
    indexes = given.get("GlobalSecondaryIndexes")
    return indexes and [{part: index[part] for part in _INDEX_PARTS if part in index} for index in indexes]


def _stream(given: Mapping[str, Json]) -> dict[str, Json] | None:
    stream = given.get("StreamSpecification")
    return stream and {"StreamEnabled": True, "StreamViewType": stream["StreamViewType"]}


def _encryption(table: Mapping[str, Json] | None, key: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if not table or not table.get("SSEEnabled"):
        return None
    named = {"KMSMasterKeyId": key["KMSMasterKeyId"]} if key and "KMSMasterKeyId" in key else {}
    return {"Enabled": True, "SSEType": table.get("SSEType", "KMS"), **named}


def _time_to_live(told: Mapping[str, Json]) -> dict[str, Json]:
    description = told["TimeToLiveDescription"]
    return {
        "Enabled": description["TimeToLiveStatus"] == "ENABLED",
        "AttributeName": description.get("AttributeName"),
    }


def _recovery(told: Mapping[str, Json]) -> dict[str, Json]:
    description = told["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    return {**description, "PointInTimeRecoveryEnabled": description["PointInTimeRecoveryStatus"] == "ENABLED"}
