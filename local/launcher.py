"""One run of the whole exchange on this machine, from an empty cloud to a table of addresses, and back to nothing."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from local import ceremony, control, demo, enclave, services, stand_ins, supervisor, synthesis
from local.assembly import Assembly, read_assembly
from local.cloud import Cloud, StandIns
from local.console import OUT, Step, step, table
from local.control import ProcessStatus, Status, write_status
from local.delivery.dispatcher import Dispatcher
from local.delivery.functions import Function
from local.deploy import NOT_REAL, REAL, Deployment, deploy
from local.grants.book import written
from local.grants.guard import Guard
from local.grants.inline import check
from local.outages import Outages
from local.paths import PROJECT, Layout
from local.recorded import RECORDED
from local.resolve import Json
from local.supervisor import Program, Supervisor
from runtime.accounts.keys import KEY_LENGTH, KeyStore
from runtime.chain.addresses import deposit_address
from runtime.chain.store import Addresses
from runtime.price_feed.venues import VENUES
from runtime.shared.catalogue import Catalogue, read_catalogue
from runtime.withdrawals.register import ENDED, REFUSED, Register
from runtime.withdrawals.rules import read_rules

HOST: Final = "127.0.0.1"
HEARTBEAT_S: Final = 5.0
FETCH_TIMEOUT_S: Final = 5.0
QUOTES_TIMEOUT_S: Final = 30.0
QUOTES_POLL_S: Final = 0.25
SITE: Final = PROJECT / "web" / "dist"
GRANTS: Final = "LOCAL_GRANTS"
"""Environment variable: `report` only writes down what is not granted; anything else refuses it."""
REPORT: Final = "report"
DEPOSIT_KEY: Final = "EXTENDED_PUBLIC_KEY"
"""A service that names it watches deposits to the addresses that follow from it."""
ASSETS: Final = "CHAIN_ASSETS"
"""A watcher's assets, as JSON."""
WITHDRAWALS: Final = "WITHDRAWAL_TABLE"
"""A service that names it takes requests to withdraw."""
WALLETS: Final = "WALLETS"
"""A function that names them holds the chain against the ledger."""
STARTING: Final = "starting"
HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
_WITHOUT_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
STOPPING: Final = "stopping"


class PortBusyError(RuntimeError):
    """The front door's port is taken."""


