"""What SageMaker starts: `train` learns from the files it was given, `serve` answers with scores.

Folders, port and paths are those that SageMaker prescribes for a container; neither run has a network.
"""

import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import msgspec

from runtime.anomaly.model import Model, ModelError, Request, judge, read_model, read_trades, train, write_model

PORT: Final = 8080
BODY_MAX: Final = 4096
FILES: Final = Path("opt/ml/input/data/trades")
MODEL: Final = Path("opt/ml/model/model.json")
FAILURE: Final = Path("opt/ml/output/failure")
"""What is written here, SageMaker shows as the reason."""


def main(arguments: Sequence[str], root: Path = Path("/")) -> int:
    """Train or serve; return 0, or 1 after saying why not."""
    if list(arguments) == ["serve"]:
        server(read_model(root / MODEL), ("0.0.0.0", PORT)).serve_forever()  # noqa: S104 - SageMaker's own network
    if list(arguments) != ["train"]:
        sys.stderr.write(f"must be called with train or serve, was {' '.join(arguments)!r}\n")
        return 1
    try:
        files = sorted(path for path in (root / FILES).rglob("*") if path.is_file())
        write_model(train(read_trades(files)), root / MODEL)
    except (ModelError, OSError) as error:
        (root / FAILURE).parent.mkdir(parents=True, exist_ok=True)
        (root / FAILURE).write_text(str(error))
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def server(model: Model, address: tuple[str, int]) -> ThreadingHTTPServer:
    """Return a server of `model`: GET /ping, POST /invocations with a `Request`; a bad one is answered with 400."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200 if self.path == "/ping" else 404, b"")

        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("content-length", "0"))
                if self.path != "/invocations" or not 0 < size <= BODY_MAX:
                    raise ModelError(f"must be POST /invocations with 1 to {BODY_MAX} bytes")
                asked = msgspec.json.decode(self.rfile.read(size), type=Request)
                given = judge(model, asked.market, asked.features)
            except (ModelError, msgspec.MsgspecError, ValueError) as error:
                self._answer(400, msgspec.json.encode({"error": str(error)}))
            else:
                self._answer(200, msgspec.json.encode(given))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing of each request: SageMaker counts them."""

    return ThreadingHTTPServer(address, Answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
