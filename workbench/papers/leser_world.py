"""A made-up shop for LESER's proof: vague queries name a product by one of its words, and templates expand them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from workbench.agents.tabular import TabularPolicy
from workbench.environments import CatalogueWorld, SearchTool, ToolEnvironment
from workbench.protocols import Limits, Prefix
from workbench.retrieval import SearchIndex
from workbench.rewards.search_feedback import with_found
from workbench.trajectory import Call, Task

K, LINES = 20, 3
ATTRIBUTES = ("brand", "colour", "material")
SHOP = CatalogueWorld(
    subjects=60,
    pages=25,
    lures=8,
    names=5,
    names_a_page=1,
    asking=0,
    asking_a_question=1,
    categories=10,
    attributes=(("brand", 12), ("colour", 8), ("material", 6)),
    questions=8,
)
"""1500 products of 60 types, each under one of five words of its type, and 480 pages that only mention such a word."""


class Shop:
    """Products, the engine that finds them, and 120 vague queries: of each type two that find mostly what they mean.

    `extras` of a task: "found", what the bare query finds; "leading", the commonest value of each attribute there.
    """

    def __init__(self, seed: int) -> None:
        pages, tasks, about = replace(SHOP, seed=seed).build()
        self.index = SearchIndex.build(pages, progress=False)
        asked = with_found(tasks, self.index, K)
        self.tasks = [_with_leading(task, about) for n in range(SHOP.subjects) for task in _clearest(asked, n)]
        self.environment = ToolEnvironment((SearchTool(self.index, K),), Limits(turns=LINES, final_turn=False))


def _clearest(tasks: Sequence[Task], subject: int) -> list[Task]:
    """Two queries of the subject, by different words, that find the largest share of what they mean."""
    own = {task.question: task for task in tasks if task.extras["subject"] == subject}
    return sorted(own.values(), key=lambda task: -_precision(task.extras["found"], task))[:2]


def _precision(found: Sequence[str], task: Task) -> float:
    return sum(page in task.gold_pages for page in found) / max(1, len(found))


def _with_leading(task: Task, about: Mapping[str, Mapping[str, str]]) -> Task:
    shown = [about[page] for page in task.extras["found"] if page in about]
    leading = {}
    for name in ATTRIBUTES:
        [(value, count)] = Counter(one[name] for one in shown).most_common(1) or [("", 0)]
        leading[name] = value, count
    return replace(task, extras={**task.extras, "leading": leading})


# ---------------------------------------------------------------- how a query may be expanded

Template = Callable[[Task], str]


def _synonym(n: int, wider: bool = False) -> Template:
    def write(task: Task) -> str:
        names = task.extras["names"]
        name = names[(names.index(task.question) + n) % len(names)]
        return f"{name} {task.extras['category']}" if wider else name

    return write


def _with_value(attribute: str) -> Template:
    return lambda task: f"{task.question} {task.extras['leading'][attribute][0]}"


TEMPLATES: Mapping[str, Template] = {
    **{f"synonym {n}": _synonym(n) for n in range(1, 5)},
    **{f"synonym {n} and category": _synonym(n, wider=True) for n in range(1, 5)},
    **{f"add {attribute}": _with_value(attribute) for attribute in ATTRIBUTES},
    "category": lambda task: task.extras["category"],
    "copy": lambda task: task.question,
    "near copy": lambda task: f"buy {task.question}",
    "near copy too": lambda task: f"{task.question} online",
    "third near copy": lambda task: f"cheap {task.question}",
}


def expander() -> TabularPolicy:
    """A line a turn, by a template, or no further line; sees the turn and which attribute leads in the results."""
    actions: dict[str, Callable[[Prefix], Call | str]] = {name: _line(name) for name in TEMPLATES}
    actions["stop"] = lambda prefix: "no more"
    return TabularPolicy(actions, lambda prefix: (len(prefix.steps), _dominant(prefix.task)))


def _line(name: str) -> Callable[[Prefix], Call]:
    return lambda prefix: Call("search", {"query": TEMPLATES[name](prefix.task)})


def _dominant(task: Task) -> str:
    leading = task.extras["leading"]
    return max(ATTRIBUTES, key=lambda name: leading[name][1])


def feedback_terms(task: Task, index: SearchIndex, count: int = LINES) -> list[str]:
    """Pseudo-relevance feedback: the query with each of the commonest words of what it finds."""
    hits = index.search([task.question], K)[0]
    words = Counter(word for hit in hits for word in {*f"{hit.title} {hit.text}".lower().split()})
    del words[task.question]
    return [f"{task.question} {word}" for word, _ in words.most_common(count)]
