"""From templates to processes: the commands and environments that task definitions and launch templates declare.

A process gets exactly what its template declares. Only what a laptop cannot be like in AWS is replaced: where it
listens, the addresses of others, and how AWS is reached. Whatever else is missing fails as it would there.
"""

import base64
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

from local import stand_ins
from local.callers import Caller
from local.cloud import Cloud
from local.delivery.functions import Function
from local.deploy import Deployment, Resource, read_secret
from local.providers import Wanted
from local.resolve import Json
from local.supervisor import Probe, Program, http_probe, tcp_probe

HOST: Final = "127.0.0.1"
JOURNAL_VARIABLE: Final = "JOURNAL_CLUSTER_ARN"
"""A process that names the journal's cluster gets a folder for the file journal, which stands in for it."""
DATABASE_VARIABLE: Final = "DATABASE_URL"
"""A process that names a database gets the passwords that stand in for tokens, which PostgreSQL itself cannot check."""
PASSWORDS: Final = "pgpass"
_DATABASE_USER: Final = re.compile(r"postgresql://(\w+)@")
_DESCRIPTOR: Final = re.compile(r"cat > \S*/service\.json <<'(\w+)'\n(.*?)\n\1\n", re.DOTALL)
NO_ROLE: Final = "no role"
_COMMAND: Final = re.compile(r"python3?")
_ADDRESS: Final = re.compile(r"[\w.-]+:\d+")
_HTTP: Final = "HTTP"
_VSOCK: Final = "vsock:"
_PLAIN: Final = {"https://": "http://", "rediss://": "redis://", "wss://": "ws://"}
"""Stand-ins on loopback speak no TLS, and know no users that sign in with tokens."""


