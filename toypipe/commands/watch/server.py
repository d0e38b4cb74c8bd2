"""`toypipe watch`: a page on this machine that shows trainings while they run.

It reads files only, so it holds up no training and lives on when one dies.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from toypipe.commands.report.charts import bundle
from toypipe.commands.watch import view
from toypipe.errors import ToypipeError
from toypipe.pipeline.run_store import KEY
from toypipe.pipeline.signals import Interrupted

ADDRESS = "127.0.0.1"  # which other machines cannot reach
HERE = Path(__file__).parent
MOST = 50  # runs to draw at once
Answer = tuple[str, bytes]  # the type of the content, and the content


@cache
def _file(name: str, kind: str) -> Answer:
    parts = [HERE / name]
    if name == "watch.css":
        parts.insert(0, HERE.parent / "report/page.css")
    return kind, b"".join(part.read_bytes() for part in parts)


@cache
def _vega() -> Answer:
    return "text/javascript", bundle().encode()


FILES: dict[str, Callable[[], Answer]] = {
    "/": lambda: _file("page.html", "text/html"),
    "/watch.css": lambda: _file("watch.css", "text/css"),
    "/watch.js": lambda: _file("watch.js", "text/javascript"),
    "/vega.js": _vega,
}


class Handler(BaseHTTPRequestHandler):
    """Answers one request; whoever asks by another name than this machine's is refused."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a connection may be silent

    def do_GET(self) -> None:
        """Send a file of the page, or what it shows."""
        # A page from elsewhere may have a name that leads here, but it cannot choose this header.
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in {ADDRESS, "localhost"}:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine alone")
            return
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        opened, compared = (set(asked.get(name, [])[:MOST]) for name in ("open", "compare"))
        if url.path in FILES:
            self._send(HTTPStatus.OK, *FILES[url.path]())
        elif url.path == "/runs" and all(map(KEY.fullmatch, opened | compared)):
            content = json.dumps(view.page(opened, compared)).encode()
            self._send(HTTPStatus.OK, "application/json", content)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such page")

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        # Vega sets styles, and compiles what it draws.
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
            " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing: the terminal is for errors."""


class Server(ThreadingHTTPServer):
    """Serves the page to this machine."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows, two could have the same port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def listen(port: int) -> Server:
    """Return a server that listens; ToypipeError names the next free port if this one is taken."""
    try:
        return Server((ADDRESS, port), Handler)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        why = "is taken" if error.errno == errno.EADDRINUSE else "is not for everybody"
    raise ToypipeError(f"port {port} {why}: toypipe watch --port {_next_free(port)}")


def _next_free(port: int) -> int:
    """Return the first port after one, or a free one anywhere, on which one can listen."""
    for other in (*range(max(port + 1, 1024), min(port + 100, 65536)), 0):
        try:
            with Server((ADDRESS, other), Handler) as server:
                return server.server_port
        except OSError:
            continue
    return 0


def run(port: int) -> None:
    """Serve the page until Ctrl-C. Raises ToypipeError if one cannot listen on the port."""
    with listen(port) as server:
        print(f"http://{ADDRESS}:{server.server_port} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except Interrupted as error:
            if error.exit_code != 128 + signal.SIGINT:
                raise
