"""The retrieval protocol of Search-R1 (arXiv:2503.09516, search_r1/search/retrieval_server.py): client and server.

POST /retrieve with ``{"queries": [str], "topk": int or null, "return_scores": bool}`` is answered by
``{"result": [[{"document": {"contents": "\\"Title\\"\\ntext", ...}, "score": float}, ...], ...]}``, one list a query,
in order; without scores each item is the bare document. Anything that trains against a Search-R1 server can use ours,
and `RemoteIndex` searches anyone's.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from workbench.errors import FormatError, SettingError, ToolError
from workbench.retrieval.pages import Searcher, content_id, from_contents, to_contents
from workbench.trajectory import Hit

LARGEST_BODY = 1 << 20
"""Bytes of a request that the server reads."""

LARGEST_TOPK = 1000
"""Hits a query that one request may ask for."""


class RemoteIndex:
    """A search server that speaks Search-R1's protocol, searched like a `SearchIndex`.

    Args:
        url: of the endpoint, such as "http://127.0.0.1:8000/retrieve".
        timeout_s: how long one request may take.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise SettingError(f"url must start with http:// or https://, got {url!r}")
        self.url, self.timeout_s = url, timeout_s

    def search(self, queries: Sequence[str], k: int = 3, exclude: Collection[str] = ()) -> list[list[Hit]]:
        """As `SearchIndex.search`, in one request; blank queries find nothing and are not sent.

        A document without an id gets one from its title and text. `exclude` is not part of the protocol: that many
        more hits are asked for, and the excluded ones dropped.

        Raises:
            ToolError: no answer in time, or one that says no.
            FormatError: an answer that is not the protocol's.
        """
        if isinstance(queries, str):
            raise SettingError(f"search takes a list of queries, got one text: search([{queries!r}])")
        if k < 1:
            raise SettingError(f"k must be at least 1, got {k}")
        asked = [query for query in queries if query.strip()]
        answers = iter(self._ask(asked, k + len(set(exclude))) if asked else ())
        return [_hits(next(answers), query, k, exclude) if query.strip() else [] for query in queries]

    def _ask(self, queries: list[str], topk: int) -> list[list[Any]]:
        body = json.dumps({"queries": queries, "topk": topk, "return_scores": True}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                reply = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
            raise ToolError(f"{self.url} answered {error.code} {error.reason}: {said}") from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", error)
            raise ToolError(f"no answer from {self.url} within {self.timeout_s} s ({why}); is it running?") from error
        except ValueError as error:
            raise FormatError(f"{self.url} answered something that is not JSON: {error}") from error
        result = reply.get("result") if isinstance(reply, dict) else None
        if not isinstance(result, list) or len(result) != len(queries):
            raise FormatError(f"{self.url} must answer {{'result': [one list a query]}}; got {str(reply)[:200]}")
        return result

    def __repr__(self) -> str:
        return f"RemoteIndex({self.url!r})"


def _hits(items: Any, query: str, k: int, exclude: Collection[str]) -> list[Hit]:
    try:
        hits = [_hit(item, query) for item in items]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"not a list of documents: {str(items)[:200]} ({type(error).__name__}: {error})") from error
    kept = [hit for hit in hits if hit.id not in exclude][:k]
    return [Hit(hit.id, hit.title, hit.text, hit.score, rank, query) for rank, hit in enumerate(kept)]


def _hit(item: Mapping[str, Any], query: str) -> Hit:
    document = item.get("document", item)
    title, text = from_contents(document["contents"])
    page_id = document.get("id")
    return Hit(
        content_id(title, text) if page_id is None else str(page_id),
        title,
        text,
        float(item.get("score", "nan")),
        query=query,
    )


class RetrieveServer(ThreadingHTTPServer):
    """Answers Search-R1's protocol from an index. `serve_forever()` runs it, `shutdown()` from a thread ends it.

    Args:
        index: what is searched.
        host: the address to listen on. Only this machine can reach the default.
        port: 0 takes a free one; see `url`.
        k: hits a query where the request's topk is null or absent.
    """

    daemon_threads = True

    def __init__(self, index: Searcher, host: str = "127.0.0.1", port: int = 8000, k: int = 3) -> None:
        self.index, self.k = index, k
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where to send requests to."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/retrieve"


def serve(index: Searcher, host: str = "127.0.0.1", port: int = 8000, k: int = 3) -> None:
    """Answer Search-R1's protocol until interrupted (Ctrl-C)."""
    with RetrieveServer(index, host, port, k) as server:
        print(f"searching at {server.url}; stop with Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


class _Refused(Exception):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: RetrieveServer
    timeout = 30.0  # seconds a client may take to send its request

    def do_POST(self) -> None:
        try:
            queries, topk, with_scores = _read_request(self._body(), self.server.k)
            found = self.server.index.search(queries, topk)
            self._reply(200, {"result": [[_item(hit, with_scores) for hit in hits] for hits in found]})
        except _Refused as refused:
            self._reply(refused.status, {"error": str(refused)})
        except Exception as error:  # the server outlives whatever one search does
            self._reply(500, {"error": f"{type(error).__name__}: {error}"})

    def do_GET(self) -> None:
        self._reply(405, {"error": 'send POST /retrieve with {"queries": ["..."], "topk": 3, "return_scores": true}'})

    def _body(self) -> bytes:
        if self.path.rstrip("/") != "/retrieve":
            raise _Refused(404, f"nothing at {self.path}; the endpoint is POST /retrieve")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refused(411, "the request needs a Content-Length")
        if int(length) > LARGEST_BODY:
            raise _Refused(413, f"the request has {length} bytes; at most {LARGEST_BODY} are read")
        return self.rfile.read(int(length))

    def _reply(self, status: int, reply: Mapping[str, Any]) -> None:
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: a training run sends thousands of requests."""


def _read_request(body: bytes, default_k: int) -> tuple[list[str], int, bool]:
    """queries, topk and return_scores of a request, checked."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"the request is not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise _Refused(400, f"the request must be a JSON object, got {type(asked).__name__}")
    queries, topk, with_scores = asked.get("queries"), asked.get("topk"), asked.get("return_scores", False)
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise _Refused(400, "queries must be a list of strings")
    topk = default_k if topk is None else topk
    if type(topk) is not int or not 1 <= topk <= LARGEST_TOPK:
        raise _Refused(400, f"topk must be null or a whole number from 1 to {LARGEST_TOPK}, got {topk!r}")
    if not isinstance(with_scores, bool):
        raise _Refused(400, f"return_scores must be true or false, got {with_scores!r}")
    return queries, topk, with_scores


def _item(hit: Hit, with_score: bool) -> dict[str, Any]:
    document = {"id": hit.id, "contents": to_contents(hit.title, hit.text)}
    return {"document": document, "score": hit.score} if with_score else document
