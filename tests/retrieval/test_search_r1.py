"""Search-R1's protocol: our client and our server against each other, and each against bad input."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from workbench.errors import FormatError, SettingError, ToolError
from workbench.retrieval import Page, RemoteIndex, SearchIndex
from workbench.retrieval.search_r1 import LARGEST_BODY, RetrieveServer

PAGES = [
    Page("p1", 'Ed "Ace" Wood', "A film by Tim Burton.\nWith Depp."),
    Page("p2", "Tim Burton", "A director."),
    Page("p3", "Lyon", "A city."),
]


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def index():
    return SearchIndex.build(PAGES, progress=False)


@pytest.fixture(scope="module")
def server(index):
    with running(RetrieveServer(index, port=0, k=1)) as server:
        yield server


def send(server, body: bytes, path="/retrieve", method="POST", headers=None):
    """(status, reply) of a request."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_remote_index_finds_what_the_index_finds(server, index):
    remote = RemoteIndex(server.url)
    queries = ["Tim Burton film", "", "Lyon", "of the", "zzzz"]
    assert remote.search(queries, k=2) == index.search(queries, k=2)
    assert remote.search(["Tim Burton"], exclude=["p2"]) == index.search(["Tim Burton"], exclude=["p2"])
    assert remote.search(["", " "]) == [[], []]


def test_the_reply_is_search_r1s(server):
    status, reply = send(server, b'{"queries": ["Burton", "nothing"], "topk": 2, "return_scores": true}')
    assert status == 200
    (first, second), nothing = reply["result"]
    assert first["document"] == {"id": "p2", "contents": '"Tim Burton"\nA director.'}
    assert second["document"]["contents"] == '"Ed "Ace" Wood"\nA film by Tim Burton.\nWith Depp.'
    assert first["score"] > second["score"] > 0
    assert nothing == []


def test_without_scores_the_items_are_bare_documents_and_topk_null_is_the_servers(server):
    for body in (b'{"queries": ["Burton"], "topk": null, "return_scores": false}', b'{"queries": ["Burton"]}'):
        assert send(server, body) == (200, {"result": [[{"id": "p2", "contents": '"Tim Burton"\nA director.'}]]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not json", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "must be a JSON object, got list"),
        (b"{}", "queries must be a list of strings"),
        (b'{"queries": "one"}', "queries must be a list of strings"),
        (b'{"queries": [1]}', "queries must be a list of strings"),
        (b'{"queries": [], "topk": 0}', "topk must be null or a whole number from 1 to 1000, got 0"),
        (b'{"queries": [], "topk": true}', "got True"),
        (b'{"queries": [], "topk": "3"}', "got '3'"),
        (b'{"queries": [], "return_scores": "no"}', "return_scores must be true or false, got 'no'"),
    ],
)
def test_a_bad_request_is_told_why(server, body, message):
    status, reply = send(server, body)
    assert status == 400
    assert message in reply["error"]


def test_other_paths_methods_and_sizes_are_refused(server):
    assert send(server, b"{}", path="/other")[0] == 404
    assert send(server, None, method="GET")[0] == 405
    status, reply = send(server, b"", headers={"Content-Length": str(LARGEST_BODY + 1)})
    assert status == 413 and str(LARGEST_BODY) in reply["error"]
    assert send(server, b"", headers={"Content-Length": "-1"})[0] == 411
    assert send(server, b'{"queries": []}') == (200, {"result": []})  # and it still answers


def test_a_search_that_breaks_does_not_end_the_server():
    class Broken:
        def search(self, queries, k=3, exclude=()):
            raise RuntimeError("disk on fire")

    with running(RetrieveServer(Broken(), port=0)) as server:
        for _ in range(2):
            with pytest.raises(ToolError, match="answered 500 .*RuntimeError: disk on fire"):
                RemoteIndex(server.url).search(["x"])


@contextmanager
def a_server_that_says(reply: bytes):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    with running(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}/retrieve"


def test_documents_without_ids_or_scores_are_hits():
    # as the reference server sends them for a Lucene index: title and text beside contents, no id
    item = {"title": '"Ed Wood"', "text": "A film.", "contents": '"Ed Wood"\nA film.'}
    with a_server_that_says(json.dumps({"result": [[item, {"document": item, "score": 2}]]}).encode()) as url:
        bare, scored = RemoteIndex(url).search(["wood"])[0]
    assert (bare.title, bare.text, bare.rank, bare.query) == ("Ed Wood", "A film.", 0, "wood")
    assert bare.id == scored.id and bare.id.startswith("Ed Wood#")
    assert bare.score != bare.score and scored.score == 2.0  # NaN: none was sent


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "must answer"),
        (b'{"result": []}', "one list a query"),
        (b'{"result": [[{"document": {}}]]}', "not a list of documents"),
        (b'{"result": [3]}', "not a list of documents"),
    ],
)
def test_an_answer_outside_the_protocol_is_an_error(reply, message):
    with a_server_that_says(reply) as url, pytest.raises(FormatError, match=message):
        RemoteIndex(url).search(["x"])


def test_no_server_and_a_silent_server_are_tool_errors():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/retrieve"
        with pytest.raises(ToolError, match=r"no answer from .* within 0.05 s \(.*timed out\); is it running"):
            RemoteIndex(url, timeout_s=0.05).search(["x"])
    with pytest.raises(ToolError, match="no answer from .*refused"):
        RemoteIndex(url, timeout_s=1).search(["x"])


def test_wrong_settings_say_what_is_right():
    with pytest.raises(SettingError, match="http:// or https://, got 'file:///etc/passwd'"):
        RemoteIndex("file:///etc/passwd")
    with pytest.raises(SettingError, match="list of queries"):
        RemoteIndex("http://127.0.0.1:1/retrieve").search("x")
    with pytest.raises(SettingError, match="at least 1"):
        RemoteIndex("http://127.0.0.1:1/retrieve").search(["x"], k=0)
