"""What the command line hands to the functions, and what a wrong call is told."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.controls import __main__ as tool


class FakeLambda:
    def __init__(self, answer: dict[str, Any], *, fails: bool) -> None:
        self.answer, self.fails = answer, fails
        self.called: list[tuple[str, dict[str, Any]]] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.called.append((FunctionName, json.loads(Payload)))
        failed = {"FunctionError": "Unhandled"} if self.fails else {}
        return failed | {"Payload": io.BytesIO(json.dumps(self.answer).encode())}


def ran(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], *words: str, fails: bool = False) -> tuple[int, Any]:
    fake = FakeLambda(answer, fails=fails)
    monkeypatch.setattr("boto3.client", lambda _service: fake)
    monkeypatch.setattr("sys.argv", ["controls", *words])
    return tool.main(), fake.called


def test_a_halt_calls_the_brake_and_limits_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAKE_FUNCTION", "brake")
    monkeypatch.setenv("ASK_FUNCTION", "ask")
    named = ("--reason", "price-move", "--id", "halt-0001", "--asked-by", "ani")
    answer = {"id": "halt-0001", "outcome": "done"}
    asked = {"control_id": "halt-0001", "asked_by": "ani", "reason": "price-move"}
    _, called = ran(monkeypatch, answer, "halt", "BTCUSDT", *named)
    assert called == [("brake", asked | {"kind": "status", "symbol": "BTCUSDT", "value": "halt"})]
    _, called = ran(monkeypatch, answer, "ask", "limits", "BTCUSDT", "band_up_ppm=1200000", "max_quantity=5", *named)
    limits = {"band_up_ppm": 1_200_000, "max_quantity": "5"}
    assert called == [("ask", asked | {"kind": "limits", "symbol": "BTCUSDT", "limits": limits})]
    _, called = ran(monkeypatch, answer, "halt-withdrawals", *named)
    assert called == [("brake", asked | {"kind": "withdrawals", "value": "halt"})]


def test_what_a_function_refuses_is_one_clear_line_and_so_is_a_variable_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BRAKE_FUNCTION", raising=False)
    words = ("halt", "BTCUSDT", "--reason", "price-move")
    assert ran(monkeypatch, {}, *words)[0] == 1
    assert capsys.readouterr().err == "error: environment variable BRAKE_FUNCTION is missing: this command needs it\n"
    monkeypatch.setenv("BRAKE_FUNCTION", "brake")
    refused = {"errorType": "StatusError", "errorMessage": "look again"}
    assert ran(monkeypatch, refused, *words, fails=True)[0] == 1
    assert capsys.readouterr().err == "error: StatusError: look again\n"


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    with pytest.raises(tool.ToolError, match=r"key\.pem holds no private key"):
        tool._private_key(path)


@pytest.mark.parametrize("words", [("ask", "limits", "BTCUSDT", "tick=1", "--reason", "a"), ("halt", "BTCUSDT"), ()])
def test_a_wrong_call_is_explained(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["controls", *words])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    assert caught.value.code == 2
