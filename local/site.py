"""The built site as the front door serves it: from memory, with the security headers that CloudFront adds in AWS."""

import mimetypes
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

SITE_BYTES_MAX: Final = 64 * 2**20
INDEX: Final = b"/index.html"
_FOR_EVER: Final = b"public, max-age=31536000, immutable"
"""For files whose name changes with their content."""
_CHECK_EACH_TIME: Final = b"no-cache"
_HASHED: Final = b"/assets/"
_LOGO_STYLE: Final = "sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY="
"""The one inline style on the page: the attribution logo of the chart library, which its licence wants shown."""


class Site:
    """Every file of a folder. A new build is picked up at the next request for the page."""

    def __init__(self, folder: Path, port: int) -> None:
        """Serve `folder` to pages that may connect to this machine's `port` and to nothing else."""
        self._folder = folder
        self._headers = b"".join(b"%s: %s\r\n" % header for header in _security_headers(port).items())
        self._files: dict[bytes, tuple[bytes, bytes]] = {}
        self._built_at = 0

    def answer(self, method: bytes, path: bytes, known: bytes) -> bytes:
        """Return a whole HTTP answer, for HEAD without its body; `known` is the entity tag the browser has already."""
        whole = self._answer(method, path, known)
        head, end, _body = whole.partition(b"\r\n\r\n")
        return head + end if method == b"HEAD" else whole

    def _answer(self, method: bytes, path: bytes, known: bytes) -> bytes:
        if method not in {b"GET", b"HEAD"}:
            return self._made(b"405 Method Not Allowed", b"only GET and HEAD\n", b"allow: GET, HEAD\r\n")
        name = INDEX if path == b"/" else path
        if name == INDEX or not self._files:
            self._load_if_rebuilt()
        if name not in self._files:
            if INDEX not in self._files:
                return self._made(b"503 Service Unavailable", b"the trading screen is not built; `make up` builds it\n")
            return self._made(b"404 Not Found", b"there is no such page\n")
        head, content = self._files[name]
        tag = head.partition(b"etag: ")[2].partition(b"\r\n")[0]
        if known == tag:
            return b"HTTP/1.1 304 Not Modified\r\n" + head + b"\r\n"
        return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (head, len(content), content)

    def _made(self, status: bytes, text: bytes, extra: bytes = b"") -> bytes:
        return b"HTTP/1.1 %s\r\n%scontent-type: text/plain; charset=utf-8\r\n%scontent-length: %d\r\n\r\n%s" % (
            status,
            self._headers,
            extra,
            len(text),
            text,
        )

    def _load_if_rebuilt(self) -> None:
        try:
            built_at = (self._folder / "index.html").stat().st_mtime_ns
        except OSError:
            self._files = {}
            return
        if built_at != self._built_at or not self._files:
            self._files = {name: (self._head(name, content), content) for name, content in _read(self._folder).items()}
            self._built_at = built_at

    def _head(self, name: bytes, content: bytes) -> bytes:
        kind, _encoding = mimetypes.guess_type(name.decode())
        lasting = _FOR_EVER if name.startswith(_HASHED) else _CHECK_EACH_TIME
        return self._headers + b'content-type: %s\r\ncache-control: %s\r\netag: "%s"\r\n' % (
            (kind or "application/octet-stream").encode() + b"; charset=utf-8" * bool(kind and "text" in kind),
            lasting,
            sha256(content).hexdigest()[:32].encode(),
        )


def _read(folder: Path) -> dict[bytes, bytes]:
    """Return every file by its path. Raises ValueError for a site that does not fit in memory."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in paths)
    if total > SITE_BYTES_MAX:
        raise ValueError(f"{folder} holds {total} bytes; a site has at most {SITE_BYTES_MAX}")
    return {b"/" + path.relative_to(folder).as_posix().encode(): path.read_bytes() for path in paths}


def _security_headers(port: int) -> Mapping[bytes, bytes]:
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self' '{_LOGO_STYLE}'; img-src 'self'; "
        f"connect-src 'self' ws://127.0.0.1:{port} ws://localhost:{port}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        b"content-security-policy": policy.encode(),
        b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=()",
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
    }