class ServiceError(ValueError):
    """A template declares a service that cannot be started. The message names the resource and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service as its template declares it."""

    name: str
    path: str
    """Of the resource, for messages."""
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables whose value is fetched: name to `valueFrom`."""
    port: int
    count: int
    hosts: tuple[str, ...] = ()
    """Names by which others reach it."""
    links: tuple[str, ...] = ()
    """Addresses, as host:port, by which others reach it through a balancer and PrivateLink."""
    health_path: str = ""
    """What its load balancer asks for; empty when a connection is proof enough."""
    role: str = ""
    """ARN of the role it acts as; empty for one without."""
    region: str

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every host:port that stands for it in the environments of others."""
        return (*(f"{host}:{self.port}" for host in self.hosts), *self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What only the launcher knows."""

    cloud: Cloud
    state: Path
    ports: Mapping[str, list[int]]
    """Loopback ports by service, one for each of its processes."""


def declared(deployment: Deployment) -> list[Service]:
    """Return every service of the deployment. Raises ServiceError for one that cannot be started."""
    services = [*_on_fargate(deployment), *_on_instances(deployment)]
    names = [service.name for service in services]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ServiceError(f"several services call themselves {', '.join(twice)}; SERVICE must be unique")
    return services


def startable(services: Iterable[Service]) -> tuple[list[Service], list[Service]]:
    """Return those that can work here, and those that cannot: their chain is not the one that is simulated."""
    services = list(services)
    networks = {  # watchers name the chain alone, its nodes the network, too
        each.environment["CHAIN"]: each.environment["NETWORK"] for each in services if "NETWORK" in each.environment
    }
    working: list[Service] = []
    absent: list[Service] = []
    for service in services:
        chain = service.environment.get("CHAIN")
        can_work = chain is None or (chain, networks.get(chain)) == stand_ins.SIMULATED
        (working if can_work else absent).append(service)
    return working, absent


def addresses_of(services: Iterable[Service], injected: Injected) -> dict[str, str]:
    """Return, for each address of the private network, the loopback address that stands for it.

    A name has one address for each process behind it: in AWS the resolver tells them, here they stand in a list.
    """
    return {
        address: ",".join(f"{HOST}:{port}" for port in injected.ports[service.name])
        for service in services
        for address in service.addresses
    } | injected.cloud.addresses


def programs(services: Iterable[Service], injected: Injected) -> list[list[Program]]:
    """Return what to start, in steps: each step needs only what came before it."""
    by_name = {service.name: service for service in services}
    addresses = addresses_of(by_name.values(), injected)
    registered = {address: other.name for other in by_name.values() for address in other.addresses}
    order: TopologicalSorter[str] = TopologicalSorter()
    for service in by_name.values():
        named = {address for value in service.environment.values() for address in _ADDRESS.findall(value)}
        order.add(service.name, *sorted({registered[each] for each in named & registered.keys()} - {service.name}))
    order.prepare()
    steps = []
    while order.is_active():
        ready = sorted(order.get_ready())
        steps.append([program for name in ready for program in _programs(by_name[name], addresses, injected)])
        order.done(*ready)
    return steps


def database_users(deployment: Deployment, cloud: Cloud) -> dict[str, str]:
    """Return every user of a database that a template names, and the password that this installation has for it."""
    text = json.dumps([each.wanted.properties for each in deployment.resources.values()])
    return {user: cloud.derive("database user", user, 24).hex() for user in sorted(set(_DATABASE_USER.findall(text)))}


def region_variables(region: str) -> dict[str, str]:
    """Return how Fargate and Lambda tell a process its region; on an instance nobody does but the template."""
    return {"AWS_DEFAULT_REGION": region, "AWS_REGION": region}


def aws_variables(cloud: Cloud, role: str) -> dict[str, str]:
    """Return how a process reaches AWS: by a key that belongs to its role, whose grants decide on its calls."""
    return {
        "AWS_ACCESS_KEY_ID": cloud.key_of(Caller(role=role or NO_ROLE)),
        "AWS_SECRET_ACCESS_KEY": "unchecked",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": cloud.url,
        "NO_PROXY": "localhost,127.0.0.1",
    }


def base_variables() -> dict[str, str]:
    """Return what any process on this machine needs to run at all."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    return {"PATH": os.defpath, **kept, "PYTHONUNBUFFERED": "1"}


def _programs(service: Service, addresses: Mapping[str, str], injected: Injected) -> Iterator[Program]:
    ports = injected.ports[service.name]
    for number, port in enumerate(ports, start=1):
        name = service.name if len(ports) == 1 else f"{service.name}-{number}"
        yield Program(
            name=name,
            command=(sys.executable, *service.command[1:]),
            environment=_environment(service, port, addresses, injected),
            probe=_probe(service, port),
            address=f"{HOST}:{port}",
        )


def _environment(service: Service, port: int, addresses: Mapping[str, str], injected: Injected) -> dict[str, str]:
    variables = {key: _rewritten(service.path, key, value, addresses) for key, value in service.environment.items()}
    for key, source in service.secrets.items():
        variables[key] = _secret(injected.cloud, source)
    # Replaced, never added: a template without them would fail in AWS, and fails here.
    for key, value in (("LISTEN_HOST", HOST), ("LISTEN_PORT", str(port))):
        if key in variables:
            variables[key] = value
    for key, value in variables.items():
        if value.startswith(_VSOCK):  # no enclave has a virtual socket here; its stand-in has one in the file system
            variables[key] = f"unix:{injected.state / key.lower()}"
    if JOURNAL_VARIABLE in variables:
        variables["STATE_DIR"] = str(injected.state)
    if DATABASE_VARIABLE in variables:
        variables["PGPASSFILE"] = str(injected.state / PASSWORDS)
    if service.health_path:
        variables["TRUSTED_PROXY"] = HOST
    return {**base_variables(), **variables, **aws_variables(injected.cloud, service.role)}


def function_variables(function: Function, addresses: Mapping[str, str], injected: Injected) -> dict[str, str]:
    """Return what a function's environment needs here besides what its template declares, or instead of it."""
    declared_ = function.environment
    variables = {key: _rewritten(function.label, key, value, addresses) for key, value in declared_.items()}
    if DATABASE_VARIABLE in variables:
        variables["PGPASSFILE"] = str(injected.state / PASSWORDS)
    base = {name: os.environ[name] for name in ("LANG", "PATH", "TMPDIR") if name in os.environ}
    return {
        "TZ": ":UTC",
        "POWERTOOLS_TRACE_DISABLED": "true",  # no daemon listens for traces here
        **base,
        **variables,
        **region_variables(function.region),
        **aws_variables(injected.cloud, function.role),
    }


def _rewritten(path: str, key: str, value: str, addresses: Mapping[str, str]) -> str:
    """Return a value with every address of the private network replaced by the loopback port that stands for it."""
    value = _ADDRESS.sub(lambda found: addresses.get(found[0], found[0]), value)
    for secured, plain in _PLAIN.items():
        value = re.sub(rf"{secured}([a-z0-9-]+@)?{re.escape(HOST)}", plain + HOST, value)
    zones = {address.rpartition(":")[0].partition(".")[2] for address in addresses if not address.startswith(HOST)}
    for zone in zones:
        if found := re.search(rf"[\w.-]+\.{re.escape(zone)}(:\d+)?", value):
            raise ServiceError(f"{path}: {key} names {found[0]}, which no service registers")
    return value


def _secret(cloud: Cloud, source: str) -> str:
    """Return the value of one `valueFrom`: `arn[:json key[:stage[:version]]]` of a secret, or a parameter."""
    if ":secretsmanager:" in source:
        parts = source.split(":")
        key, stage, version, *_rest = [*parts[7:], "", "", ""]
        return read_secret(cloud, ":".join(parts[:7]), key=key, stage=stage, version=version)
    name = source.partition(":parameter")[2] or source
    return str(cloud.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])


