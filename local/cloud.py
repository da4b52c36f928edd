"""The embedded AWS: moto's server behind one lock, on loopback, with a memory.

moto is not thread-safe, forgets everything on exit and here and there answers wrongly. The gate in front of it makes
one request at a time, keeps what must outlive the process (`request_log.py`), splits long polls so that they hold
nobody up, and refuses what moto would get wrong (`refusals.py`). moto itself runs in this process: the ids it makes are
seeded by resource path before each creation, so they are the same in every run, and key material is derived from one
local secret, so that old ciphertexts can be read after a restart.
"""

import hashlib
import hmac
import io
import json
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import msgspec
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from moto.backends import get_backend
from moto.core.botocore_stubber import MockRawResponse
from moto.core.config import default_user_config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.kms import models as kms_models
from moto.kms.utils import generate_private_key
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.utilities.utils import PARTITION_NAMES
from werkzeug.serving import ThreadedWSGIServer

from local.callers import Caller
from local.grants.requests import Known, Request
from local.machines import call_as_roles
from local.outages import KINESIS
from local.paths import PRIVATE_FOLDER, write_private
from local.refusals import Answer, Refusals
from local.request_log import LogFullError, Record, RequestLog, changes_data, is_lease, upload_id, without_superseded

if TYPE_CHECKING:
    from local.grants.guard import Guard

HOST: Final = "127.0.0.1"
ACCESS_KEY: Final = "LOCALLAUNCHER"
"""The key of the launcher's own calls; moto checks no signature."""
SCHEDULES: Final = "/_local/schedules/"
"""Where the name of a schedule, appended and posted, runs it now."""
BODY_BYTES_MAX: Final = 96 * 2**20
CONNECTIONS_MAX: Final = 256
SYMMETRIC: Final = "SYMMETRIC_DEFAULT"
POLL_PAUSE_S: Final = 0.1
STOP_POLL_S: Final = 0.05
_ENVIRON_KEPT: Final = ("CONTENT_TYPE", "HTTP_")
_ENVIRON_DROPPED: Final = frozenset({"HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_TRANSFER_ENCODING", "HTTP_CONNECTION"})
_OWN_PARTITION: Final = "aws"
_MANAGED_POLICIES: Final = "MOTO_IAM_LOAD_MANAGED_POLICIES"
_INVOCATION: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1")

logger = logging.getLogger(__name__)


class ForeignAccountError(ValueError):
    """The assembly was synthesized for an account that moto does not have, so its ARNs would lead nowhere."""


@dataclass(frozen=True, slots=True)
class StandIns:
    """Addresses, as (host, port), of the local servers that take the place of managed stores."""

    postgres: tuple[str, int]
    valkey: tuple[str, int]


NOWHERE: Final = StandIns((HOST, 1), (HOST, 1))
"""For a cloud whose stores nobody connects to."""


class Invocation(NamedTuple):
    """One call of a function, as it came over HTTP."""

    function: str
    """Name or ARN, maybe with a version or alias."""
    region: str
    kind: str
    """RequestResponse, Event or DryRun."""
    payload: bytes


