"""Types that are not created in the embedded AWS, each with the reason, and what stands in their place.

Their `Ref` and attributes look like the real thing, the same in every run. Where a type's form is not spelled out, it
follows the rule of CloudFormation's registry: `Ref` is the primary identifier that the type's schema names, its parts
joined by `|`, and each part is the property of that name or a generated name, id or ARN. The stores among them answer
with the address of what stands in for them on this machine, so a service finds its database through its own variables.

A new type goes into the module of its area: `network.py`, `edge.py`, `security.py`, `operations.py`, `stores.py`,
`analytics.py`.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from local.providers import Placed, Wanted
from local.recorded import analytics, edge, network, operations, security, stores
from local.recorded.forms import Recorded
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_AREAS: Final = (network.TYPES, edge.TYPES, security.TYPES, operations.TYPES, stores.TYPES, analytics.TYPES)
RECORDED: Final[Mapping[str, Recorded]] = {name: kind for area in _AREAS for name, kind in area.items()}
"""Every recorded type."""
assert len(RECORDED) == sum(map(len, _AREAS)), "a type stands in two areas"

_PROXY_PORT: Final = 5432
"""Where RDS Proxy listens for PostgreSQL clients."""
_NAME_ENDS: Final = ("Name", "Prefix", "Family")
_ID_ENDS: Final = ("Id", "ID", "Identifier")
_HOST_ENDS: Final = ("Domain", "DomainName", "DnsName", "DNSName", "Endpoint", "Address", "Url", "Uri")


def record(wanted: Wanted, cloud: "Cloud") -> Placed:
    """Return what the resource would have become, without creating anything."""
    kind = RECORDED[wanted.type]
    parts = _parts(wanted, kind, cloud.account)
    ref = kind.ref.format(**parts) if kind.ref else _primary_identifier(wanted, parts)
    attributes: dict[str, Json] = {name: form.format(**parts, ref=ref) for name, form in kind.attributes.items()}
    if not wanted.type.startswith("Custom::"):
        for name in _schema(wanted).schema.get("readOnlyProperties") or []:
            attribute = name.removeprefix("/properties/").replace("/", ".")
            if attribute not in attributes and (value := _derived(attribute, wanted, parts)):
                attributes[attribute] = value
    if stand_in := _STAND_INS.get(wanted.type):
        attributes |= stand_in(wanted, ref, cloud)
    return Placed(ref, attributes)


def _parts(wanted: Wanted, kind: Recorded, account: str) -> dict[str, str]:
    digits = sha256(wanted.path.encode()).hexdigest()
    _aws, service, resource = (*wanted.type.split("::"), "")[:3]
    return {
        "account": account,
        "region": wanted.region,
        "service": service.lower(),
        "resource": resource.lower(),
        "name": wanted.name(kind.name_property, limit=kind.name_limit),
        "hex8": digits[:8],
        "hex17": digits[:17],
        "hex32": digits[:32],
        "uuid": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])),
    }


def _primary_identifier(wanted: Wanted, parts: Mapping[str, str]) -> str:
    names = [pointer.removeprefix("/properties/") for pointer in _schema(wanted).schema["primaryIdentifier"]]
    return "|".join(str(wanted.properties.get(name) or _derived(name, wanted, parts)) for name in names)


def _derived(name: str, wanted: Wanted, parts: Mapping[str, str]) -> str:
    """Return a value of the kind that the name of an attribute promises; empty when it promises nothing known."""
    if name in wanted.properties:
        return str(wanted.properties[name])
    if name.endswith(("Arn", "ARN")):
        return "arn:aws:{service}:{region}:{account}:{resource}/{name}".format(**parts)
    if name.endswith(_HOST_ENDS):
        return "{name}-{hex8}.{service}.{region}.amazonaws.com".format(**parts).lower()
    if name.endswith(("AccountId", "OwnerId")):
        return parts["account"]
    if name.endswith(_ID_ENDS):
        return parts["uuid"]
    return parts["name"] if name.endswith(_NAME_ENDS) else ""


def _schema(wanted: Wanted) -> Json:
    return PROVIDER_SCHEMA_MANAGER.get_resource_schema(wanted.region, wanted.type)


def _database(wanted: Wanted, ref: str, cloud: "Cloud") -> dict[str, Json]:
    host, port = cloud.stand_ins.postgres
    given = wanted.properties
    cloud.databases[ref] = {
        "engine": "postgres",
        "host": host,
        "port": port,
        "dbname": given.get("DatabaseName", "postgres"),
        "dbClusterIdentifier": ref,
    }
    owner = str(given["MasterUsername"])
    password = given.get("MasterUserPassword") or cloud.derive("database", wanted.path, 24).hex()
    cloud.logins[ref] = (owner, str(password))
    managed = cloud.client("secretsmanager", wanted.region).create_secret(
        Name=f"rds!{ref}", SecretString=json.dumps({"username": owner, "password": password})
    )
    return {
        "MasterUserSecret.SecretArn": managed["ARN"],
        "Endpoint.Address": host,
        "Endpoint.Port": str(port),
        "ReadEndpoint.Address": host,
    }


def _database_proxy(wanted: Wanted, ref: str, cloud: "Cloud") -> dict[str, Json]:
    host, port = cloud.stand_ins.postgres
    endpoint = f"{ref}.proxy-{sha256(wanted.path.encode()).hexdigest()[:12]}.{wanted.region}.rds.amazonaws.com"
    cloud.addresses[f"{endpoint}:{_PROXY_PORT}"] = f"{host}:{port}"
    return {"Endpoint": endpoint}


def _firewall(wanted: Wanted, _ref: str, _cloud: "Cloud") -> dict[str, Json]:
    """Return an endpoint for each subnet: zone and id, as routes take it apart."""
    digits = sha256(wanted.path.encode()).hexdigest()
    subnets = enumerate(wanted.properties["SubnetMappings"])
    return {"EndpointIds": [f"{wanted.region}{'abc'[at]}:vpce-{digits[at : at + 17]}" for at, _subnet in subnets]}


def _endpoint(wanted: Wanted, ref: str, _cloud: "Cloud") -> dict[str, Json]:
    """Return the one name of an endpoint, as entries are taken apart: id of a zone and name."""
    return {"DnsEntries": [f"Z2OZ7QV8Z4GU2L:{ref}.vpce.{wanted.region}.vpce.amazonaws.com"]}


def _cache(_wanted: Wanted, _ref: str, cloud: "Cloud") -> dict[str, Json]:
    host, port = cloud.stand_ins.valkey
    return {
        "Endpoint.Address": host,
        "Endpoint.Port": str(port),
        "ReaderEndpoint.Address": host,
        "ReaderEndpoint.Port": str(port),
    }


_STAND_INS: Final[Mapping[str, Callable[[Wanted, str, "Cloud"], dict[str, Json]]]] = {
    "AWS::RDS::DBCluster": _database,
    "AWS::RDS::DBProxy": _database_proxy,
    "AWS::ElastiCache::ServerlessCache": _cache,
    "AWS::NetworkFirewall::Firewall": _firewall,
    "AWS::EC2::VPCEndpoint": _endpoint,
}
