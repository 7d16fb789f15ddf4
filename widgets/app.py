"""The served app: `workbench serve lab`. Browse what a lab holds, step through it, watch and start trainings.

Who may come in is decided by an AuthProvider of Panel. `serve` makes one from a users file; to let people in with
OAuth instead, hand Panel's own settings through from a script of your own::

    from widgets.app import serve
    serve("lab", address="0.0.0.0", origins=["lab.example.org"], oauth_provider="github", oauth_key="...",
          oauth_secret="...", cookie_secret="...")

(https://panel.holoviz.org/how_to/authentication lists providers and settings.) Edits are signed by the login name.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.models import CustomJS
from bokeh.server.util import create_hosts_allowlist
from panel.io.server import Server, get_server

from widgets.component import HERE, Component, style_text
from widgets.in_panel import in_panel
from widgets.login import Door, visitor
from widgets.pages.browse import browse
from widgets.pages.explore import explore
from widgets.pages.papers import papers
from widgets.pages.step import step
from widgets.pages.train import train
from widgets.pages.trainer import Trainer
from widgets.pages.visit import Shown, Visit
from widgets.users import Users
from workbench.embedded import demo
from workbench.errors import SettingError, WorkbenchError
from workbench.main_job import train_demo
from workbench.store import Store, open_store
from workbench.training.run import Run

PAGES: tuple[tuple[str, str, Callable[[Visit], Shown]], ...] = (
    ("Browse", "./", browse),
    ("Step", "./step", step),
    ("Train", "./train", train),
    ("SQL", "./sql", explore),
    ("Papers", "./papers", papers),
)

SECRET = "WORKBENCH_COOKIE_SECRET"
"""Environment variable: the key that cookies are signed with. Without it a new one is drawn at every start, and
everybody has to log in again."""

LAST_UPDATE_S = 60.0
"""How long a training may take for its last update when the server ends."""


def serve(
    lab: str | Path = "lab",
    *,
    port: int = 5006,
    address: str = "127.0.0.1",
    users: str | Path | None = None,
    origins: Sequence[str] = (),
    proxied: bool = False,
    show: bool = False,
    **panel: Any,
) -> None:
    """Serve a lab until Ctrl-C.

    Args:
        lab: the folder; it must be there.
        port: 0 takes any that is free.
        address: of this machine, on which to listen.
        users: a file made by `workbench users add`; only they come in.
        origins: HOST:PORT under which people reach the app, where that is not `address` itself (a proxy, 0.0.0.0).
        proxied: a proxy stands in front: believe what it says of who asks and whether by https (X-Forwarded-For,
            X-Forwarded-Proto). Without one, anybody could say it.
        show: open a browser.
        panel: further settings of panel.io.server.get_server, such as those of OAuth.

    Raises:
        SettingError: the port is taken, or the address is none of this machine.
        FormatError: the users file cannot be read.
    """
    door = None if users is None else _door(users)
    panel = {"use_xheaders": proxied, **panel}
    with open_store(lab) as store:
        trainer = Trainer(store, _begin)
        server = app_server(store, trainer, port=port, address=address, door=door, origins=origins, **panel)
        guarded = door is not None or "oauth_provider" in panel or "basic_auth" in panel
        _tell(store, server, address, guarded=guarded)
        threading.Thread(target=_warm, args=(store,), daemon=True).start()
        if show:
            server.io_loop.add_callback(lambda: server.show("/"))
        _until_interrupted(server)
        if trainer.under_way:
            print(f"run {trainer.under_way} ends after the update under way; Ctrl-C again leaves at once", flush=True)
            trainer.end(LAST_UPDATE_S)


def app_server(
    store: Store,
    trainer: Trainer,
    *,
    port: int = 0,
    address: str = "127.0.0.1",
    door: Door | None = None,
    origins: Sequence[str] = (),
    **panel: Any,
) -> Server:
    """The server of a lab's pages, not yet started."""
    _check_free(address, port)
    _check_origins(origins)
    pn.extension()
    views: dict[str, Any] = {
        there.removeprefix("."): _view(store, trainer, name, build) for name, there, build in PAGES
    }
    settings: dict[str, Any] = {"cookie_secret": os.environ.get(SECRET) or secrets.token_hex(32)}
    if door is not None:
        settings["auth_provider"] = door
    port = port or _any_port(address)
    return get_server(
        views,
        port=port,
        address=address,
        websocket_origin=[*_own_origins(address, port), *origins],
        **{**settings, **panel},
    )


def _door(users: str | Path) -> Door:
    known = Users(users)
    if not known.names():
        raise SettingError(
            f"nobody is in {str(users)!r}, so nobody could log in; run: workbench users add NAME --file {users}"
        )
    return Door(known)


def _begin(reward: Any, **settings: Any) -> Run:
    """A training of the tiny policy on the embedded world."""
    return train_demo(demo(), reward, **settings)


def _warm(store: Store) -> None:
    """Add up what everybody was paid before somebody waits for it."""
    with contextlib.suppress(WorkbenchError):  # whoever asks for it is told
        store.browsing.runs()


