"""Who comes in: the users file, the patience with those who guess, and the login of a server that runs."""

from __future__ import annotations

import http.client
import json
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import panel as pn
import pytest
from panel.io.server import Server, get_server

from tests.widgets.serving import serving
from widgets.login import Door, safe_next
from widgets.users import FREE_TRIES, LONGEST_WAIT_S, Patience, Users
from workbench.errors import FormatError, SettingError, UnknownName

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def only_ann(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A users file's text: hashing takes its time."""
    made = Users(tmp_path_factory.mktemp("users") / "users.json")
    made.add("ann", PASSWORD)
    return made.file.read_text()


@pytest.fixture
def users(tmp_path: Path, only_ann: str) -> Users:
    return filled(tmp_path / "users.json", only_ann)


def filled(file: Path, text: str) -> Users:
    file.touch(mode=0o600)
    file.write_text(text)
    return Users(file)


# ---------------------------------------------------------------- the file


def test_the_file_holds_salted_hashes_and_is_its_owners_alone(users: Users):
    users.add("bob", PASSWORD)
    held = json.loads(users.file.read_text())
    assert stat.S_IMODE(users.file.stat().st_mode) == 0o600
    assert PASSWORD not in users.file.read_text()
    assert all(text.startswith("$argon2id$") for text in held.values())
    assert held["ann"] != held["bob"]  # the same password, another salt


def test_only_the_right_password_of_a_known_name_fits(users: Users):
    assert users.check("ann", PASSWORD)
    assert not users.check("ann", "wrong horse")
    assert not users.check("ann", "")
    assert not users.check("bob", PASSWORD)
    assert not users.check("", "")


def test_an_accent_may_be_typed_in_two_ways(users: Users):
    users.add("zoë", "caf\u00e9 au lait")
    assert users.check("zoë", "cafe\u0301 au lait")


def test_adding_a_name_again_gives_it_another_password(users: Users):
    assert users.add("bob", "battery staple")
    assert not users.add("bob", "another staple")
    assert users.check("bob", "another staple") and not users.check("bob", "battery staple")
    assert users.names() == ["ann", "bob"]


def test_a_change_by_another_process_counts_at_once(users: Users):
    other = Users(users.file)
    assert other.check("ann", PASSWORD)
    users.remove("ann")
    assert other.names() == [] and not other.check("ann", PASSWORD)


@pytest.mark.parametrize("name", ["", " ann", "ann\n", "a" * 65, "an\x00n"])
def test_names_that_cannot_be_told_apart_are_refused(users: Users, name: str):
    with pytest.raises(SettingError, match="1 to 64 characters that can be seen"):
        users.add(name, PASSWORD)


def test_a_short_password_is_refused(users: Users):
    with pytest.raises(SettingError, match="8 to 1000 characters, got 7"):
        users.add("bob", "1234567")
    assert users.names() == ["ann"]


def test_a_file_that_others_can_read_is_refused(users: Users):
    users.file.chmod(0o640)
    with pytest.raises(SettingError, match="can be read by other users of this machine; run: chmod 600"):
        Users(users.file).names()


def test_errors_say_what_to_type(tmp_path: Path, users: Users):
    with pytest.raises(FormatError, match="no users file .*workbench users add NAME --file"):
        Users(tmp_path / "none.json").names()
    broken = tmp_path / "plain.json"
    broken.write_text('{"ann": "in plain text"}')
    broken.chmod(0o600)
    with pytest.raises(FormatError, match=r"is no users file \(an argon2 hash by name\)"):
        Users(broken).check("ann", "in plain text")
    with pytest.raises(UnknownName, match="no user 'an'.*Did you mean 'ann'"):
        users.remove("an")


# ---------------------------------------------------------------- patience


def test_the_wait_doubles_after_the_free_tries():
    now = [0.0]
    patience = Patience(lambda: now[0])
    for _ in range(FREE_TRIES - 1):
        patience.failed("ann", "10.0.0.1")
    assert patience.wait_s("ann", "10.0.0.1") == 0
    waits = []
    for _ in range(4):
        patience.failed("ann", "10.0.0.1")
        waits.append(patience.wait_s("ann", "10.0.0.1"))
    assert waits == [1, 2, 4, 8]
    now[0] += 7.5
    assert patience.wait_s("ann", "10.0.0.1") == 0.5
    for _ in range(50):
        patience.failed("ann", "10.0.0.1")
    assert patience.wait_s("ann", "10.0.0.1") == LONGEST_WAIT_S


def test_who_guesses_keeps_nobody_else_out():
    patience = Patience(lambda: 0.0)
    for _ in range(10):
        patience.failed("ann", "10.0.0.1")
    assert patience.wait_s("ann", "10.0.0.2") == patience.wait_s("bob", "10.0.0.1") == 0


def test_the_right_password_wipes_the_slate():
    patience = Patience(lambda: 0.0)
    for _ in range(10):
        patience.failed("ann", "10.0.0.1")
    patience.succeeded("ann", "10.0.0.1")
    assert patience.wait_s("ann", "10.0.0.1") == 0


def test_old_failures_are_forgotten():
    now = [0.0]
    patience = Patience(lambda: now[0])
    for number in range(100):
        patience.failed(f"guess {number}", "10.0.0.1")
    now[0] = 3 * LONGEST_WAIT_S
    patience.failed("ann", "10.0.0.1")
    assert len(patience._failed) == 1


# ---------------------------------------------------------------- where to go next


@pytest.mark.parametrize("address", ["/", "/step?run=r1&tree=a%2Fb", "/?run=r1", "/train?run=://"])
def test_a_page_of_this_server_may_come_next(address: str):
    assert safe_next(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "javascript:alert(1)",
        "https:evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: user=ann",
        "http://[",
        " //evil.example",
    ],
)
def test_no_address_leads_elsewhere(address: str):
    assert safe_next(address) == "./"


