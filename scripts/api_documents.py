"""Writes docs/api/: the API described for machines, as the gateways serve it.

.venv/bin/python -m scripts.api_documents
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from runtime.gateway.api_documents import asyncapi, openapi

FOLDER: Final = Path(__file__).parents[1] / "docs" / "api"
DOCUMENTS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {"openapi.json": openapi, "asyncapi.json": asyncapi}


def text_of(document: dict[str, Any]) -> str:
    """Return a document as it is committed."""
    return json.dumps(document, indent=1) + "\n"


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in DOCUMENTS.items():
        (FOLDER / name).write_text(text_of(make()))
        print(f"docs/api/{name}")


if __name__ == "__main__":
    main()
