"""User pools, where customers and operators sign in.

moto signs every pool's tokens with one known key: another reason that it is reached by loopback only.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_POOL: Final = (
    "AccountRecoverySetting",
    "AdminCreateUserConfig",
    "AliasAttributes",
    "AutoVerifiedAttributes",
    "DeletionProtection",
    "DeviceConfiguration",
    "EmailConfiguration",
    "LambdaConfig",
    "MfaConfiguration",
    "Policies",
    "Schema",
    "SmsConfiguration",
    "UserAttributeUpdateSettings",
    "UsernameAttributes",
    "UsernameConfiguration",
    "UserPoolAddOns",
    "VerificationMessageTemplate",
)


@provides("AWS::Cognito::UserPool")
class UserPool(Provider):
    """A pool of users."""

    dropped = MappingProxyType(
        {
            "EmailAuthenticationMessage": "moto sends no mail",
            "EmailAuthenticationSubject": "moto sends no mail",
            "EmailVerificationMessage": "moto sends no mail",
            "EmailVerificationSubject": "moto sends no mail",
            "EnabledMfas": "moto asks for whatever second factor a user has set",
            "KeyConfiguration": "moto keeps users in memory",
            "LambdaConfig": "moto calls no trigger",
            "Schema": "moto tells the attributes of every pool in its own order",
            "SmsVerificationMessage": "moto sends no message",
            "UserPoolTags": "tags have no effect here",
            "UserPoolTier": "moto has one tier",
            "WebAuthnFactorConfiguration": "moto knows no passkeys",
            "WebAuthnRelyingPartyID": "moto knows no passkeys",
            "WebAuthnUserVerification": "moto knows no passkeys",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the pool."""
        made = cloud.client("cognito-idp", wanted.region).create_user_pool(
            PoolName=wanted.name("UserPoolName"), **wanted.pick(*_POOL)
        )["UserPool"]
        provider = f"cognito-idp.{wanted.region}.amazonaws.com/{made['Id']}"
        return Placed(
            made["Id"],
            {
                "Arn": made["Arn"],
                "ProviderName": provider,
                "ProviderURL": f"https://{provider}",
                "UserPoolId": made["Id"],
            },
        )

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the pool's description."""
        told = cloud.client("cognito-idp", wanted.region).describe_user_pool(UserPoolId=placed.ref)["UserPool"]
        return {**told, "UserPoolName": told["Name"]}


@provides("AWS::Cognito::UserPoolClient")
class UserPoolClient(Provider):
    """An application of a pool."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the application."""
        given = {key: value for key, value in wanted.properties.items() if key != "ClientName"}
        made = cloud.client("cognito-idp", wanted.region).create_user_pool_client(
            ClientName=wanted.name("ClientName"), **given
        )["UserPoolClient"]
        attributes = {"ClientId": made["ClientId"], "Name": made["ClientName"]}
        if "ClientSecret" in made:
            attributes["ClientSecret"] = made["ClientSecret"]
        return Placed(made["ClientId"], attributes)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the application's description."""
        told: dict[str, Json] = cloud.client("cognito-idp", wanted.region).describe_user_pool_client(
            UserPoolId=wanted.properties["UserPoolId"], ClientId=placed.ref
        )["UserPoolClient"]
        return {**told, "GenerateSecret": "ClientSecret" in told}


@provides("AWS::Cognito::UserPoolGroup")
class UserPoolGroup(Provider):
    """A group of users."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the group."""
        name = wanted.name("GroupName")
        given = {key: value for key, value in wanted.properties.items() if key != "GroupName"}
        cloud.client("cognito-idp", wanted.region).create_group(GroupName=name, **given)
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the group."""
        told: dict[str, Json] = cloud.client("cognito-idp", wanted.region).get_group(
            UserPoolId=wanted.properties["UserPoolId"], GroupName=placed.ref
        )["Group"]
        return told


@provides("AWS::Cognito::UserPoolResourceServer")
class UserPoolResourceServer(Provider):
    """An API with scopes."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the API."""
        cloud.client("cognito-idp", wanted.region).create_resource_server(**wanted.properties)
        return Placed(wanted.properties["Identifier"])

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the API."""
        told: dict[str, Json] = cloud.client("cognito-idp", wanted.region).describe_resource_server(
            UserPoolId=wanted.properties["UserPoolId"], Identifier=placed.ref
        )["ResourceServer"]
        return told


@provides("AWS::Cognito::UserPoolDomain")
class UserPoolDomain(Provider):
    """Where a pool's sign-in page would be. moto shows none."""

    dropped = MappingProxyType(
        {"ManagedLoginVersion": "moto shows no page", "CustomDomainConfig": "moto shows no page"}
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the domain."""
        domain = wanted.properties["Domain"]
        cloud.client("cognito-idp", wanted.region).create_user_pool_domain(
            Domain=domain, UserPoolId=wanted.properties["UserPoolId"]
        )
        return Placed(domain, {"CloudFrontDistribution": f"{domain}.cloudfront.net"})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the domain."""
        told: dict[str, Json] = cloud.client("cognito-idp", wanted.region).describe_user_pool_domain(Domain=placed.ref)[
            "DomainDescription"
        ]
        return {"Domain": placed.ref, **told}
