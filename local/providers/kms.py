"""Keys and their names. Material is the same in every run; policies are kept, not enforced."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::KMS::Key")
class Key(Provider):
    """A key of its declared kind."""

    dropped = MappingProxyType({"PendingWindowInDays": "nothing is deleted here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the key, and give it material that outlives the run."""
        kms = cloud.client("kms", wanted.region)
        made = kms.create_key(
            Policy=text(wanted.properties["KeyPolicy"]),
            **wanted.pick("Description", "KeySpec", "KeyUsage", "MultiRegion", "Origin"),
        )["KeyMetadata"]
        if wanted.properties.get("EnableKeyRotation"):
            kms.enable_key_rotation(KeyId=made["KeyId"], **wanted.pick("RotationPeriodInDays"))
        if wanted.properties.get("Enabled") is False:
            kms.disable_key(KeyId=made["KeyId"])
        cloud.keep_key_material(made["KeyId"], wanted.path, wanted.region)
        return Placed(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return description, policy and rotation."""
        kms = cloud.client("kms", wanted.region)
        rotation: dict[str, Json] = {"KeyRotationEnabled": False}
        if wanted.properties.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT":
            rotation = kms.get_key_rotation_status(KeyId=placed.ref)
        return {
            **kms.describe_key(KeyId=placed.ref)["KeyMetadata"],
            "KeyPolicy": kms.get_key_policy(KeyId=placed.ref, PolicyName="default")["Policy"],
            "EnableKeyRotation": rotation["KeyRotationEnabled"],
            "RotationPeriodInDays": rotation.get("RotationPeriodInDays"),
        }


@provides("AWS::KMS::Alias")
class Alias(Provider):
    """A name of a key."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Name the key."""
        cloud.client("kms", wanted.region).create_alias(**wanted.pick("AliasName", "TargetKeyId"))
        return Placed(wanted.properties["AliasName"])

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the key that the name leads to."""
        kms = cloud.client("kms", wanted.region)
        return {"AliasName": placed.ref, "TargetKeyId": kms.describe_key(KeyId=placed.ref)["KeyMetadata"]["KeyId"]}

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the target as a key id, which a template may give as an ARN."""
        return {**wanted.properties, "TargetKeyId": wanted.properties["TargetKeyId"].rpartition("/")[2]}
