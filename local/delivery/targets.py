"""Hands a payload to whatever an ARN names: a function, a queue, a topic, a stream, a state machine, an API."""

import base64
import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local.callers import Caller
from local.cloud import Cloud
from local.delivery.inputs import at
from local.deploy import Deployment, Resource
from local.resolve import Json

PARTNERS: Final = "LOCAL_PARTNERS"
"""Environment variable: JSON that maps the host of a partner to where it is mocked on this machine."""
API_TIMEOUT_S: Final = 5.0
_KINDS: Final = ("lambda", "sqs", "sns", "kinesis", "firehose", "states")
_PERMANENT: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidParameter",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
        "ValidationException",
    }
)
_WITHOUT_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class DeliveryError(RuntimeError):
    """A payload could not be handed over. `is_permanent` when trying again will not help."""

    def __init__(self, code: str, message: str, *, is_permanent: bool) -> None:
        """Say what the receiver said."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.is_permanent = is_permanent


class Targets:
    """Delivers into one cloud, as the caller that AWS would be there."""

    def __init__(self, cloud: Cloud, deployment: Deployment) -> None:
        """Know the API destinations of a deployment."""
        self._cloud = cloud
        self._destinations = {
            str(each.placed.attributes["Arn"]): each for each in deployment.of_type("AWS::Events::ApiDestination")
        }
        self._connections = {
            str(each.placed.attributes["Arn"]): each for each in deployment.of_type("AWS::Events::Connection")
        }

    def can_deliver(self, arn: str) -> bool:
        """Return whether there is a way to such a target here."""
        return arn.split(":")[2] in _KINDS or ":api-destination/" in arn

    def deliver(self, arn: str, payload: str, caller: Caller, parameters: Mapping[str, Json] | None = None) -> None:
        """Hand `payload` over as `caller`. `parameters` are the target's own settings. Raises DeliveryError."""
        try:
            if ":api-destination/" in arn:
                self._call(self._destinations[arn], payload, parameters or {})
            else:
                self._send(arn, payload, caller, parameters or {})
        except ClientError as error:
            code = error.response["Error"]["Code"]
            message = error.response["Error"]["Message"]
            raise DeliveryError(code, message, is_permanent=code.split(":")[-1] in _PERMANENT) from error
        except BotoCoreError as error:
            raise DeliveryError(type(error).__name__, str(error), is_permanent=False) from error

    def _send(self, arn: str, payload: str, caller: Caller, parameters: Mapping[str, Json]) -> None:
        _arn, _aws, service, region, account, *rest = arn.split(":")
        client = self._cloud.client("stepfunctions" if service == "states" else service, region, caller)
        match service:
            case "lambda":
                client.invoke(FunctionName=arn, InvocationType="Event", Payload=payload.encode())
            case "sqs":
                url = f"{self._cloud.url}/{account}/{rest[0]}"
                group = parameters.get("SqsParameters", {})
                client.send_message(QueueUrl=url, MessageBody=payload, **group)
            case "sns":
                client.publish(TopicArn=arn, Message=payload)
            case "kinesis":
                path = parameters.get("KinesisParameters", {}).get("PartitionKeyPath") or parameters.get(
                    "KinesisParameters", {}
                ).get("PartitionKey")
                key = at(json.loads(payload), path) if path and path.startswith("$") else path
                client.put_record(StreamARN=arn, Data=payload.encode(), PartitionKey=str(key or uuid.uuid4()))
            case "firehose":
                name = arn.rpartition("/")[2]
                client.put_record(DeliveryStreamName=name, Record={"Data": payload.encode()})
            case "states":
                client.start_execution(stateMachineArn=arn, input=payload, name=str(uuid.uuid4()))
            case _:
                raise DeliveryError("Unsupported", f"no way to {arn} here", is_permanent=True)

    def _call(self, destination: Resource, payload: str, parameters: Mapping[str, Json]) -> None:
        """Call an API of others, at the address that stands for its host on this machine."""
        given = destination.wanted.properties
        address = urlsplit(given["InvocationEndpoint"])
        partners = json.loads(os.environ.get(PARTNERS, "{}"))
        if address.hostname not in partners:
            raise DeliveryError("NoPartner", f"{PARTNERS} names no mock of {address.hostname}", is_permanent=True)
        url = partners[address.hostname] + address.path
        http = parameters.get("HttpParameters", {})
        for value in http.get("PathParameterValues", []):
            url = url.replace("*", value, 1)
        if query := http.get("QueryStringParameters"):
            url += "?" + urlencode(query)
        headers = {
            "Content-Type": "application/json",
            **http.get("HeaderParameters", {}),
            **_authorization(self._connections[given["ConnectionArn"]].wanted.properties),
        }
        request = urllib.request.Request(url, payload.encode(), headers, method=given["HttpMethod"])  # noqa: S310 - a mock on this machine
        try:
            with _WITHOUT_PROXY.open(request, timeout=API_TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            is_permanent = error.code < 500 and error.code not in {401, 407, 409, 429}  # noqa: PLR2004 - as EventBridge
            raise DeliveryError(f"HTTP {error.code}", error.reason, is_permanent=is_permanent) from error
        except OSError as error:
            raise DeliveryError("NoAnswer", str(error), is_permanent=False) from error


def _authorization(connection: Mapping[str, Json]) -> dict[str, str]:
    parameters = connection.get("AuthParameters", {})
    match connection["AuthorizationType"]:
        case "API_KEY":
            key = parameters["ApiKeyAuthParameters"]
            return {key["ApiKeyName"]: str(key["ApiKeyValue"])}
        case "BASIC":
            login = parameters["BasicAuthParameters"]
            pair = f"{login['Username']}:{login['Password']}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}
