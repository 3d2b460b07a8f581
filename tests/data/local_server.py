"""A web server on this machine that behaves as it is told, well or badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What lies at a path.

    `statuses` are the first answers; `cuts` says after how many bytes the connection breaks, answer by answer.
    """

    content: bytes = b""
    ranges: bool = True
    length: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Serves `pages`, and notes each request's path and range in `asked`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        page = self.server.pages.get(self.path)
        status = 404 if page is None else page.statuses.pop(0) if page.statuses else 200
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page and page.ranges else 0
        if status == 200 and begin:
            status = 206 if begin < len(page.content) else 416
        self.send_response(status)
        if status not in (200, 206):
            for name, value in (page.headers if page else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = page.content[begin:]
        headers = {"Content-Length": str(len(body))} if page.length else {}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(page.content) - 1}/{len(page.content)}"
        for name, value in (headers | page.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