class Cloud:
    """One empty AWS account, reachable by boto3 here and by HTTP from every process of this machine's user."""

    def __init__(self, state: Path, *, account: str, region: str, stand_ins: StandIns = NOWHERE) -> None:
        """Prepare an empty cloud whose durable parts live under `state`. Nothing listens yet."""
        if account != DEFAULT_ACCOUNT_ID:
            raise ForeignAccountError(
                f"account must be {DEFAULT_ACCOUNT_ID}, the embedded AWS has no other; was {account}"
            )
        self.account = account
        self.region = region
        self.databases: dict[str, dict[str, Any]] = {}
        """By the `Ref` of a database cluster: what its secret tells clients."""
        self.logins: dict[str, tuple[str, str]] = {}
        self.addresses: dict[str, str] = {}
        """host:port of something that a template names, and host:port of what stands in for it here."""
        """By the `Ref` of a database cluster: master user and password."""
        self.stand_ins = stand_ins
        self.callers: dict[str, Caller] = {}
        """By access key: who was given it. Any other key is the launcher's, or that of a person."""
        self._state = state
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(PRIVATE_FOLDER)
        self._master = _master_secret(state / "master.key")
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        setattr(kms_models, "generate_private_key", _private_key)  # noqa: B010 - not a name that moto exports
        default_user_config["lambda"] = {"use_docker": False}
        default_user_config["stepfunctions"] = {"execute_state_machine": True}
        self._gate = Gate()
        self._gate.callers = self.callers
        self._gate.reset()
        self._server: ThreadedWSGIServer | None = None

    def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one."""
        self._server = _Server(HOST, port, self._gate, handler=_Handler)
        os.environ["TEST_SERVER_MODE_ENDPOINT"] = self.url
        os.environ["MOTO_PORT"] = str(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, args=(STOP_POLL_S,), name="cloud", daemon=True).start()

    def stop(self) -> None:
        """Stop listening and close the log."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._gate.close()
        self.client.cache_clear()

    @property
    def url(self) -> str:
        """The endpoint. Always by this name: moto recognizes S3's path style by it."""
        if self._server is None:
            raise RuntimeError("the embedded AWS is not listening")
        return f"http://localhost:{self._server.server_port}"

    @cache  # noqa: B019 - a cloud lives as long as its process
    def client(self, service: str, region: str | None = None, caller: Caller | None = None) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
        """Return a boto3 client of this cloud: the launcher's, or one that acts as `caller`.

        It asks the gate without the network: a deployment makes thousands of calls.
        """
        made = boto3.client(
            service,
            region_name=region or self.region,
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY if caller is None else self.key_of(caller),
            aws_secret_access_key="unchecked",  # noqa: S106 - moto checks no signature
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        made.meta.events.register("before-send", self._gate.answer_here)
        return made

    def key_of(self, caller: Caller) -> str:
        """Return the access key of a caller, known from now on."""
        self.callers[caller.key] = caller
        return caller.key

    def guard(self, judge: "Guard | None") -> None:
        """Let `judge` decide on every call of a known caller from here on."""
        if judge is not None:
            call_as_roles(self.key_of)
        self._gate.guard = judge

    def run_functions(
        self, answer: Callable[[Invocation], Answer] | None, run_schedule: Callable[[str], Answer] | None = None
    ) -> None:
        """Let `answer` answer every call of a function, also those of moto itself, and `run_schedule` run one now."""
        self._gate.functions = answer
        self._gate.schedules = run_schedule

    def take_out(self, is_out: Callable[[str], bool]) -> None:
        """Answer no call of a service for which `is_out` is true."""
        self._gate.is_out = is_out

    def seed(self, path: str) -> None:
        """Make the ids of whatever is created next depend on `path` alone."""
        mock_random.seed(path)

    def reseed(self) -> None:
        """Make ids unpredictable again: message ids must not repeat between runs."""
        mock_random.seed(os.urandom(32))

    def derive(self, purpose: str, path: str, size: int) -> bytes:
        """Return `size` bytes that only this installation knows, the same in every run."""
        key = hmac.new(self._master, f"{purpose}\n{path}".encode(), hashlib.sha256).digest()
        return hashlib.shake_256(key).digest(size)

    def keep_key_material(self, key_id: str, path: str, region: str | None = None) -> None:
        """Give the KMS key of the resource at `path` material that is the same in every run."""
        key = get_backend("kms")[self.account][region or self.region].keys[key_id]
        key.key_material = self.derive("kms", path, len(key.key_material))
        if hasattr(key.private_key, "private_key"):
            key.private_key.private_key = self._kept_private_key(path, key.private_key.private_key)

    def _kept_private_key(self, path: str, fresh: Any) -> Any:  # noqa: ANN401 - RSA or EC
        kept = self._state / "keys" / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.pem"
        if not kept.exists():
            kept.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            write_private(
                kept,
                fresh.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
            )
        return serialization.load_pem_private_key(kept.read_bytes(), password=None)

    def restore(self) -> "Restored":
        """Perform again every logged change, compact the log, and log every further change from here on."""
        log = RequestLog(self._state / "requests.log")
        performed: list[Record] = []
        lost: list[Record] = []
        for record in log.read():
            (performed if self._gate.perform_again(record) else lost).append(record)
        if lost:
            self._set_aside(lost)
        s3 = without_superseded((r for r in performed if r.service == "s3"), self._versioned())
        others = [r for r in performed if r.service == "secretsmanager"]
        items = list(self._items({r.region for r in performed if r.service == "dynamodb"}))
        log.replace([*others, *s3, *items])
        self.reseed()
        self._gate.log = log
        return Restored(len(performed), len(lost))

    def _set_aside(self, lost: list[Record]) -> None:
        aside = RequestLog(self._state / f"not-restored-{int(time.time())}.log")
        for record in lost:
            aside.append(record)
        aside.close()

    def _versioned(self) -> dict[str, bool]:
        s3 = self.client("s3")
        names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        return {name: "Status" in s3.get_bucket_versioning(Bucket=name) for name in names}

    def _items(self, regions: Iterable[str]) -> Iterator[Record]:
        """Yield one PutItem for every item there is."""
        for region in sorted(regions):
            dynamodb = self.client("dynamodb", region)
            for page in dynamodb.get_paginator("list_tables").paginate():
                for table in page["TableNames"]:
                    for items in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
                        for item in items["Items"]:
                            yield _put_item(region, table, item)


class Restored(msgspec.Struct, frozen=True):
    """How many logged changes were performed again, and how many no longer fit what is deployed."""

    performed: int
    lost: int


class Gate:
    """The WSGI application that stands before moto."""

    def __init__(self) -> None:
        """Stand before an empty moto."""
        self.log: RequestLog | None = None
        self.guard: Guard | None = None
        self.callers: Mapping[str, Caller] = {}
        self.functions: Callable[[Invocation], Answer] | None = None
        self.schedules: Callable[[str], Answer] | None = None
        self.is_out: Callable[[str], bool] = lambda _service: False
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._refusals = Refusals()

    def close(self) -> None:
        """Let the request under way finish, then take no more."""
        with self._lock:
            if self.log is not None:
                self.log.close()
            self.log = None

    def reset(self) -> None:
        """Empty moto."""
        with self._lock:
            os.environ[_MANAGED_POLICIES] = "false"
            self._call(_environ("POST", "/moto-api/reset", ""), b"")
            # moto looks every access key up in IAM, whose first use draws random ids: not in the middle of a creation.
            # Only this partition needs the thousand policies that AWS manages.
            for partition in sorted(PARTITION_NAMES, key=_OWN_PARTITION.__eq__):
                os.environ[_MANAGED_POLICIES] = str(partition == _OWN_PARTITION).lower()
                _ = get_backend("iam")[DEFAULT_ACCOUNT_ID][partition]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        key, service, region = _scope(environ.get("HTTP_AUTHORIZATION", ""))
        if refused := _refused_from_afar(environ) or self._refused_while_out(service):
            return refused
        body = _body(environ)
        if body is None:
            return Answer.error(413, "EntityTooLarge", f"at most {BODY_BYTES_MAX} bytes")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if self.guard is not None and (caller := self.callers.get(key)):
            request = _request(environ, body, service, region, self.guard.known)
            if refused := self.guard.judge(caller, request):
                return refused
        if target == "AmazonSQS.ReceiveMessage":
            return self._long_poll(environ, body)
        if self.schedules is not None and environ["PATH_INFO"].startswith(SCHEDULES):
            return self.schedules(environ["PATH_INFO"].removeprefix(SCHEDULES))
        if self.functions is not None and (invocation := _invocation(environ, body, region)):
            return self.functions(invocation)  # without the lock: the function itself will call
        with self._lock:
            if refused := self._refusals.before(service, target, body, account=DEFAULT_ACCOUNT_ID, region=region):
                return refused
            if not changes_data(service, target, environ["REQUEST_METHOD"], environ["PATH_INFO"], _query(environ)):
                return self._call(environ, body)
            answer = self._change(environ, body, service, region)
            self._refusals.after(service, target, body, answer)
            return answer

    def _refused_while_out(self, service: str) -> Answer | None:
        is_out = service == KINESIS and self.is_out(service)
        return Answer.error(503, "ServiceUnavailable", f"{service} is out on purpose") if is_out else None

    def _change(self, environ: WSGIEnvironment, body: bytes, service: str, region: str) -> Answer:
        """Perform a change; if it succeeds, make it durable before anyone hears of it."""
        seed = os.urandom(16)
        mock_random.seed(seed)
        answer = self._call(environ, body)
        if self.log is None or not answer.is_success or is_lease(service, body):
            return answer
        record = Record(
            service=service,
            region=region,
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=_query(environ),
            headers=_kept_headers(environ),
            body=body,
            seed=seed,
            upload=upload_id(_query(environ), answer.body) if service == "s3" else "",
        )
        try:
            self.log.append(record)
        except LogFullError as error:
            # What moto holds now is lost at the next start: the caller must not believe in it.
            logger.exception("a change was not kept")
            return Answer.error(503, "ServiceUnavailable", str(error))
        except OSError:
            # The disk failed: nothing acknowledged from here on could be trusted.
            logger.critical("cannot write the log of changes", exc_info=True)
            os._exit(1)
        return answer

    def answer_here(self, request: AWSPreparedRequest, **_event: object) -> AWSResponse:
        """Answer a request of a client in this process, as if it had come over the network."""
        url = urlsplit(request.url)
        environ = _environ(request.method, unquote(url.path, "latin-1"), url.query)
        environ["RAW_URI"] = environ["REQUEST_URI"] = f"{url.path}?{url.query}" if url.query else url.path
        for name, value in request.headers.items():
            variable = name.upper().replace("-", "_")
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            environ[variable if variable.startswith("CONTENT_") else f"HTTP_{variable}"] = text
        environ["HTTP_HOST"] = url.netloc
        body: Any = request.body or b""
        content = body.read() if hasattr(body, "read") else body.encode() if isinstance(body, str) else bytes(body)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ |= {"wsgi.input": io.BytesIO(content), "CONTENT_LENGTH": str(len(content))}
        try:
            answer = self._answer(environ)
        except Exception:  # as the server does with what moto throws
            logger.exception("%s %s", request.method, request.url)
            answer = Answer("500 Internal Server Error", [], b"")
        headers: Any = HeadersDict(answer.headers)
        raw = MockRawResponse(b"" if request.method == "HEAD" else answer.body)
        return AWSResponse(request.url, int(answer.status.split()[0]), headers, raw)

    def perform_again(self, record: Record) -> bool:
        """Perform a logged change; return whether it succeeded as it did the first time."""
        environ = _environ(record.method, record.path, record.query)
        environ.update(record.headers)
        scope = f"{ACCESS_KEY}/20000101/{record.region}/{record.service}/aws4_request"
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        with self._lock:
            mock_random.seed(record.seed)
            answer = self._call(environ, record.body)
        if not answer.is_success:
            logger.warning("not restored: %s %s: %.200r", record.method, record.path, answer.body)
        return answer.is_success

    def _long_poll(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        """Wait for messages without keeping others waiting: moto would hold the lock for up to 20 s."""
        request: dict[str, Any] = json.loads(body or b"{}")
        deadline = time.monotonic() + min(float(request.get("WaitTimeSeconds", 0)), 20)
        short = json.dumps(request | {"WaitTimeSeconds": 0}).encode()
        while True:
            with self._lock:
                answer = self._call(dict(environ), short)
            if not answer.is_success or b'"Messages"' in answer.body or time.monotonic() >= deadline:
                return answer
            time.sleep(POLL_PAUSE_S)

    def _call(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        """Let moto answer. The lock is held."""
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_error: object) -> Callable[[bytes], object]:
            begun.append((status, headers))
            return lambda _data: None

        parts = self._moto(environ, start_response)
        try:
            content = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        status, headers = begun[-1]
        # moto lets any web page read its answers; here no page has any business.
        kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
        return Answer(status, kept, content)


class _Handler(MotoRequestHandler):
    """One connection: small answers leave at once, nothing is logged, a silent peer is hung up on."""

    disable_nagle_algorithm = True
    timeout = 60

    def log_request(self, *_args: object) -> None:
        """Say nothing: services log what they do."""


class _Server(ThreadedWSGIServer):
    """A thread a connection, but never more than CONNECTIONS_MAX."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(*args, **options)
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Serve a connection in a thread of its own, or hang up when there are too many."""
        if self._places.acquire(timeout=1):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Report what went wrong, nothing else."""
        if type != "info":
            logger.error(message, *args)


def _private_key(key_spec: str) -> Any:  # noqa: ANN401 - moto's own kinds of keys
    """Return a key pair for a key that signs. moto would make one of RSA for every other, too, which takes seconds."""
    return None if key_spec == SYMMETRIC else generate_private_key(key_spec)


def _master_secret(path: Path) -> bytes:
    if not path.exists():
        write_private(path, secrets.token_bytes(32))
    return path.read_bytes()


def _refused_from_afar(environ: WSGIEnvironment) -> Answer | None:
    """Refuse what a web page could send: a page of another site, or a name that was made to point here."""
    host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
    if "HTTP_ORIGIN" in environ or not (host in _LOOPBACK_NAMES or host.endswith(".localhost")):
        return Answer.error(403, "AccessDenied", f"only programs on this machine may call, by {_LOOPBACK_NAMES}")
    return None


def _body(environ: WSGIEnvironment) -> bytes | None:
    """Return the request's body, or None for one over the limit."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # chunked: the server has removed the framing
        body: bytes = stream.read(BODY_BYTES_MAX + 1)
        return body if len(body) <= BODY_BYTES_MAX else None
    size = int(environ.get("CONTENT_LENGTH") or 0)
    return stream.read(size) if size <= BODY_BYTES_MAX else None


def _scope(authorization: str) -> tuple[str, str, str]:
    """Return access key, service and region of a signed request; all empty for one that is not signed."""
    _scheme, found, credential = authorization.partition("Credential=")
    parts = credential.partition(",")[0].split("/")
    return (parts[0], parts[3], parts[2]) if found and len(parts) >= 4 else ("", "", "")  # noqa: PLR2004 - key/date/region/service


def _request(environ: WSGIEnvironment, body: bytes, service: str, region: str, known: Known) -> Request:
    return Request(
        known=known,
        account=DEFAULT_ACCOUNT_ID,
        region=region,
        service=service,
        target=environ.get("HTTP_X_AMZ_TARGET", ""),
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        query=_query(environ),
        headers=environ,
        body=body,
    )


def _invocation(environ: WSGIEnvironment, body: bytes, region: str) -> Invocation | None:
    """Return what a request calls, if it calls a function."""
    found = _INVOCATION.fullmatch(environ["PATH_INFO"])
    if found is None or environ["REQUEST_METHOD"] != "POST":
        return None
    kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
    return Invocation(unquote(found[1]), region, kind, body)


def _query(environ: WSGIEnvironment) -> str:
    return str(environ.get("QUERY_STRING", ""))


def _kept_headers(environ: WSGIEnvironment) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if isinstance(value, str) and name.startswith(_ENVIRON_KEPT) and name not in _ENVIRON_DROPPED
    }


def _environ(method: str, path: str, query: str) -> WSGIEnvironment:
    """Return the WSGI environment of a request that did not come over the network."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": HOST,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _put_item(region: str, table: str, item: dict[str, Any]) -> Record:
    """Return the request that makes `item` from nothing."""
    return Record(
        service="dynamodb",
        region=region,
        method="POST",
        path="/",
        headers={"HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem", "CONTENT_TYPE": "application/x-amz-json-1.0"},
        # boto3 hands binary values out as bytes; on the wire, as here, they are base64.
        body=msgspec.json.encode({"TableName": table, "Item": item}),
    )