class Launcher:
    """Brings everything up in order, keeps it up, and takes it down in reverse."""

    def __init__(self, layout: Layout, *, port: int, environment: str) -> None:
        """Prepare a run of `environment` whose front door listens on loopback port `port`."""
        self._layout = layout
        self._port = port
        self._environment = environment
        self._state = STARTING
        self._urls: dict[str, str] = {}
        self._addresses: dict[str, dict[str, str]] = {}
        self._chain = ""
        self._wallet = ""
        self._supervisor = Supervisor(layout.logs, self._report)
        self._outages = Outages(layout.outages)
        self._cloud: Cloud | None = None
        self._dispatcher: Dispatcher | None = None
        self._guard: Guard | None = None

    async def run(self) -> None:
        """Bring everything up, and stay until SIGINT or SIGTERM. Raises what a step raises, with all taken down."""
        self._layout.demo.unlink(missing_ok=True)
        self._outages.end_all()
        if left := control.end_leftovers(self._layout):
            OUT.print(f"ended {left} processes that an earlier run left behind")
        _check_port(self._port)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        starting = asyncio.create_task(self._start())
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await self._stay(stopping)
        finally:
            starting.cancel()
            waiting.cancel()
            await asyncio.gather(starting, waiting, return_exceptions=True)
            await self._stop()

    async def _stay(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._report()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), HEARTBEAT_S)

    async def _stop(self) -> None:
        self._state = STOPPING
        self._layout.demo.unlink(missing_ok=True)
        with step("stop"):
            await self._supervisor.stop()
            if self._dispatcher is not None:
                await asyncio.to_thread(self._dispatcher.stop)
            if self._cloud is not None:
                await asyncio.to_thread(self._cloud.stop)
            if self._guard is not None:
                self._guard.close()
        control.status_file(self._layout).unlink(missing_ok=True)

    async def _start(self) -> None:
        layout = self._layout
        assembly = await self._synthesize()
        ports = StandIns((HOST, self._free_port()), (HOST, self._free_port()))
        self._cloud = cloud = Cloud(
            layout.state / "cloud", account=assembly.account, region=assembly.region, stand_ins=ports
        )
        cloud.take_out(self._outages.is_out)
        cloud.start()
        superuser = cloud.derive("postgres", stand_ins.SUPERUSER, 24).hex()
        ethereum = self._free_port()
        self._chain = f"{HOST}:{ethereum}"
        cloud.addresses |= dict.fromkeys(stand_ins.NODE_ADDRESSES, self._chain)
        venues = {venue.name: self._free_port() for venue in VENUES}
        for venue in VENUES:
            cloud.addresses[urlsplit(venue.url).netloc] = f"{HOST}:{venues[venue.name]}"
        with step("start PostgreSQL, Valkey, a simulated Ethereum and simulated venues"):
            await self._supervisor.start(
                *(
                    replace(program, is_out=partial(self._outages.is_out, program.name))
                    for program in (
                        await asyncio.to_thread(stand_ins.postgres, layout.state, superuser, ports.postgres[1]),
                        stand_ins.valkey(layout.state, ports.valkey[1]),
                    )
                ),
                stand_ins.ethereum(layout.state, ethereum),
                stand_ins.venues(venues, f"ws://{HOST}:{self._port}"),
            )
        with step(f"deploy {len(assembly.stacks)} stacks into the embedded AWS") as deploying:
            deployment = await asyncio.to_thread(deploy, assembly, cloud, deploying.say)
            _note_tiers(deploying, deployment)
        with step("restore data") as restoring:
            restored = await asyncio.to_thread(cloud.restore)
            await asyncio.to_thread(
                stand_ins.ensure_databases,
                stand_ins.conninfo(superuser, ports.postgres[1]),
                cloud.databases,
                cloud.logins,
                users := services.database_users(deployment, cloud),
            )
            stand_ins.write_passwords(layout.state / services.PASSWORDS, ports.postgres[1], users)
            restoring.note(f"{restored.performed} changes" + (f", {restored.lost} set aside" * bool(restored.lost)))
        await self._start_services(cloud, deployment)

    def _free_port(self) -> int:
        """Return a free port that is not the front door's, which nobody listens on yet."""
        port = stand_ins.free_port()
        return port if port != self._port else stand_ins.free_port()

    async def _synthesize(self) -> Assembly:
        with step(f"synthesize {self._environment}, five rule packs enforced") as under_way:
            folder, is_new = await asyncio.to_thread(synthesis.synthesize, self._environment)
            if not is_new:
                under_way.note("unchanged")
            return read_assembly(folder, self._environment)

    async def _start_services(self, cloud: Cloud, deployment: Deployment) -> None:
        declared, absent = services.startable(services.declared(deployment))
        if absent:
            OUT.print(
                f"not started, as their chain is not the simulated one: {', '.join(each.name for each in absent)}"
            )
        ports = {each.name: [self._free_port() for _ in range(each.count)] for each in declared}
        injected = services.Injected(cloud=cloud, state=self._layout.state, ports=ports)
        vault = enclave.prepare(deployment, cloud, declared, self._layout.state, self._free_port())
        cloud.addresses[urlsplit(deployment.output("CanaryUrl")).netloc] = f"{HOST}:{self._port}"
        addresses = services.addresses_of(declared, injected)
        with step("judge calls by the policies of the templates") as judging:
            self._guard = await asyncio.to_thread(self._judge, cloud, deployment)
            judging.note("refused unless granted" if self._guard.is_enforced else "reported, not refused")
        with step("start to deliver events") as delivering:
            self._dispatcher = Dispatcher(
                deployment,
                cloud,
                logs=self._layout.logs,
                inline=self._layout.run / "functions",
                inject=lambda function: self._variables(function, addresses, injected),
            )
            self._dispatcher.start()
            delivering.note(self._dispatcher.summary)
        with step("measure and start the wallet enclave"):
            await self._supervisor.start(vault)
        for programs in services.programs(declared, injected):
            with step("start " + ", ".join(program.name for program in programs)):
                await self._supervisor.start(*programs)
        with step("make the wallet, sign its manifest") as holding:
            (host,) = (each for each in declared if each.name == enclave.PARENT)
            signing = host.environment["SIGNING_TABLE"], host.environment["WALLET"]
            self._wallet = await asyncio.to_thread(ceremony.hold, cloud, *signing)
            holding.note(self._wallet)
        with step("open the front door") as opening:
            await self._supervisor.start(self._front_door(ports))
            opening.note(f"http://{HOST}:{self._port}")
        catalogue, keys = await self._seed(cloud, deployment, declared, ports)
        with step("take up withdrawals that an earlier run left") as taking:
            taking.note(f"{await asyncio.to_thread(_take_up, cloud, deployment, declared)} executions")
        with step("start the market maker") as quoting:
            await self._supervisor.start(self._market_maker())
            symbols = list(catalogue.market_by_symbol)
            await self._wait_for_quotes(symbols)
            quoting.note(f"{len(symbols)} symbols quoted")
        self._urls = {
            "rest_url": f"http://{HOST}:{self._port}",
            "stream_url": f"ws://{HOST}:{self._port}",
            "ws_api_url": f"ws://{HOST}:{self._port}/ws-api/v3",
            "ui_url": f"http://{HOST}:{self._port}/",
            "aws_endpoint_url": cloud.url,
        }
        demo.write_demo(self._layout.demo, self._urls, keys, catalogue, self._addresses)
        self._show(deployment)
        self._state = HEALTHY
        self._report()

    def _variables(
        self, function: Function, addresses: Mapping[str, str], injected: services.Injected
    ) -> dict[str, str]:
        """Return a function's environment; the wallets of this machine are known only once they are made."""
        variables = services.function_variables(function, addresses, injected)
        if WALLETS in variables:
            variables[WALLETS] = json.dumps({"hot-1": self._wallet, "cold-1": ceremony.COLD})
        return variables

    def _judge(self, cloud: Cloud, deployment: Deployment) -> Guard:
        """Let the deployment's policies decide on every call; keep them, for those who ask afterwards."""
        iam = cloud.client("iam")

        def managed(arn: str) -> Json:
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

        policies = written(deployment, managed)
        self._layout.policies.write_text(policies.dump())
        guard = Guard(policies, self._layout.grants, is_enforced=os.environ.get(GRANTS) != REPORT)
        cloud.guard(guard)
        check(deployment, guard, cloud.account)
        return guard

    async def _seed(
        self,
        cloud: Cloud,
        deployment: Deployment,
        declared: list[services.Service],
        ports: dict[str, list[int]],
    ) -> tuple[Catalogue, dict[str, demo.Keys]]:
        """Open and fund the demo accounts, as an operator would with the outputs of the deployment."""
        with step("open and fund accounts") as seeding:
            (engine,) = (each for each in declared if services.JOURNAL_VARIABLE in each.environment)
            parameter = engine.environment["CATALOGUE_PARAMETER"]
            text = cloud.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
            catalogue = read_catalogue(text, parameter)
            store = KeyStore(
                table=deployment.output("ApiKeyTable"),
                kms_key=deployment.output("ApiKeyKmsKey"),
                dynamodb=cloud.client("dynamodb"),
                kms=cloud.client("kms"),
            )
            keys = demo.kept_keys(self._layout.state / "clients.json")
            address = ",".join(f"{HOST}:{port}" for port in ports[engine.name])
            credited, accounts = await demo.seed(address, catalogue, store, keys)
            await asyncio.to_thread(_let_canary_trade, cloud, deployment, store, accounts[demo.CANARY])
            self._addresses = await asyncio.to_thread(_issue, cloud, declared, accounts)
            await asyncio.to_thread(_fill_address_books, cloud, declared, accounts)
            await ceremony.endow(self._chain, self._wallet, _coins(declared, catalogue))
            seeding.note(f"{len(keys)} accounts, {credited} deposits credited now")
        return catalogue, keys

    def _front_door(self, ports: dict[str, list[int]]) -> Program:
        settings = {
            "port": self._port,
            "site": str(SITE),
            "rest": [f"{HOST}:{port}" for port in ports.get("rest", [])],
            "stream": [f"{HOST}:{port}" for port in ports.get("ws", [])],
        }
        return Program(
            name="front-door",
            command=(sys.executable, "-m", "local.front_door"),
            environment={**services.base_variables(), "FRONT_DOOR": json.dumps(settings)},
            probe=supervisor.tcp_probe(HOST, self._port),
            address=f"{HOST}:{self._port}",
        )

    def _market_maker(self) -> Program:
        pause = self._layout.run / "pause"
        pause.mkdir(exist_ok=True)
        return Program(
            name="market-maker",
            command=(sys.executable, "-m", "runtime.market_maker.main"),
            environment={
                **services.base_variables(),
                "REST_URL": f"http://{HOST}:{self._port}",
                "STREAM_URL": f"ws://{HOST}:{self._port}",
                "WS_API_URL": f"ws://{HOST}:{self._port}/ws-api/v3",
                "MAKER_KEYS_FILE": str(self._layout.state / "clients.json"),
                "MAKER_PAUSE_DIR": str(pause),
            },
            probe=supervisor.always_well,
        )

    async def _wait_for_quotes(self, symbols: list[str]) -> None:
        """Return once every symbol has a bid and an ask. Raises StartError."""
        maker = self._supervisor.processes[-1]
        deadline = asyncio.get_running_loop().time() + QUOTES_TIMEOUT_S
        while missing := await asyncio.to_thread(_unquoted, f"http://{HOST}:{self._port}", symbols):
            if maker.restarts >= supervisor.STARTS_MAX or asyncio.get_running_loop().time() > deadline:
                raise maker.start_error(f"does not quote {', '.join(missing)}")
            await asyncio.sleep(QUOTES_POLL_S)

    def _show(self, deployment: Deployment) -> None:
        """Print what is real, what is only recorded, and where everything is."""
        OUT.print()
        self._layout.resources.write_text(tiers_text(deployment))
        show_tiers(deployment)
        show_urls(self._urls, self._layout)

    def _report(self) -> None:
        """Write the status, which other commands read."""
        if self._state in {HEALTHY, DEGRADED}:
            is_well = self._supervisor.is_healthy and not self._outages.present()
            self._state = HEALTHY if is_well else DEGRADED
        pid = os.getpid()
        write_status(
            self._layout,
            Status(
                pid=pid,
                born=control.birth(pid),
                state=self._state,
                port=self._port,
                environment=self._environment,
                urls=self._urls,
                processes=[
                    ProcessStatus(
                        name=process.program.name,
                        state=process.state,
                        pid=process.pid,
                        restarts=process.restarts,
                        address=process.program.address,
                        born=control.birth(process.pid) if process.pid else "",
                    )
                    for process in self._supervisor.processes
                ],
                functions=self._dispatcher.statuses() if self._dispatcher is not None else [],
            ),
        )


