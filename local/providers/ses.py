"""Mail to customers: identities, sets and templates. moto keeps what is sent, and sends nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::SES::EmailIdentity")
class EmailIdentity(Provider):
    """A sender, taken as verified."""

    dropped = MappingProxyType(
        {
            "ConfigurationSetAttributes": "moto keeps none",
            "DkimAttributes": "moto sends nothing",
            "DkimSigningAttributes": "moto sends nothing",
            "FeedbackAttributes": "moto sends nothing",
            "MailFromAttributes": "moto sends nothing",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the identity; moto verifies it at once."""
        identity = wanted.properties["EmailIdentity"]
        cloud.client("sesv2", wanted.region).create_email_identity(EmailIdentity=identity)
        ses = cloud.client("ses", wanted.region)
        if "@" in identity:
            ses.verify_email_identity(EmailAddress=identity)
        else:
            ses.verify_domain_identity(Domain=identity)
        tokens = {
            f"DkimDNSToken{part}{number}": f"token{number}._domainkey.{identity}"
            for part in ("Name", "Value")
            for number in (1, 2, 3)
        }
        return Placed(identity, tokens)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the identity."""
        cloud.client("sesv2", wanted.region).get_email_identity(EmailIdentity=placed.ref)
        return {"EmailIdentity": placed.ref}


@provides("AWS::SES::ConfigurationSet")
class ConfigurationSet(Provider):
    """How mail of one kind is sent."""

    dropped = MappingProxyType(
        {
            "ArchivingOptions": "moto sends nothing",
            "DeliveryOptions": "moto sends nothing",
            "ReputationOptions": "moto sends nothing",
            "SendingOptions": "moto sends nothing",
            "SuppressionOptions": "moto sends nothing",
            "TrackingOptions": "moto sends nothing",
            "VdmOptions": "moto sends nothing",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the set."""
        name = wanted.name("Name", limit=64)
        cloud.client("sesv2", wanted.region).create_configuration_set(ConfigurationSetName=name)
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the set."""
        told = cloud.client("sesv2", wanted.region).get_configuration_set(ConfigurationSetName=placed.ref)
        return {"Name": told["ConfigurationSetName"]}


@provides("AWS::SES::Template")
class Template(Provider):
    """The text of a mail."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the template."""
        given = {"TemplateName": wanted.name(limit=64), **wanted.properties["Template"]}
        cloud.client("ses", wanted.region).create_template(Template=given)
        return Placed(given["TemplateName"], {"Id": given["TemplateName"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the template."""
        told: dict[str, Json] = cloud.client("ses", wanted.region).get_template(TemplateName=placed.ref)
        return {"Template": told["Template"]}
