"""The shape of the house: which room may import which, what an import loads, and that the project files agree."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from workbench import spec

ROOT = Path(__file__).resolve().parents[1]

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "plain", "text", "trajectory", "fusion", "scores", "batch", "protocols", "spec", "encoding"),
    ("rewards", "credit", "exploration", "evaluation", "retrieval", "environments", "store", "formats"),
    ("agents", "judges", "reward_models", "sampling"),
    ("training",),
    ("widgets",),
    (
        "cli",
        "commands",
        "embedded",
        "main_job",
        "rescoring",
        "handing_on",
        "papers",
        "adapters",
        "workbench",
        "widgets.app",
        "widgets.papers",
    ),
)
"""Floor 1 first. "workbench" is the package's own __init__: it names everything, so only the top may import it."""

CHAINS = (("rewards", "evaluation"), ("retrieval", "environments"), ("agents", "judges", "reward_models", "sampling"))
"""Inside a floor, a room may import those that stand before it in its chain. Floors 1 and 6 are free inside."""

ARITHMETIC = ("rewards", "credit", "exploration", "evaluation")
ACTING_AND_LEARNING = ("agents", "judges", "reward_models", "sampling", "training")
NEVER = {
    **{room: {"torch", "transformers", "duckdb", "panel"} for room in ARITHMETIC},
    **{room: {"store", "panel"} for room in ACTING_AND_LEARNING},  # they are handed a Recorder
    "store": {"torch", "transformers", "panel"},
}
SOLE_IMPORTERS: dict[str, tuple[str, ...]] = {
    "bm25s": ("workbench/retrieval/index.py",),
    "duckdb": ("workbench/store/",),
    "panel": ("widgets/in_panel.py", "widgets/login.py", "widgets/app.py", "widgets/pages/"),  # components know no host
}
VAGUE = {"utils", "util", "common", "core", "base", "helpers", "misc"}


# ---------------------------------------------------------------- reading imports


def sources(root: Path) -> list[Path]:
    return sorted(path for top in ("workbench", "widgets") for path in (root / top).rglob("*.py"))


def name_of(path: Path, root: Path) -> str:
    """Full name of the module in this file."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that `path` imports, inside functions and for type checkers too."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def room_of(module: str, root: Path) -> str:
    """The room of a module's full name: "workbench.rewards.answer.ExactMatch" stands in "rewards"."""
    top, *rest = module.split(".")
    if top == "widgets":
        named = rest[1:] if rest[:1] == ["pages"] else rest
        return next((f"widgets.{one}" for one in ("app", "papers") if named[:1] == [one]), "widgets")
    inner = root / "workbench" / rest[0] if rest else root
    return rest[0] if rest and (inner.is_dir() or inner.with_suffix(".py").is_file()) else "workbench"


def floor_of(room: str) -> int:
    floors = [number for number, rooms in enumerate(FLOORS, start=1) if room in rooms]
    assert floors, f"room {room!r} stands on no floor; give it one in FLOORS and in CONTRIBUTING.md"
    return floors[0]