def show_tiers(deployment: Deployment) -> None:
    """Print how many resources are real and how many only recorded, by service, and why."""
    tiers = deployment.tiers()
    real = tiers[REAL]
    rows = [(REAL, str(real.total()), f"created, then read back: {_by_service(real)}")]
    for reason, types in _by_reason(tiers[NOT_REAL]):
        rows.append((NOT_REAL, str(types.total()), f"{reason}: {_by_service(types)}"))
    table("Resources in the embedded AWS", ("tier", "count", "what"), rows)
    if dropped := deployment.dropped():
        OUT.print(f"{len(dropped)} properties have no effect here. All types and properties: `make status VERBOSE=1`\n")


def tiers_text(deployment: Deployment) -> str:
    """Return every type with its count, and every property without effect, each with the reason."""
    tiers = deployment.tiers()
    lines = [f"{REAL}: created through the service's API, then read back"]
    lines += [f"  {_short(name)} x{count}" for name, count in sorted(tiers[REAL].items())]
    for reason, types in _by_reason(tiers[NOT_REAL]):
        lines += ["", f"{NOT_REAL}: {reason}", *(f"  {_short(name)} x{count}" for name, count in sorted(types.items()))]
    lines += ["", "properties without effect here"]
    lines += [f"  {_short(name)}: {reason}" for name, reason in sorted(deployment.dropped().items())]
    return "\n".join(lines) + "\n"