def _probe(service: Service, port: int) -> Probe:
    return http_probe(HOST, port, service.health_path) if service.health_path else tcp_probe(HOST, port)


def _on_fargate(deployment: Deployment) -> Iterator[Service]:
    tasks = {task.placed.ref: task.wanted for task in deployment.of_type("AWS::ECS::TaskDefinition")}
    for resource in deployment.of_type("AWS::ECS::Service"):
        wanted = resource.wanted
        task = tasks[wanted.properties["TaskDefinition"]]
        containers = [each for each in task.properties["ContainerDefinitions"] if each.get("Essential", True)]
        if len(containers) != 1:
            raise ServiceError(f"{task.path}: {len(containers)} essential containers; exactly one can be started here")
        (container,) = containers
        targets = [each["TargetGroupArn"] for each in wanted.properties.get("LoadBalancers", [])]
        yield _service(
            task,
            command=container.get("Command") or [],
            environment={
                **region_variables(task.region),
                **{each["Name"]: each["Value"] for each in container.get("Environment", [])},
            },
            secrets={each["Name"]: each["ValueFrom"] for each in container.get("Secrets", [])},
            ports=[each["ContainerPort"] for each in container.get("PortMappings", [])],
            count=int(wanted.properties.get("DesiredCount", 1)),
            hosts=_hosts(wanted, deployment),
            health_path=_health_path(targets, deployment),
            role=task.properties.get("TaskRoleArn", ""),
        )


def _on_instances(deployment: Deployment) -> Iterator[Service]:
    templates = {each.placed.ref: each.wanted for each in deployment.of_type("AWS::EC2::LaunchTemplate")}
    for group in deployment.of_type("AWS::AutoScaling::AutoScalingGroup"):
        given = group.wanted.properties
        template = templates[given["LaunchTemplate"]["LaunchTemplateId"]]
        descriptor = _descriptor(template)
        yield _service(
            template,
            command=descriptor["command"],
            environment=descriptor["environment"],
            secrets={},
            ports=descriptor["ports"],
            count=int(given.get("DesiredCapacity") or given["MinSize"]),
            hosts=(),
            links=_links(given.get("TargetGroupARNs", []), deployment),
            health_path=_health_path(given.get("TargetGroupARNs", []), deployment),
            role=_instance_role(template, deployment),
        )


def _instance_role(template: Wanted, deployment: Deployment) -> str:
    """Return the ARN of the role that a launch template hands to its instances; empty without one."""
    named = template.properties["LaunchTemplateData"].get("IamInstanceProfile", {})
    roles = {each.placed.ref: str(each.placed.attributes["Arn"]) for each in deployment.of_type("AWS::IAM::Role")}
    for profile in deployment.of_type("AWS::IAM::InstanceProfile"):
        if named.get("Arn") == profile.placed.attributes["Arn"] or named.get("Name") == profile.placed.ref:
            return roles[profile.wanted.properties["Roles"][0]]
    return ""


def _descriptor(template: Wanted) -> dict[str, Json]:
    """Return the one service descriptor that the user data writes."""
    script = base64.b64decode(template.properties["LaunchTemplateData"]["UserData"]).decode()
    found = _DESCRIPTOR.findall(script)
    if len(found) != 1:
        raise ServiceError(f"{template.path}: user data writes {len(found)} service descriptors; it must write one")
    descriptor: dict[str, Json] = json.loads(found[0][1])
    return descriptor