def allowed(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if floor_of(importer) != floor_of(imported):
        return floor_of(importer) > floor_of(imported)
    if floor_of(importer) in (1, 6):
        return True
    return any(
        importer in chain and imported in chain and chain.index(imported) < chain.index(importer) for chain in CHAINS
    )


def broken_rules(root: Path) -> list[str]:
    """One line for each import that the plan of the house forbids."""
    found = []
    for path in sources(root):
        where = path.relative_to(root)
        room = room_of(name_of(path, root), root)
        for line, module in imports(path, root):
            top = module.split(".")[0]
            if top in ("workbench", "widgets"):
                imported = room_of(module, root)
                upward = not allowed(room, imported) or (where.parts[0] == "workbench" and top == "widgets")
                if upward or imported in NEVER.get(room, ()):
                    found.append(f"{where}:{line}: {room} imports {imported}")
            elif top in NEVER.get(room, ()):
                found.append(f"{where}:{line}: {room} imports {top}")
            elif top in SOLE_IMPORTERS and not where.as_posix().startswith(SOLE_IMPORTERS[top]):
                found.append(f"{where}:{line}: {top} is imported outside {', '.join(SOLE_IMPORTERS[top])}")
    return sorted(set(found))


def test_imports_go_down_the_floors_only():
    assert not broken_rules(ROOT), "\n".join(broken_rules(ROOT))


@pytest.mark.parametrize(
    ("path", "code", "rule"),
    [
        ("workbench/rewards/a.py", "from workbench.sampling import x", "rewards imports sampling"),
        ("workbench/rewards/a.py", "from workbench import GRPO", "rewards imports workbench"),
        ("workbench/rewards/a.py", "def f():\n    import torch", "rewards imports torch"),
        ("workbench/credit/a.py", "from ..rewards import place", "credit imports rewards"),
        ("workbench/retrieval/a.py", "import workbench.environments", "retrieval imports environments"),
        ("workbench/agents/a.py", "from workbench.judges.b import c", "agents imports judges"),
        ("workbench/training/a.py", "from workbench import store", "training imports store"),
        ("workbench/store/a.py", "from workbench.rewards.b import c", "store imports rewards"),
        ("workbench/cli.py", "import widgets.app", "cli imports widgets.app"),
        ("workbench/retrieval/b.py", "import bm25s", "bm25s is imported outside workbench/retrieval/index.py"),
        ("workbench/training/a.py", "import duckdb", "duckdb is imported outside workbench/store/"),
        ("workbench/sampling/a.py", "from workbench.agents import loop", None),
        ("workbench/environments/a.py", "from ..retrieval.index import SearchIndex", None),
        ("workbench/retrieval/index.py", "import bm25s", None),
        ("widgets/app.py", "import workbench", None),
        ("widgets/app.py", "import panel", None),
        ("widgets/pages/step.py", "import panel", None),
        (
            "widgets/step_through.py",
            "import panel",
            "panel is imported outside widgets/in_panel.py, widgets/login.py, widgets/app.py, widgets/pages/",
        ),
    ],
)
def test_the_floor_check_sees_what_it_should(tmp_path: Path, path: str, code: str, rule: str | None):
    for room in ("rewards", "environments", "judges", "store", "sampling", "agents", "retrieval"):
        (tmp_path / "workbench" / room).mkdir(parents=True)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(code)
    assert [line.split(": ", 1)[1] for line in broken_rules(tmp_path)] == ([rule] if rule else [])


def test_module_names_say_what_they_hold():
    vague = [path for path in sources(ROOT) if path.stem in VAGUE or path.parent.name in VAGUE]
    assert not vague, f"name these for what they hold: {vague}"


# ---------------------------------------------------------------- importing


def test_importing_workbench_loads_numpy_and_nothing_else_from_outside():
    code = (
        "import sys; before = set(sys.modules); import workbench; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"workbench", "numpy"}


def test_every_name_of_workbench_resolves():
    workbench = importlib.import_module("workbench")
    listed = getattr(workbench, "__all__", [])
    assert set(listed) <= set(dir(workbench)), "dir(workbench) hides names of __all__ from tab completion"
    modules = {path.stem for path in (ROOT / "workbench").iterdir()}
    assert not set(listed) & modules, "once imported, a module hides the name that is spelled the same"
    for name in {*listed, *dir(workbench)}:
        assert getattr(workbench, name, None) is not None or name.startswith("__"), f"workbench.{name} leads nowhere"


def test_every_name_of_widgets_resolves():
    pytest.importorskip("anywidget", reason="anywidget is not installed; pip install -e '.[lab]'")
    widgets = importlib.import_module("widgets")
    modules = {path.stem for path in (ROOT / "widgets").iterdir()}
    assert not set(widgets.__all__) & modules, "once imported, a module hides the name that is spelled the same"
    assert widgets.__all__ == dir(widgets)
    for name in widgets.__all__:
        assert isinstance(getattr(widgets, name), type), f"widgets.{name} is no component"


def test_every_public_module_says_what_it_is_for():
    public = [path for path in sources(ROOT) if not path.stem.startswith("_") or path.stem == "__init__"]
    silent = [path for path in public if path.read_text() and not ast.get_docstring(tree_of(path))]
    assert not silent, f"without a docstring: {silent}"


def modules_with_examples() -> list[str]:
    paths = [path for path in sources(ROOT) if "\n    >>> " in path.read_text() or "\n>>> " in path.read_text()]
    return [name_of(path, ROOT) for path in paths]


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_in_docstrings_are_true(module: str):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_the_code_in_contributing_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spec, "PARTS", dict(spec.PARTS))  # its parts are examples: other tests shall not meet them
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    page = types.ModuleType("contributing")
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), page.__dict__)