def _by_reason(types: Counter[str]) -> list[tuple[str, Counter[str]]]:
    """Return the recorded types by reason, the most common reason first."""
    groups: dict[str, Counter[str]] = {}
    for name, count in types.items():
        groups.setdefault(RECORDED[name].reason, Counter())[name] = count
    return sorted(groups.items(), key=lambda group: -group[1].total())


def _by_service(types: Counter[str]) -> str:
    services: Counter[str] = Counter()
    for name, count in types.items():
        services[_short(name).partition("::")[0]] += count
    return ", ".join(f"{name} {count}" for name, count in services.most_common())


def show_urls(urls: dict[str, str], layout: Layout) -> None:
    """Print where everything is reached."""
    rows = [
        ("trading screen", urls["ui_url"]),
        ("REST", urls["rest_url"] + "/api/v3"),
        ("streams", urls["stream_url"] + "/ws, /stream"),
        ("WebSocket API", urls["ws_api_url"]),
        ("embedded AWS", urls["aws_endpoint_url"]),
        ("keys of alice, bob", str(layout.demo)),
        ("logs", str(layout.logs)),
    ]
    table("Bursa is up", ("what", "where"), rows)


def fetch(url: str) -> bytes:
    """Return what is at a loopback address, whatever proxy the environment names. Raises OSError, also for an error."""
    with _WITHOUT_PROXY.open(url, timeout=FETCH_TIMEOUT_S) as answer:
        content: bytes = answer.read()
        return content