# ---------------------------------------------------------------- a page


def _view(store: Store, trainer: Trainer, name: str, build: Callable[[Visit], Shown]) -> Callable[[], pn.Template]:
    """What Panel calls for every visit."""

    def view() -> pn.Template:
        return _page(store, trainer, name, build)

    return view


def _page(store: Store, trainer: Trainer, name: str, build: Callable[[Visit], Shown]) -> pn.Template:
    """What one visit sees. Everything in it is the visit's own."""
    who = visitor()
    _say_when_lost()
    visit = Visit(store, trainer, who, _asked(), _following(), _at_end())
    try:
        shown = build(visit)
    except WorkbenchError as error:
        clean = next(there for one, there, _ in PAGES if one == name)
        shown = Shown(name, trail=[("the page without what the address asks", clean)], says=str(error), trouble=True)
    template = pn.Template((HERE / "pages" / "page.html").read_text(encoding="utf-8"), location=True)
    parts = [_added(template, f"part{n}", part) for n, part in enumerate(shown.parts)]
    told: dict[str, Any] = {"page": name, "pages": [(one, there) for one, there, _ in PAGES], "heading": shown.title}
    told |= {"who": who or "", "lab": store.path.name, "parts": parts}
    told |= {"says": shown.says, "trouble": shown.trouble, "trail": shown.trail}
    for key, value in {**told, "ground": style_text("ground")}.items():
        template.add_variable(key, value)
    return template


def _added(template: pn.Template, name: str, part: Component) -> str:
    template.add_panel(name, in_panel(part))
    return name


def _asked() -> Mapping[str, str]:
    return {name: values[-1].decode(errors="replace") for name, values in pn.state.session_args.items() if values}


def _say_when_lost() -> None:
    """A page whose server is gone says so, until it is there again."""
    document = pn.state.curdoc
    if document is not None:
        for event, hidden in (("connection_lost", "false"), ("client_reconnected", "true")):
            document.js_on_event(event, CustomJS(code=f"document.getElementById('lost').hidden = {hidden}"))


def _following() -> Callable[[str], None]:
    """Shows a query string in the address bar of this visit, from any thread."""
    document, location = pn.state.curdoc, pn.state.location

    def follow(query: str) -> None:
        if document is None or location is None:
            return

        def show() -> None:
            location.search = query

        if pn.state.curdoc is document:  # still building it: a page that comes up says its own address first
            pn.state.onload(show)
        else:
            document.add_next_tick_callback(show)

    return follow


def _at_end() -> Callable[[Callable[[], None]], None]:
    document = pn.state.curdoc

    def at_end(act: Callable[[], None]) -> None:
        if document is not None:
            document.on_session_destroyed(lambda _: act())

    return at_end


# ---------------------------------------------------------------- the server


def _check_free(address: str, port: int) -> None:
    try:
        socket.create_server((address, port), family=_family(address)).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise SettingError(
            f"cannot listen on {address}, port {port}: {why}. Another port: --port {port + 1}; any that is "
            "free: --port 0; this machine only: --address 127.0.0.1"
        ) from error


def _check_origins(origins: Sequence[str]) -> None:
    try:
        create_hosts_allowlist(list(origins), 80)
    except ValueError as error:
        raise SettingError(f"--allow-origin takes HOST or HOST:PORT, without http://: {error}") from error


def _any_port(address: str) -> int:
    with socket.create_server((address, 0), family=_family(address)) as found:
        return found.getsockname()[1]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _own_origins(address: str, port: int) -> list[str]:
    """Where a page may come from whose websocket is answered: this server's own names, and no other site."""
    if _is_loopback(address):
        return [f"{host}:{port}" for host in ("127.0.0.1", "localhost")]
    names = {socket.gethostname(), socket.getfqdn()}
    if address != "0.0.0.0" and ":" not in address:  # Bokeh knows no other than names and IPv4
        names.add(address)
    return [f"{name.lower()}:{port}" for name in sorted(names)]


def _tell(store: Store, server: Server, address: str, *, guarded: bool) -> None:
    host = "127.0.0.1" if _is_loopback(address) else sorted(_own_origins(address, 0))[0].rpartition(":")[0]
    print(f"lab {store.path} at http://{host}:{server.port}/   (Ctrl-C ends it)", flush=True)
    if not guarded and not _is_loopback(address):
        print(
            f"workbench: WARNING: other machines reach {address}, and nobody has to log in: whoever reaches port "
            f"{server.port} reads every rollout of this lab, edits its rewards and starts trainings, as if it were "
            "you. Let in only whom you know with --auth users.json (see workbench users), or "
            "stay on this machine with --address 127.0.0.1",
            file=sys.stderr,
            flush=True,
        )


def _until_interrupted(server: Server) -> None:
    loop = server.io_loop

    def end(*_: object) -> None:
        loop.asyncio_loop.call_soon_threadsafe(loop.stop)  # type: ignore[attr-defined]

    before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM)}
    server.start()
    try:
        loop.start()
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        server.stop(wait=False)
    print("ended", flush=True)
