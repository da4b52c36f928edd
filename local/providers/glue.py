"""The catalogue of the lake, and the workgroups that ask it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::Glue::Database")
class Database(Provider):
    """A database of the catalogue."""

    dropped = MappingProxyType({"CatalogId": "the one catalogue of the account"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the database."""
        given = dict(wanted.properties["DatabaseInput"])
        name = given.setdefault("Name", wanted.name().lower())
        cloud.client("glue", wanted.region).create_database(DatabaseInput=given)
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the database."""
        return {"DatabaseInput": cloud.client("glue", wanted.region).get_database(Name=placed.ref)["Database"]}


@provides("AWS::Glue::Table")
class Table(Provider):
    """A table of the catalogue."""

    dropped = MappingProxyType(
        {"CatalogId": "the one catalogue of the account", "OpenTableFormatInput": "moto keeps plain tables"}
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the table."""
        given = wanted.properties["TableInput"]
        cloud.client("glue", wanted.region).create_table(
            DatabaseName=wanted.properties["DatabaseName"], TableInput=given
        )
        return Placed(given["Name"])

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the table."""
        database = wanted.properties["DatabaseName"]
        told = cloud.client("glue", wanted.region).get_table(DatabaseName=database, Name=placed.ref)
        return {"DatabaseName": database, "TableInput": told["Table"]}


@provides("AWS::Athena::WorkGroup")
class WorkGroup(Provider):
    """A group of queries with its limits."""

    dropped = MappingProxyType({"RecursiveDeleteOption": "nothing is deleted here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the group."""
        name = wanted.properties["Name"]
        cloud.client("athena", wanted.region).create_work_group(
            Name=name,
            Description=wanted.properties.get("Description", ""),
            Configuration=wanted.properties.get("WorkGroupConfiguration", {}),
        )
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the group."""
        told = cloud.client("athena", wanted.region).get_work_group(WorkGroup=placed.ref)["WorkGroup"]
        return {**told, "WorkGroupConfiguration": told["Configuration"]}


@provides("AWS::Athena::NamedQuery")
class NamedQuery(Provider):
    """A query kept by name."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Keep the query."""
        made = cloud.client("athena", wanted.region).create_named_query(
            Name=wanted.name("Name"), **wanted.pick("Database", "Description", "QueryString", "WorkGroup")
        )
        return Placed(made["NamedQueryId"], {"NamedQueryId": made["NamedQueryId"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the query."""
        athena = cloud.client("athena", wanted.region)
        told: dict[str, Json] = athena.get_named_query(NamedQueryId=placed.ref)["NamedQuery"]
        return told
