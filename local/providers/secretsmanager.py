"""Secrets. What AWS would generate is derived from this installation's own secret, so it is the same in every run."""

import json
import string
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, ProviderError, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

PUNCTUATION: Final = string.punctuation
LENGTH_BY_DEFAULT: Final = 32
_BYTES_A_CHARACTER: Final = 4
"""Wide enough that the remainder of a division favours no character noticeably."""


@provides("AWS::SecretsManager::Secret")
class Secret(Provider):
    """A secret with a given or a generated value."""

    dropped = MappingProxyType(
        {"GenerateSecretString": "followed here, as moto would make another value in every run; never read back"}
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the secret."""
        generate = wanted.properties.get("GenerateSecretString")
        value = wanted.properties.get("SecretString")
        if generate is not None:
            value = _generated(generate, wanted, cloud)
        made = cloud.client("secretsmanager", wanted.region).create_secret(
            Name=wanted.name("Name", limit=512),
            SecretString=value or "{}",
            **wanted.pick("Description", "KmsKeyId"),
        )
        return Placed(made["ARN"], {"Id": made["ARN"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return description and value."""
        secrets = cloud.client("secretsmanager", wanted.region)
        return {
            **secrets.describe_secret(SecretId=placed.ref),
            "SecretString": secrets.get_secret_value(SecretId=placed.ref)["SecretString"],
        }


@provides("AWS::SecretsManager::SecretTargetAttachment")
class SecretTargetAttachment(Provider):
    """Adds to a secret what a client needs to reach its database."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Merge engine, host, port and database name into the secret."""
        secrets = cloud.client("secretsmanager", wanted.region)
        arn, target = wanted.properties["SecretId"], wanted.properties["TargetId"]
        database = cloud.databases.get(target)
        if database is None:
            raise ProviderError(f"{wanted.path}: TargetId {target!r} is no database; known: {sorted(cloud.databases)}")
        value = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(value | database))
        return Placed(arn, {"Id": arn})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the database that the secret leads to now."""
        secrets = cloud.client("secretsmanager", wanted.region)
        value = json.loads(secrets.get_secret_value(SecretId=placed.ref)["SecretString"])
        targets = [name for name, database in cloud.databases.items() if database.items() <= value.items()]
        target = wanted.properties["TargetId"]
        return {
            "SecretId": placed.ref,
            "TargetId": target if target in targets else targets,
            "TargetType": wanted.properties["TargetType"],
        }


@provides("AWS::SecretsManager::ResourcePolicy")
class ResourcePolicy(Provider):
    """The policy of a secret."""

    dropped = MappingProxyType({"BlockPublicPolicy": "a check that only AWS makes"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the policy."""
        arn = wanted.properties["SecretId"]
        cloud.client("secretsmanager", wanted.region).put_resource_policy(
            SecretId=arn, ResourcePolicy=text(wanted.properties["ResourcePolicy"])
        )
        return Placed(arn, {"Id": arn})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the policy."""
        secrets = cloud.client("secretsmanager", wanted.region)
        told = secrets.get_resource_policy(SecretId=placed.ref)
        return {"SecretId": placed.ref, "ResourcePolicy": told["ResourcePolicy"]}


def _generated(rules: Mapping[str, Json], wanted: Wanted, cloud: "Cloud") -> str:
    password = _password(rules, wanted, cloud)
    key = rules.get("GenerateStringKey")
    if key is None:
        return password
    template = json.loads(rules.get("SecretStringTemplate", "{}"))
    return json.dumps(template | {key: password})


def _password(rules: Mapping[str, Json], wanted: Wanted, cloud: "Cloud") -> str:
    kinds = [
        characters
        for name, characters in (
            ("ExcludeLowercase", string.ascii_lowercase),
            ("ExcludeUppercase", string.ascii_uppercase),
            ("ExcludeNumbers", string.digits),
            ("ExcludePunctuation", PUNCTUATION),
        )
        if not rules.get(name)
    ]
    excluded = set(rules.get("ExcludeCharacters", ""))
    allowed = [c for kind in kinds for c in kind if c not in excluded] + [" "] * bool(rules.get("IncludeSpace"))
    if not allowed:
        raise ProviderError(f"{wanted.path}: GenerateSecretString leaves no character to choose from")
    length = int(rules.get("PasswordLength", LENGTH_BY_DEFAULT))
    stream = cloud.derive("secret", wanted.path, length * _BYTES_A_CHARACTER)
    numbers = (stream[at : at + _BYTES_A_CHARACTER] for at in range(0, len(stream), _BYTES_A_CHARACTER))
    return "".join(allowed[int.from_bytes(number, "big") % len(allowed)] for number in numbers)
