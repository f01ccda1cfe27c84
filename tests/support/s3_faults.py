"""Inject faults into an object store: a proxy on loopback before a real one.

Clients sign the address that they speak to. The proxy passes their requests on as they are, Host included, so that the
server finds the signature right.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["InternalError", "SlowDown", "silence"]
STATUS = {"InternalError": 500, "SlowDown": 503}
SAID = {"InternalError": "We encountered an internal error. Please try again.", "SlowDown": "Please reduce your rate."}
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding"}


class FaultyProxy(ThreadingHTTPServer):
    """A proxy that passes S3 requests on to `backend` (http://host:port), unless it has a fault."""

    daemon_threads = True

    def __init__(self, backend: str) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.backend = urlsplit(backend).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.victims: Counter[Fault] = Counter()  # requests that met each fault
        self._fault: Fault | None = None
        self._until = 0.0
        self.closed = threading.Event()

    def misbehave(self, fault: Fault, seconds: float) -> None:
        """Have a fault for `seconds` from now. A request that meets silence is never answered, not even afterwards."""
        self._fault, self._until = fault, time.monotonic() + seconds

    @property
    def fault(self) -> Fault | None:
        """The fault that a request would meet now."""
        return self._fault if time.monotonic() < self._until else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: silence is meant to make clients give up."""


class _Request(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self._body()
        if (fault := self.server.fault) is None:
            self._pass_on(body)
            return
        self.server.victims[fault] += 1
        if fault == "silence":
            self.server.closed.wait()
        else:
            self._fail(fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _pass_on(self, body: bytes) -> None:
        server = http.client.HTTPConnection(self.server.backend, timeout=60)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in OF_THE_CONNECTION | {"expect"}:
                    server.putheader(name, value)
            if self.headers.get("Transfer-Encoding") == "chunked":
                server.putheader("Content-Length", str(len(body)))
            server.endheaders(body)
            answer = server.getresponse()
            content = answer.read()
        except OSError:  # the server is away: so is this one
            self.close_connection = True
            return
        finally:
            server.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_THE_CONNECTION | {"content-length"}:
                self.send_header(name, value)
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        self._send(length or "0", content)

    def _fail(self, fault: Fault) -> None:
        content = ERROR.format(fault, SAID[fault]).encode()
        self.send_response_only(STATUS[fault])
        self.send_header("Content-Type", "application/xml")
        self._send(str(len(content)), content)

    def _send(self, length: str, content: bytes) -> None:
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


@contextmanager
def before(backend: str) -> Iterator[FaultyProxy]:
    """Run a proxy before a server while the context lasts."""
    proxy = FaultyProxy(backend)
    serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield proxy
    finally:
        proxy.closed.set()
        proxy.shutdown()
        serving.join()
        proxy.server_close()