def _service(
    wanted: Wanted,
    *,
    command: list[str],
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    ports: list[int],
    count: int,
    hosts: tuple[str, ...],
    links: tuple[str, ...] = (),
    health_path: str,
    role: str,
) -> Service:
    if len(command) < 3 or not _COMMAND.fullmatch(command[0]) or command[1] != "-m":  # noqa: PLR2004 - python -m module
        raise ServiceError(f"{wanted.path}: its command must be `python -m runtime.…`, was {command}")
    if not command[2].startswith("runtime."):
        raise ServiceError(f"{wanted.path}: only modules of runtime/ can be started here, was {command[2]}")
    if "SERVICE" not in environment:
        raise ServiceError(f"{wanted.path}: its environment has no SERVICE, the name in logs and tables")
    if len(ports) != 1 or environment.get("LISTEN_PORT", str(ports[0])) != str(ports[0]):
        raise ServiceError(
            f"{wanted.path}: it must map the one port it listens on; it maps {ports} and LISTEN_PORT is "
            f"{environment.get('LISTEN_PORT')}"
        )
    return Service(
        name=environment["SERVICE"],
        path=wanted.path,
        command=tuple(command),
        environment=environment,
        secrets=secrets,
        port=ports[0],
        count=count,
        hosts=hosts,
        links=links,
        health_path=health_path,
        role=role,
        region=wanted.region,
    )


def _links(target_groups: list[str], deployment: Deployment) -> tuple[str, ...]:
    """Return where PrivateLink shows the balancers in front of `target_groups`: name in the zone, port of the listener.

    The endpoint names its service by an id that nobody here gave out, so every endpoint with a name of ours is taken
    for one of every service. With two services that would be a guess, and is refused.
    """
    allowed = {
        (str(each.wanted.properties["ServiceId"]), str(principal).split(":")[4])
        for each in deployment.of_type("AWS::EC2::VPCEndpointServicePermissions")
        for principal in each.wanted.properties.get("AllowedPrincipals", [])
    }
    offered = {
        str(balancer)
        for each in deployment.of_type("AWS::EC2::VPCEndpointService")
        for balancer in each.wanted.properties.get("NetworkLoadBalancerArns", [])
        if (each.placed.ref, str(balancer).split(":")[4]) in allowed  # others are for partners, who are not here
    }
    ports = [
        (int(given["Port"]), str(given["LoadBalancerArn"]))
        for given in (each.wanted.properties for each in deployment.of_type("AWS::ElasticLoadBalancingV2::Listener"))
        if any(action.get("TargetGroupArn") in target_groups for action in given.get("DefaultActions", []))
    ]
    linked = [port for port, balancer in ports if balancer in offered]
    services = {each.placed.ref: each for each in deployment.of_type("AWS::ServiceDiscovery::Service")}
    names = [
        str(each.wanted.properties["ServiceId"])
        for each in deployment.of_type("AWS::ServiceDiscovery::Instance")
        if "AWS_INSTANCE_CNAME" in each.wanted.properties["InstanceAttributes"]
    ]
    if linked and len(names) != 1:
        raise ServiceError(f"{len(names)} names lead through PrivateLink; only with one is it clear where to")
    zones = {
        each.placed.ref: each.wanted.properties["Name"]
        for each in deployment.of_type("AWS::ServiceDiscovery::PrivateDnsNamespace")
    }
    return tuple(
        f"{services[name].wanted.properties['Name']}.{zones[_zone(services[name])]}:{port}"
        for name in names
        for port in linked
    )


def _hosts(wanted: Wanted, deployment: Deployment) -> tuple[str, ...]:
    """Return the names under which Cloud Map knows a service."""
    zones = {
        each.placed.ref: each.wanted.properties["Name"]
        for each in deployment.of_type("AWS::ServiceDiscovery::PrivateDnsNamespace")
    }
    names = {each.placed.attributes["Arn"]: each for each in deployment.of_type("AWS::ServiceDiscovery::Service")}
    registered = [names[each["RegistryArn"]] for each in wanted.properties.get("ServiceRegistries", [])]
    return tuple(f"{each.wanted.properties['Name']}.{zones[_zone(each)]}" for each in registered)


def _zone(name: Resource) -> str:
    given = name.wanted.properties
    zone: str = given.get("NamespaceId") or given["DnsConfig"]["NamespaceId"]
    return zone


def _health_path(target_groups: list[str], deployment: Deployment) -> str:
    """Return the path that the load balancer of a service asks for; empty without one."""
    for group in deployment.of_type("AWS::ElasticLoadBalancingV2::TargetGroup"):
        given = group.wanted.properties
        protocol = given.get("HealthCheckProtocol", given.get("Protocol"))
        if group.placed.ref in target_groups and protocol == _HTTP:
            return str(given.get("HealthCheckPath", "/"))
    return ""