def test_a_test_that_reaches_for_the_network_fails():
    with pytest.raises(OSError, match=r"connect to '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address kept for documentation


# ---------------------------------------------------------------- project files


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_installs_this_project_on_the_same_python():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = conda["dependencies"]
    assert conda["name"] == project()["name"]
    assert packages == [f"python{project()['requires-python']}", "pip"]
    [entry] = pip["pip"]  # the project itself with an extra, so that every other bound stands in pyproject.toml alone
    extra = re.fullmatch(r"-e \.\[(\w+)\]", entry)
    assert extra and extra[1] in project()["optional-dependencies"]


def plain(name: str) -> str:
    """A distribution's name as indexes compare it, without extras and bounds."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ]", name)[0]).lower()


ALONE = {"verl"}
"""Packages that cannot be installed beside this one: no extra can name them."""
NAMED_OTHERWISE = {"phoenix": "arize-phoenix", "opentelemetry": "opentelemetry-sdk"}
"""Packages that tests do without, by what is imported of them, where that is another name."""


def test_whatever_is_imported_is_declared():
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    declared = {plain(name) for group in groups for name in group}
    shipped_by = packages_distributions()
    tests = sorted((ROOT / "tests").rglob("*.py"))
    for path in [*sources(ROOT), *tests]:
        for line, module in imports(path, ROOT):
            top = module.split(".")[0]
            if top not in {"workbench", "widgets", "tests", *ALONE, *sys.stdlib_module_names}:
                names = {plain(name) for name in shipped_by.get(top, [NAMED_OTHERWISE.get(top, top)])}
                assert names & declared, (
                    f"{path.relative_to(ROOT)}:{line} imports {top}; pyproject.toml does not list it"
                )


def test_duckdb_and_its_extensions_are_of_one_version():
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    duckdb = [name for group in groups for name in group if name.startswith("duckdb")]
    assert len(duckdb) >= 3 and {name.split("==")[1] for name in duckdb} == {"1.5.5"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(phony.split()) == targets == set(re.findall(r"^  make ([a-z-]+) +\w", shown, re.MULTILINE))


def own_files() -> list[Path]:
    """Files that git tracks or would take; the Python sources where this is no git checkout."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True) if shutil.which("git") else None
    if done is None or done.returncode:
        return sources(ROOT)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


# The folders where machines keep things, and the hosts of package registries; tests write to tmp_path.
ELSEWHERE = re.compile(
    r"(?<![\w.~<{}$)/-])/(?:work|root|home|Users|tmp|opt|mnt|srv)/\w"
    r"|pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|proxy\.golang\.org|anaconda\.org"
)


def test_the_path_check_sees_what_it_should():
    assert all(
        ELSEWHERE.search(text) for text in ("open('/" + "root/x')", "see /" + "work/x", "https://py" + "pi.org/x")
    )
    assert not any(ELSEWHERE.search(text) for text in ("a/work/x", "~/home/x", "{folder}/tmp/x", "a / home / x"))


def test_no_file_names_a_machine_path_or_a_registry_host():
    found = []
    for path in own_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # weights, pictures
        hits = [(number, ELSEWHERE.search(line)) for number, line in enumerate(lines, start=1)]
        found += [f"{path.relative_to(ROOT)}:{number}: {hit[0]}" for number, hit in hits if hit]
    assert not found, "\n".join(found[:20])
