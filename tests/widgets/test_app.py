"""The server of the app, and the commands `workbench serve` and `workbench users`."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.widgets.serving import serving
from tests.widgets.visits import no_training
from widgets import app
from widgets.pages.trainer import Trainer
from workbench.cli import main
from workbench.store import Store

# ---------------------------------------------------------------- the server


@pytest.fixture
def address(full: Store) -> Iterator[str]:
    with serving(lambda: app.app_server(full, Trainer(full, no_training))) as found:
        yield found


def get(address: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    connection.request("GET", f"{where.path}?{where.query}", headers=headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_every_page_comes_up_and_names_the_others(address: str):
    for path, title in (("/", "Runs"), ("/step", "Step through one, update 2"), ("/train", "Train")):
        status, text = get(address + path)
        assert status == 200 and f"<h1>{title}</h1>" in text
        assert all(f'href="{there}"' in text for there in ("./", "./step", "./train"))
        assert 'aria-current="page"' in text and "Log out" not in text


def test_what_goes_wrong_is_shown_as_text(address: str):
    status, text = get(address + "/?run=%3Cscript%3Ealert(1)%3C/script%3E")
    assert status == 200 and "no run &#39;&lt;script&gt;alert(1)" in text and "<script>alert" not in text


def test_a_websocket_of_another_site_is_refused(address: str):
    def knock(origin: str) -> int:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "bokeh, token"}
        return get(address + "/ws", {**headers, "Origin": origin})[0]

    assert knock("http://evil.example") == knock(address.replace("127.0.0.1", "evil.example")) == 403


def test_origins_are_this_servers_own_names():
    assert app._own_origins("127.0.0.1", 5006) == ["127.0.0.1:5006", "localhost:5006"]
    everywhere = app._own_origins("0.0.0.0", 80)
    assert f"{socket.gethostname().lower()}:80" in everywhere and "0.0.0.0:80" not in everywhere
    assert "192.0.2.7:80" in app._own_origins("192.0.2.7", 80)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("lab.example.org", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, loopback: bool):
    assert app._is_loopback(address) == loopback


def test_a_server_that_anybody_reaches_is_warned_of(store: Store, capsys: pytest.CaptureFixture[str]):
    class Bound:
        port = 5006

    app._tell(store, Bound(), "127.0.0.1", guarded=False)  # type: ignore[arg-type]
    app._tell(store, Bound(), "0.0.0.0", guarded=True)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    app._tell(store, Bound(), "0.0.0.0", guarded=False)  # type: ignore[arg-type]
    warned = capsys.readouterr().err
    assert "WARNING: other machines reach 0.0.0.0, and nobody has to log in" in warned
    assert "reads every rollout of this lab, edits its rewards and starts trainings" in warned
    assert "--auth users.json" in warned


# ---------------------------------------------------------------- the commands


def typed(*words: str) -> int:
    return main(list(words))


def test_a_port_that_is_taken_says_which_to_type(empty_lab: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert typed("serve", str(empty_lab), "--port", str(port), "--no-show") == 2
    assert f"port {port}: Address already in use. Another port: --port {port + 1}" in capsys.readouterr().err


@pytest.mark.parametrize("proxied", [True, False])
def test_a_proxy_is_believed_only_where_there_is_one(empty_lab: Path, monkeypatch: pytest.MonkeyPatch, proxied: bool):
    made = []
    monkeypatch.setattr(app, "_until_interrupted", made.append)
    assert typed("serve", str(empty_lab), "--port", "0", "--no-show", *(["--proxied"] if proxied else [])) == 0
    assert made[0]._http.xheaders is proxied
    made[0].stop(wait=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--address", "192.0.2.1"], "cannot listen on 192.0.2.1, port 5006"),
        (["--port", "0", "--allow-origin", "http://lab.example.org"], "takes HOST or HOST:PORT, without http://"),
        (["--auth", "none.json"], "no users file 'none.json'; make one: workbench users add NAME --file none.json"),
    ],
)
def test_what_cannot_be_served_says_what_to_do(
    empty_lab: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
):
    assert typed("serve", str(empty_lab), "--no-show", *words) == 2
    assert says in capsys.readouterr().err


def test_a_lab_that_is_missing_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert typed("serve", str(tmp_path / "lab"), "--no-show") == 2
    assert "no lab in" in capsys.readouterr().err and not (tmp_path / "lab").exists()


def test_users_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    file = str(tmp_path / "users.json")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\nnot this line\n"))
    assert typed("users", "add", "ann", "--file", file) == 0
    assert "ann can log in: workbench serve --auth" in capsys.readouterr().out
    assert app.Users(file).check("ann", "correct horse")
    assert typed("users", "list", "--file", file) == 0 and capsys.readouterr().out == "ann\n"
    assert typed("users", "remove", "ann", "--file", file) == 0
    capsys.readouterr()
    assert typed("serve", str(tmp_path), "--auth", file) == 2  # no lab there
    assert typed("users", "list", "--file", file) == 0 and "nobody" in capsys.readouterr().out
