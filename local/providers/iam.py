"""Roles and policies. moto keeps them; whether a service may do what it does is checked elsewhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from local.providers import Placed, Provider, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::IAM::Role")
class Role(Provider):
    """A role, with managed and inline policies."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the role and attach what it was given."""
        iam = cloud.client("iam")
        name = wanted.name("RoleName", limit=64)
        role = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=text(wanted.properties["AssumeRolePolicyDocument"]),
            **wanted.pick("Description", "MaxSessionDuration", "Path", "PermissionsBoundary"),
        )["Role"]
        for arn in wanted.properties.get("ManagedPolicyArns", []):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        for policy in wanted.properties.get("Policies", []):
            iam.put_role_policy(
                RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=text(policy["PolicyDocument"])
            )
        return Placed(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the role with its policies."""
        iam = cloud.client("iam")
        role = iam.get_role(RoleName=placed.ref)["Role"]
        attached = iam.list_attached_role_policies(RoleName=placed.ref)["AttachedPolicies"]
        inline = [
            iam.get_role_policy(RoleName=placed.ref, PolicyName=policy["PolicyName"])
            for policy in wanted.properties.get("Policies", [])
        ]
        return {
            **role,
            "ManagedPolicyArns": [policy["PolicyArn"] for policy in attached],
            "PermissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "Policies": inline,
        }


@provides("AWS::IAM::Policy")
class InlinePolicy(Provider):
    """A policy inside some roles."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the policy into each role."""
        iam = cloud.client("iam")
        given = wanted.properties
        for role in given["Roles"]:
            iam.put_role_policy(
                RoleName=role, PolicyName=given["PolicyName"], PolicyDocument=text(given["PolicyDocument"])
            )
        return Placed(given["PolicyName"], {"Id": given["PolicyName"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the policy, and the roles that hold it."""
        iam = cloud.client("iam")
        held = [iam.get_role_policy(RoleName=role, PolicyName=placed.ref) for role in wanted.properties["Roles"]]
        return {
            "PolicyName": placed.ref,
            "PolicyDocument": held[-1]["PolicyDocument"],
            "Roles": [policy["RoleName"] for policy in held],
        }


@provides("AWS::IAM::ManagedPolicy")
class ManagedPolicy(Provider):
    """A policy of its own, attached to some roles."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create and attach the policy."""
        iam = cloud.client("iam")
        made = iam.create_policy(
            PolicyName=wanted.name("ManagedPolicyName"),
            PolicyDocument=text(wanted.properties["PolicyDocument"]),
            **wanted.pick("Description", "Path"),
        )["Policy"]
        for role in wanted.properties.get("Roles", []):
            iam.attach_role_policy(RoleName=role, PolicyArn=made["Arn"])
        return Placed(made["Arn"], {"PolicyArn": made["Arn"], "PolicyId": made["PolicyId"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the ARN tells all
        """Return the policy, and the roles it is attached to."""
        iam = cloud.client("iam")
        policy = iam.get_policy(PolicyArn=placed.ref)["Policy"]
        version = iam.get_policy_version(PolicyArn=placed.ref, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        document = version["Document"]
        holders = iam.list_entities_for_policy(PolicyArn=placed.ref)["PolicyRoles"]
        return {
            "Description": "",
            **policy,
            "ManagedPolicyName": policy["PolicyName"],
            "PolicyDocument": unquote(document) if isinstance(document, str) else document,
            "Roles": [role["RoleName"] for role in holders],
        }


@provides("AWS::IAM::InstanceProfile")
class InstanceProfile(Provider):
    """What hands a role to an instance."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the profile with its role."""
        iam = cloud.client("iam")
        name = wanted.name("InstanceProfileName")
        made = iam.create_instance_profile(InstanceProfileName=name, **wanted.pick("Path"))["InstanceProfile"]
        for role in wanted.properties["Roles"]:
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return Placed(name, {"Arn": made["Arn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the name tells all
        """Return the profile."""
        profile = cloud.client("iam").get_instance_profile(InstanceProfileName=placed.ref)["InstanceProfile"]
        return {**profile, "Roles": [role["RoleName"] for role in profile["Roles"]]}
