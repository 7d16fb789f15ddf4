"""Logging in to the served app, through the hooks that Panel and Bokeh have for it.

`Door` is an AuthProvider as Panel's own are: the server asks it who a visitor is, for each page and each websocket, and
sends strangers to its login page. Passwords are those of a `Users` file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from panel.auth import BasicAuthProvider
from tornado.template import Loader
from tornado.web import RequestHandler, decode_signed_value

from widgets.component import HERE
from widgets.users import MOST, Patience, Users

DAYS = 1
"""How long a login lasts."""

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_COOKIES = ("user", "id_token", "is_guest")


def visitor() -> str | None:
    """Login name of the person whose page is being built; None where nobody logs in."""
    cookie, secret = pn.state.cookies.get("user"), pn.config.cookie_secret
    if not cookie or not secret:
        return None
    name = decode_signed_value(secret, "user", cookie, max_age_days=DAYS)
    return None if name is None else name.decode()


def safe_next(address: str) -> str:
    """Where to go after the login: a page of this server, or the first one where `address` leads elsewhere."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "./"
    own = address.startswith("/") and not address.startswith(("//", "/\\")) and "\\" not in address
    return address if own and not parts.scheme and not parts.netloc and address.isprintable() else "./"


class Door(BasicAuthProvider):
    """Lets in whom a users file names."""

    def __init__(self, users: Users) -> None:
        self.users, self.patience = users, Patience()
        self.checks = ThreadPoolExecutor(1, thread_name_prefix="passwords")  # each takes 64 MiB and 0.1 s: one a time
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], Any]:
        named = super().get_user

        def known(handler: Any) -> str | None:
            name = named(handler)
            return name if name in self.users.names() else None

        return known

    @property
    def login_handler(self) -> type[RequestHandler]:
        return type("Login", (LoginHandler,), {"door": self})

    @property
    def logout_handler(self) -> type[RequestHandler]:
        return LogoutHandler


class _Page(RequestHandler):
    """A page with one form, which asks nobody else for anything."""

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def show(self, **told: Any) -> None:
        """The form, with the token that its answer has to bring back."""
        blank = {"says": "", "leaving": "", "next": "", "name": ""}
        page = Loader(str(HERE)).load("login.html")
        self.finish(page.generate(token=self.xsrf_token.decode(), **{**blank, **told}))


class LoginHandler(_Page):
    """GET shows the form, POST checks it."""

    door: Door

    def get(self) -> None:
        self._ask(safe_next(self.get_argument("next", "./")))

    async def post(self) -> None:
        self.check_xsrf_cookie()  # 403 where another site sent the form
        name, password = self.get_body_argument("name", "")[:65], self.get_body_argument("password", "", strip=False)
        where = safe_next(self.get_body_argument("next", "./"))
        address = self.request.remote_ip or ""
        wait = self.door.patience.wait_s(name, address)
        if wait:
            self.set_status(429)
            self.set_header("Retry-After", str(int(wait) + 1))
            return self._ask(where, name, f"Too many tries. Wait {int(wait) + 1} s, then try again.")
        self.door.patience.failed(name, address)  # until it is known better: tries side by side count too
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self.door.checks, self.door.users.check, name, password[: MOST + 1]):
            self.set_status(401)
            return self._ask(where, name, "This name and this password do not belong together.")
        self.door.patience.succeeded(name, address)
        self._let_in(name)
        self.redirect(where)

    def _ask(self, where: str, name: str = "", says: str = "") -> None:
        self.show(title="Log in to the workbench", next=where, name=name, says=says)

    def _let_in(self, name: str) -> None:
        secure = self.request.protocol == "https"
        self.clear_cookie("is_guest")
        self.set_secure_cookie("user", name, expires_days=DAYS, httponly=True, samesite="Lax", secure=secure)


class LogoutHandler(_Page):
    """GET asks, POST logs out: a link on another site cannot."""

    def get(self) -> None:
        name = self.get_secure_cookie("user", max_age_days=DAYS)
        if name is None:
            return self.redirect("./login")
        self.show(title="Log out", leaving=name.decode())

    def post(self) -> None:
        self.check_xsrf_cookie()
        for cookie in _COOKIES:
            self.clear_cookie(cookie)
        self.redirect("./login")
