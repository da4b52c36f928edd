"""`python -m runtime.controls`: halt markets and withdrawals at once; ask for openings and limits, sign and approve."""

import argparse
import getpass
import json
import logging
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.controls.approvals import approval_text
from runtime.controls.register import Register, UnknownControlError
from runtime.controls.rules import ADJUSTABLE, ALL, HALTED, LIMITS, OPEN, STATUS, STATUSES, WITHDRAWALS
from runtime.shared.request_table import approvals_of
from runtime.shared.settings import read_settings

LIFE_S: Final = 3600
_NOTES: Final = f"""
limits: {", ".join(ADJUSTABLE)}

environment:
  BRAKE_FUNCTION    function that halts (halt, cancel-only, halt-withdrawals)
  ASK_FUNCTION      function that takes what others must approve (ask)
  APPROVE_FUNCTION  function that takes signatures (approve)
  CONTROL_TABLE     DynamoDB table of controls (show, sign)
"""


class ToolError(Exception):
    """Something the operator can put right; its text is all they need to see."""


class ControlsSettings(BaseSettings):
    """Environment of the tool; what only some commands need may be empty, as no operator may do everything."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    brake_function: str = ""
    ask_function: str = ""
    approve_function: str = ""
    control_table: str = ""

    def needed(self, name: str) -> str:
        """Return a setting. Raises ToolError where it is empty."""
        value = str(getattr(self, name))
        if not value:
            raise ToolError(f"environment variable {name.upper()} is missing: this command needs it")
        return value


class Tool:
    """Carries out one command; each method returns what to print."""

    def __init__(self, settings: ControlsSettings) -> None:
        """Work with what `settings` names."""
        self._settings = settings

    def halt(self, arguments: argparse.Namespace) -> str:
        """Halt a market, or all."""
        return self._brake(arguments, {"kind": STATUS, "symbol": arguments.symbol, "value": "halt"})

    def cancel_only(self, arguments: argparse.Namespace) -> str:
        """Let a market, or all, only cancel."""
        return self._brake(arguments, {"kind": STATUS, "symbol": arguments.symbol, "value": "cancel-only"})

    def halt_withdrawals(self, arguments: argparse.Namespace) -> str:
        """Halt every withdrawal."""
        return self._brake(arguments, {"kind": WITHDRAWALS, "value": HALTED})

    def ask(self, arguments: argparse.Namespace) -> str:
        """Ask for what others must approve."""
        asked: dict[str, Any] = {"kind": arguments.what}
        if arguments.what == WITHDRAWALS:
            asked["value"] = arguments.value
        else:
            asked["symbol"] = arguments.symbol
            asked |= {"value": arguments.value} if arguments.what == STATUS else {"limits": dict(arguments.limits)}
        answer = self._call("ask_function", _request(arguments, asked))
        return f"control {answer['id']} waits for approvals: python -m runtime.controls sign {answer['id']} --key FILE"

    def show(self, arguments: argparse.Namespace) -> str:
        """Show a control, whole, and who has approved it."""
        found = self._found(arguments.control_id)
        shown = {name: value for name, value in found.items() if not name.startswith("approval#")}
        return json.dumps(shown | {"approved_by": sorted(approvals_of(found))}, indent=2, sort_keys=True)

    def sign(self, arguments: argparse.Namespace) -> str:
        """Sign a control as it is stored now; print the word, which `approve` takes. Nothing is sent."""
        key = _private_key(arguments.key)
        found, expires_at = self._found(arguments.control_id), int(time.time()) + arguments.life_s
        return json.dumps(
            {
                "control_id": found["id"],
                "approver": key.public_key().public_bytes_raw().hex(),
                "expires_at": expires_at,
                "signature": key.sign(approval_text(found, expires_at)).hex(),
            }
        )

    def approve(self, arguments: argparse.Namespace) -> str:
        """Hand a signature in."""
        text = sys.stdin.read() if str(arguments.word) == "-" else arguments.word.read_text()
        try:
            word = json.loads(text)
        except ValueError as error:
            raise ToolError(f"{arguments.word} is not what `sign` prints: {error}") from None
        answer = self._call("approve_function", word)
        return f"{answer['approvals']} of {answer['needed']} approvals: {answer['outcome']}"

    def _brake(self, arguments: argparse.Namespace, asked: dict[str, Any]) -> str:
        answer = self._call("brake_function", _request(arguments, asked))
        return f"control {answer['id']}: {answer['outcome']}"

    def _found(self, name: str) -> dict[str, Any]:
        return Register(self._settings.needed("control_table")).control(name)

    def _call(self, function: str, payload: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever `sign` wrote
        name = self._settings.needed(function)
        answer = boto3.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        told: dict[str, Any] = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise ToolError(f"{told.get('errorType', 'error')}: {told.get('errorMessage', told)}")
        return told


def _request(arguments: argparse.Namespace, asked: dict[str, Any]) -> dict[str, Any]:
    named = {"control_id": arguments.id or f"control-{secrets.token_hex(6)}", "asked_by": arguments.asked_by}
    return named | {"reason": arguments.reason} | asked


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ToolError(f"{path} holds no private key as PEM without a password: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ToolError(f"{path} must hold an Ed25519 key, holds {type(key).__name__}")
    return key


def _limit(text: str) -> tuple[str, str | int]:
    """Check one limit, such as max_quantity=12.5 or band_up_ppm=1200000."""
    name, _, value = text.partition("=")
    if name not in ADJUSTABLE or not value:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE of {', '.join(ADJUSTABLE)}, was {text!r}")
    counted = name.endswith(("_ppm", "_max")) and value.isascii() and value.isdigit()
    return name, int(value) if counted else value


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m runtime.controls",
        description=__doc__,
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--reason", required=True, help="a code that customers hear, such as price-move")
    asking.add_argument("--id", help="8 to 64 characters; the same again is the same control, so a retry is safe")
    asking.add_argument("--asked-by", default=getpass.getuser(), help="who asks: name, or public key (default: you)")
    for name, told in (("halt", "halt a market at once"), ("cancel-only", "let a market only cancel, at once")):
        one = commands.add_parser(name, parents=[asking], help=told)
        one.add_argument("symbol", metavar="SYMBOL", help=f"such as BTCUSDT, or {ALL}")
    commands.add_parser("halt-withdrawals", parents=[asking], help="halt every withdrawal at once")
    whats = commands.add_parser("ask", help="ask for what two others must approve").add_subparsers(
        dest="what", required=True
    )
    one = whats.add_parser(STATUS, parents=[asking], help="another status of a market")
    one.add_argument("symbol", metavar="SYMBOL", help=f"such as BTCUSDT, or {ALL}")
    one.add_argument("value", choices=tuple(STATUSES))
    one = whats.add_parser(LIMITS, parents=[asking], help="other limits of a market")
    one.add_argument("symbol", metavar="SYMBOL", help="such as BTCUSDT")
    one.add_argument("limits", metavar="NAME=VALUE", nargs="+", type=_limit)
    one = whats.add_parser(WITHDRAWALS, parents=[asking], help="let withdrawals out again")
    one.add_argument("value", choices=(OPEN,))
    one = commands.add_parser("show", help="show a control and who has approved it")
    one.add_argument("control_id", metavar="ID")
    one = commands.add_parser("sign", help="sign a control as it is now, and print the word; nothing is sent")
    one.add_argument("control_id", metavar="ID")
    one.add_argument("--key", type=Path, required=True, metavar="FILE", help="Ed25519 private key (PEM)")
    one.add_argument("--life-s", type=int, default=LIFE_S, help="seconds until it ends (default: %(default)s)")
    one = commands.add_parser("approve", help="hand a signature in; the second carries the control out")
    one.add_argument("word", type=Path, metavar="FILE", help="what `sign` printed; - reads it from standard input")
    return top


def main() -> int:
    """Return 0, or 1 after one clear line on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        arguments = parser().parse_args()
        tool = Tool(read_settings(ControlsSettings))
        command: Callable[[argparse.Namespace], str] = getattr(tool, arguments.command.replace("-", "_"))
        text = command(arguments)
    except (ToolError, UnknownControlError, BotoCoreError, ClientError, OSError) as error:
        sys.stderr.write(f"error: {error or type(error).__name__}\n")
        return 1
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
