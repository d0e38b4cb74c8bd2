"""A server on this machine that sends what real ones have sent, by the path that is asked for."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

import numpy as np

CONTENT = np.random.default_rng(0).bytes(200_000)
SIZE = len(CONTENT)
HTML = b"<html>please log in</html>"
TENTH = SIZE // 10

Send = Callable[[bytes], None]
Sleep = Callable[[float], bool]


def head(status: str = "200 OK", **fields: object) -> bytes:
    """Return the head of an answer; `content_length` stands for Content-Length."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode()


def found(start: int | None, size: object = SIZE) -> bytes:
    """Return the head of a right answer, to a request for all or for a range."""
    if start is None:
        return head(content_length=size)
    return head(
        "206 Partial Content",
        content_length=SIZE - start,
        content_range=f"bytes {start}-{SIZE - 1}/{size}",
    )


def answer(kind: str, start: int | None, send: Send, sleep: Sleep) -> None:  # noqa: C901, PLR0912, PLR0915
    """Send the answer of one kind of server to a request from a byte on, if it names one."""
    rest = CONTENT[start or 0 :]
    match kind:
        case "good":
            send(found(start) + rest)
        case "404":
            send(head("404 Not Found", content_length=len(HTML)) + HTML)
        case "500":
            send(head("500 Oh\x1b[31m no", content_length=0))
        case "shorter":
            send(found(start, SIZE - 1) + rest[:-1])
        case "longer":
            send(found(start, SIZE + 1) + rest + b"x")
        case "nonsense length":
            send(head(content_length="1, 2"))
        case "other bytes":
            send(found(start) + bytes(len(rest)))
        case "other bytes at the end":
            send(found(start) + rest[:-1] + b"x")
        case "silent":
            sleep(60)
        case "silent after the head":
            send(found(start))
            sleep(60)
        case "silent halfway":
            send(found(start) + rest[:100])
            sleep(60)
        case "drips":
            send(found(start))
            for byte in rest:
                send(bytes([byte]))
                if sleep(0.02):
                    break
        case "slow":
            send(found(start))
            for i in range(0, len(rest), 4000):
                send(rest[i : i + 4000])
                if sleep(0.01):
                    break
        case "breaks":
            send(found(start) + rest[:TENTH])
        case "breaks, other bytes":
            send(found(start) + bytes(len(rest[:TENTH])))
        case "breaks, no ranges":
            send(found(None) + CONTENT[:TENTH])
        case "breaks, in chunks":
            send(head(transfer_encoding="chunked") + b"1000\r\n" + CONTENT[:100])
        case "ends early, no length":
            send(head() + CONTENT[:TENTH])
        case "loops":
            send(head("302 Found", location="/loops", content_length=0))
        case "moved":
            send(head("302 Found", location="/good", content_length=0))
        case "moved nowhere":
            send(head("302 Found", location="http://[", content_length=0))
        case "login page":
            send(head(content_type="text/html", content_length=len(HTML)) + HTML)
        case "login page, no length":
            send(head(content_type="text/html; charset=utf-8") + HTML)
        case "no ranges":
            send(found(None) + CONTENT)
        case "other range":
            begin = 0 if start is None else start + 1
            fields = {"content_range": f"bytes {begin}-{SIZE - 1}/{SIZE}"}
            send(head("206 Partial Content", **fields) + CONTENT[begin : begin + TENTH])
        case "range of another file":
            fields = {"content_range": f"bytes {start or 0}-{SIZE}/{SIZE + 1}"}
            send(head("206 Partial Content", **fields) + rest + b"x")
        case "range of nothing":
            send(head("206 Partial Content", content_length=len(rest)) + rest)
        case "range refused":
            refused = head("416 Range Not Satisfiable", content_length=0)
            send(found(None) + CONTENT if start is None else refused)
        case "range always refused":
            send(head("416 Range Not Satisfiable", content_length=0))
        case "encoding claimed":  # as some do for any .tar.gz, which then must not be unpacked
            send(head(content_length=SIZE, content_encoding="gzip") + CONTENT)
        case "no length":
            send(head() + CONTENT)
        case "chunks":
            send(head(transfer_encoding="chunked"))
            send(b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, CONTENT))
        case "more than promised":
            send(found(start) + rest + b"more")
        case "more, no length":
            send(head() + CONTENT + b"more")
        case "endless":
            send(head())
            while not sleep(0):
                send(bytes(10_000))
        case "another protocol":
            send(b"220 this \x1b[2Jis no web server\r\n")
        case "hangs up":
            pass
        case _:
            raise ValueError(kind)


class Server:
    """Where the server is, and what it has been asked."""

    def __init__(self, port: int) -> None:
        """Be at this port of this machine."""
        self.port = port
        self.asked: list[tuple[str, int | None]] = []  # kind, first byte of the range

    def url(self, kind: str) -> str:
        """Return where a kind of server answers."""
        return f"http://127.0.0.1:{self.port}/{kind.replace(' ', '_')}"


@contextmanager
def serve() -> Iterator[Server]:
    """Serve until the end of a `with`."""
    over = threading.Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            request = b""
            while b"\r\n\r\n" not in request and (data := self.request.recv(65536)):
                request += data
            if not request:
                return
            kind = request.split()[1][1:].decode().replace("_", " ").partition("?")[0]
            match = re.search(rb"\r\nrange: bytes=(\d+)-\r\n", request.lower())
            start = int(match[1]) if match else None
            server.asked.append((kind, start))
            if b"\r\naccept-encoding: identity\r\n" not in request.lower():
                kind = "500"  # compressed in transit, a file has another length, and no ranges
            with suppress(ConnectionError):
                answer(kind, start, self.request.sendall, over.wait)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        tcp.daemon_threads = True
        server = Server(tcp.server_address[1])
        threading.Thread(target=tcp.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server
        finally:
            over.set()
            tcp.shutdown()