# ---------------------------------------------------------------- a server that runs


@dataclass
class Visitor:
    """A browser without a screen: it keeps cookies and follows nothing."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)  # of the last answer

    def ask(self, path: str, told: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
        """GET, or POST where something is `told`: status, headers and text of the answer."""
        where = urlsplit(self.address)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if told is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if told is None else "POST", path, None if told is None else urlencode(told), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        self.set_cookies = answer.headers.get_all("Set-Cookie") or []
        for line in self.set_cookies:
            self._keep(SimpleCookie(line))
        connection.close()
        return answer.status, dict(answer.headers), text

    def _keep(self, cookies: SimpleCookie) -> None:
        for name, morsel in cookies.items():
            self.cookies[name] = morsel.value
            if not morsel.value:
                del self.cookies[name]

    def token(self, path: str = "/login") -> str:
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.ask(path)[2])
        assert found
        return found[1]

    def log_in(self, name: str, password: str, **more: str) -> tuple[int, dict[str, str], str]:
        return self.ask("/login", {"name": name, "password": password, "_xsrf": self.token(), **more})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, only_ann: str) -> Iterator[tuple[str, Door]]:
    door = Door(filled(tmp_path_factory.mktemp("served") / "users.json", only_ann))

    def view() -> pn.pane.Str:
        return pn.pane.Str("inside")

    def make() -> Server:
        settings = {"auth_provider": door, "cookie_secret": "secret"}
        return get_server({"/": view, "/step": view}, port=0, address="127.0.0.1", **settings)

    with serving(make) as address:
        yield address, door


@pytest.fixture
def door(served: tuple[str, Door], only_ann: str) -> Door:
    """The door of the server, as nobody had ever knocked."""
    door = served[1]
    door.patience = Patience()
    filled(door.users.file, only_ann)
    return door


@pytest.fixture
def visitor(served: tuple[str, Door], door: Door) -> Visitor:
    return Visitor(served[0])


def test_strangers_are_sent_to_the_login_page_and_back_after_it(visitor: Visitor):
    status, headers, _ = visitor.ask("/step?run=r1")
    assert (status, headers["Location"]) == (302, "./login?next=%2Fstep%3Frun%3Dr1")
    _, _, form = visitor.ask("/login?next=%2Fstep%3Frun%3Dr1")
    assert 'name="next" value="/step?run=r1"' in form
    status, headers, _ = visitor.log_in("ann", PASSWORD, next="/step?run=r1")
    assert (status, headers["Location"]) == (302, "/step?run=r1")
    assert visitor.ask("/step?run=r1")[0] == 200


def test_a_wrong_password_and_an_unknown_name_are_told_the_same(visitor: Visitor):
    wrong = visitor.log_in("ann", "wrong horse")
    unknown = visitor.log_in("bob", PASSWORD)
    assert wrong[0] == unknown[0] == 401
    assert "user" not in visitor.cookies
    told = [re.search(r'role="alert">([^<]+)<', text) for _, _, text in (wrong, unknown)]
    assert told[0] and told[1] and told[0][1] == told[1][1]
    assert visitor.ask("/")[0] == 302


def test_a_form_from_another_site_logs_nobody_in(visitor: Visitor):
    visitor.token()
    for more in ({}, {"_xsrf": ""}, {"_xsrf": "2|00000000|00000000000000000000000000000000|1"}):
        status, _, _ = visitor.ask("/login", {"name": "ann", "password": PASSWORD, **more})
        assert status == 403
        assert "user" not in visitor.cookies
    assert visitor.ask("/")[0] == 302


def test_the_cookie_is_signed_and_out_of_reach_of_scripts(visitor: Visitor):
    visitor.log_in("ann", PASSWORD)
    [cookie] = [SimpleCookie(line)["user"] for line in visitor.set_cookies if line.startswith("user=")]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    visitor.cookies["user"] = visitor.cookies["user"][:-4] + "0000"
    assert visitor.ask("/")[0] == 302


def test_a_forged_guest_is_nobody(visitor: Visitor):
    visitor.cookies["is_guest"] = "1"
    assert visitor.ask("/")[0] == 302


def test_after_too_many_tries_even_the_right_password_has_to_wait(visitor: Visitor, door: Door):
    now = [0.0]
    door.patience = Patience(lambda: now[0])
    for _ in range(FREE_TRIES):
        assert visitor.log_in("ann", "wrong horse")[0] == 401
    status, headers, text = visitor.log_in("ann", PASSWORD)
    assert status == 429 and headers["Retry-After"] == "2" and "Too many tries. Wait 2 s" in text
    now[0] += 2
    assert visitor.log_in("ann", PASSWORD)[0] == 302


def test_a_login_leads_nowhere_else(visitor: Visitor):
    for address in ("//evil.example/", "http://evil.example/", "/\\evil.example"):
        assert visitor.log_in("ann", PASSWORD, next=address)[1]["Location"] == "./"
        form = visitor.ask("/login?" + urlencode({"next": address}))[2]
        assert "evil" not in form


def test_what_is_typed_comes_back_as_text(visitor: Visitor):
    _, _, text = visitor.log_in('"><script>alert(1)</script>', "wrong horse")
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_the_login_page_asks_nobody_for_anything(visitor: Visitor):
    _, headers, text = visitor.ask("/login")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"https?://|//cdn|<script|<link|<img", text)


def test_logging_out_takes_a_press_of_a_button(visitor: Visitor):
    visitor.log_in("ann", PASSWORD)
    _, _, page = visitor.ask("/logout")
    assert "Log out ann" in page and visitor.ask("/")[0] == 200
    assert visitor.ask("/logout", {})[0] == 403 and visitor.ask("/")[0] == 200
    status, headers, _ = visitor.ask("/logout", {"_xsrf": visitor.token("/logout")})
    assert (status, headers["Location"]) == (302, "./login")
    assert visitor.ask("/")[0] == 302


def test_who_is_taken_out_of_the_file_is_out(visitor: Visitor, door: Door):
    visitor.log_in("ann", PASSWORD)
    assert visitor.ask("/")[0] == 200
    Users(door.users.file).remove("ann")
    assert visitor.ask("/")[0] == 302


@pytest.mark.parametrize("path", ["/", "/step", "/metadata", "/autoload.js?bokeh-autoload-element=1000"])
def test_nothing_but_the_login_is_shown_to_strangers(visitor: Visitor, path: str):
    assert visitor.ask(path)[0] == 302


def test_a_websocket_of_a_stranger_is_refused(visitor: Visitor):
    assert knock(visitor, visitor.address) == 403
    visitor.log_in("ann", PASSWORD)
    assert knock(visitor, visitor.address) == 101
    assert knock(visitor, "http://evil.example") == 403


def knock(visitor: Visitor, origin: str) -> int:
    """Status of a websocket's handshake that a page of `origin` begins."""
    where = urlsplit(visitor.address)
    headers = {
        "Origin": origin,
        "Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items()),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": "bokeh, token",
    }
    with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)) as connection:
        connection.request("GET", "/ws", headers=headers)
        with connection.getresponse() as answer:
            return answer.status