def post(url: str) -> tuple[int, str]:
    """Post nothing to a loopback address; return status and text of the answer. Raises OSError when none comes."""
    request = urllib.request.Request(url, b"", method="POST")  # noqa: S310 - an address of our own
    try:
        with _WITHOUT_PROXY.open(request, timeout=FETCH_TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _let_canary_trade(cloud: Cloud, deployment: Deployment, store: KeyStore, account: int) -> None:
    """Do what docs/deploy.md asks of an operator: register the canary's public key, enter the name of its API key."""
    api_key = cloud.derive("api key", demo.CANARY, KEY_LENGTH // 2).hex()
    public_key = cloud.client("kms").get_public_key(KeyId=deployment.output("CanaryKey"))["PublicKey"]
    demo.register_canary(store, public_key, api_key, account=account)
    parameter = deployment.output("CanaryApiKeyParameter")
    cloud.client("ssm").put_parameter(Name=parameter, Value=api_key, Overwrite=True)


def _issue(cloud: Cloud, declared: list[services.Service], accounts: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Issue deposit addresses to the demo accounts, by account and chain; return them."""
    issued: dict[str, dict[str, str]] = {name: {} for name in accounts}
    for service in declared:
        if DEPOSIT_KEY not in service.environment:
            continue
        chain = service.environment["CHAIN"]
        table = Addresses(service.environment["ADDRESS_TABLE"], cloud.client("dynamodb"))
        for name, account in accounts.items():
            address = deposit_address(chain, service.environment[DEPOSIT_KEY], account)
            table.issue(chain, address, account)
            issued[name][chain] = address
    return issued


def _coins(declared: list[services.Service], catalogue: Catalogue) -> dict[str, int]:
    """Return what the demo accounts are credited with of each asset on the simulated chain, by its contract.

    That is nothing in an environment whose chains are not simulated: no service of this machine follows them.
    """
    chains = {each.environment["CHAIN"]: each.environment[ASSETS] for each in declared if ASSETS in each.environment}
    coins = {}
    for asset in json.loads(chains.get(ceremony.CHAIN, "[]")):
        units, decimals = demo.credited(catalogue, asset["name"]), catalogue.asset(asset["name"]).decimals
        coins[asset["contract"]] = units * 10 ** asset["decimals"] // 10**decimals
    return coins


def _fill_address_books(cloud: Cloud, declared: list[services.Service], accounts: Mapping[str, int]) -> None:
    """Let the demo accounts withdraw to their addresses, in the register that the gateway is told of."""
    for service in declared:
        if WITHDRAWALS not in service.environment:
            continue
        rules = read_rules(service.environment["WITHDRAWAL_RULES"])
        register = Register(service.environment[WITHDRAWALS], client=cloud.client("dynamodb"))
        demo.fill_address_books(register, max(rule.cooldown_s for rule in rules), accounts, int(time.time()))


def _take_up(cloud: Cloud, deployment: Deployment, declared: list[services.Service]) -> int:
    """Start an execution for each withdrawal that has not ended: the embedded AWS forgets executions."""
    (machine,) = (
        each.placed.ref
        for path, each in deployment.resources.items()
        if each.wanted.type == "AWS::StepFunctions::StateMachine" and "-Withdrawals/" in path
    )
    tables = {each.environment[WITHDRAWALS] for each in declared if WITHDRAWALS in each.environment}
    names = [
        item["id"]["S"]
        for table in tables
        for page in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        for item in page["Items"]
        if item.get("status", {}).get("S", REFUSED) not in ENDED
    ]
    for name in names:
        cloud.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=f"{name}-{time.time_ns()}"[:80], input=json.dumps({"withdrawal_id": name})
        )
    return len(names)


def _unquoted(rest_url: str, symbols: list[str]) -> list[str]:
    """Return the symbols without a bid or an ask; all of them when the exchange does not answer."""
    try:
        tickers = {ticker["symbol"]: ticker for ticker in json.loads(fetch(f"{rest_url}/api/v3/ticker/bookTicker"))}
    except (OSError, ValueError):
        return symbols
    return [
        symbol
        for symbol in symbols
        if not all(Decimal(tickers.get(symbol, {}).get(side, "0")) for side in ("bidQty", "askQty"))
    ]


def _short(type_name: str) -> str:
    return type_name.removeprefix("AWS::")


def _note_tiers(under_way: Step, deployment: Deployment) -> None:
    tiers = deployment.tiers()
    under_way.note(f"{sum(tiers[REAL].values())} resources created, {sum(tiers[NOT_REAL].values())} recorded")


def _check_port(port: int) -> None:
    """Raise PortBusyError for a port that the front door could not take."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise PortBusyError(
                f"port {port} is taken ({error.strerror}); choose another, such as `make up PORT={port + 80}`"
            ) from None
