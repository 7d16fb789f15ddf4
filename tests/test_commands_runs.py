"""rollout, score, train and sql for real, through the command line, with a tiny model that was taught to search."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_cli import ALL_EXAMPLES
from tests.tiny_model import tiny_engine
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.templates import TagTemplate
from workbench.agents.vllm_engine import PYTHON
from workbench.cli import main
from workbench.commands.material import Habits, save_policy
from workbench.commands.rollout_command import next_steps
from workbench.commands.train_command import drive
from workbench.retrieval import Page, SearchIndex
from workbench.retrieval.search_r1 import RetrieveServer
from workbench.rewards import reward_of
from workbench.sampling.rollout import rollout
from workbench.scores import Level
from workbench.spec import PARTS
from workbench.store import open_store
from workbench.training.plan import Optimiser
from workbench.training.sft import sft
from workbench.training.train import train
from workbench.trajectory import End, Task

TEMPLATE = TagTemplate(instruction="{question}\n", invalid_notice="\n?\n")
HABITS = Habits(TEMPLATE, turn_tokens=24, k=1, turns=1, observation_tokens=40)
PAGES = [Page("p1", "Paris", "Capital of France."), Page("p2", "Lyon", "A city in France.")]
QUESTIONS = [f"Is {n} even?" for n in range(6)]


def material(folder: Path) -> Path:
    """Questions and pages in files."""
    rows = [{"id": f"q{n}", "question": q, "answers": ["yes"], "gold_ids": ["p1"]} for n, q in enumerate(QUESTIONS)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pages = [{"id": page.id, "title": page.title, "text": page.text} for page in PAGES]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pages))
    return folder


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that was taught to search for Paris, then to answer: mostly it does."""
    engine = tiny_engine(heat=0.05)
    policy = LanguagePolicy(engine, TEMPLATE, turn_tokens=24)
    turns = ["<search>Paris</search>", "<answer>yes</answer>"]
    script = ScriptedPolicy(lambda prefix, rng: turns[len(prefix.steps)], engine.tokenizer, TEMPLATE)
    environment = HABITS.environment(SearchIndex.build(PAGES, progress=False))
    tasks = [Task(f"t{n}", question) for n, question in enumerate(QUESTIONS)]
    shown = [tree.trajectories[0] for tree in rollout(script, tasks, environment, group_size=1, progress=False)]
    assert {trajectory.end for trajectory in shown} == {End.ANSWERED}
    sft(policy, shown, updates=120, tokens_per_update=300, optimiser=Optimiser(1e-2, warmup=5), progress=False)
    return save_policy(engine, HABITS, str(tmp_path_factory.mktemp("policy") / "searcher"))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with questions and pages."""
    monkeypatch.chdir(tmp_path)
    return material(tmp_path)


@pytest.fixture(scope="module")
def logged(policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lab that holds a scored run, r1. Tests that only read share it."""
    folder = material(tmp_path_factory.mktemp("logged"))
    with contextlib.chdir(folder):
        assert typed(f"workbench rollout --policy {policy_folder} {ON_FILES} --limit 2") == 0
        assert typed("workbench score r1 'ExactMatch()'") == 0
    return folder


def typed(line: str) -> int:
    return main(shlex.split(line)[1:])


ON_FILES = "--tasks questions.jsonl --corpus corpus.jsonl"


# ---------------------------------------------------------------- rollout, score, sql


def test_a_rollout_is_logged_scored_and_asked(workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]):
    command = f"workbench rollout --policy {policy_folder} {ON_FILES} --limit 4 --group-size 2 --name first"
    assert typed(command) == 0
    said = capsys.readouterr().out
    assert "4 tasks, 8 rollouts" in said and "a second" in said and "% of the gold pages" in said
    with open_store("lab") as store:
        trees = store.trees("first")
        settings = json.loads(store.sql("select settings from runs")["settings"][0])
    assert [len(tree) for tree in trees] == [2, 2, 2, 2]
    assert {tree.task.question for tree in trees} == set(QUESTIONS[:4])
    steps = [step for tree in trees for trajectory in tree for step in trajectory.steps]
    found = [hit for step in steps for call in step.calls for hit in call.hits]
    assert found and {hit.id for hit in found} <= {"p1", "p2"}  # it searched, and found
    assert all(step.tokens is not None and 0 < step.own_tokens <= 24 for step in steps)
    assert settings["command"] == command and settings["kind"] == "rollout"

    assert typed('workbench score first "ExactMatch() + 0.5 * CoverageGain()"') == 0
    lines = capsys.readouterr().out.splitlines()
    exact = next(line.split() for line in lines if line.startswith("ExactMatch "))
    right = sum(trajectory.answer == "yes" for tree in trees for trajectory in tree)
    assert exact[1:3] == ["1", f"{right / 8:.3f}"] and exact[-3:] == ["8", "0", "0"]
    searching = sum(any(step.queries for step in trajectory.steps) for tree in trees for trajectory in tree)
    coverage = next(line.split() for line in lines if line.startswith("CoverageGain "))
    assert coverage[1] == "0.5" and coverage[-3:] == [str(searching), "0", str(8 - searching)]

    assert typed("workbench score first 'TokenF1()'") == 0  # a new version, the old one stays
    capsys.readouterr()
    assert typed('workbench sql "select part, count(*) as n from scores group by part" --csv') == 0
    assert capsys.readouterr().out == "part,n\nTokenF1,8\n"
    assert typed('workbench sql "select count(distinct reward) as versions from scores_log" --csv') == 0
    assert capsys.readouterr().out == "versions\n2\n"


OWN_REWARD = """
from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part


@part
class Searched{n}(Reward):
    "Pays for a rollout that searched."
    value: float = 1.0
    range = (0.0, 3.0)

    def score(self, trajectory):
        return Scores.trajectory(self.value * any(step.queries for step in trajectory.steps), "searched or not")
"""


@pytest.fixture
def own_parts() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = set(PARTS)
    yield
    for name in set(PARTS) - before:
        del PARTS[name]


def test_a_reward_from_a_file_of_ones_own(
    logged: Path, workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str], own_parts: None
):
    shutil.copytree(logged / "lab", workplace / "lab")
    for n in (1, 2):
        (workplace / f"mine{n}.py").write_text(OWN_REWARD.replace("{n}", str(n)))
    assert typed('workbench score r1 "Searched1(value=2.0) + 0.5 * Searched2()" --load mine1.py mine2.py') == 0
    assert "Searched1(value=2.0) + 0.5 * Searched2()" in capsys.readouterr().out
    short = f"{ON_FILES} --updates 1 --group-size 2 --tasks-per-update 1 --name own"
    assert typed(f"workbench train --policy {policy_folder} {short} --reward 'Searched1()' --load mine1.py") == 0
    (workplace / "broken.py").write_text("import nothing_of_this_name")
    assert typed("workbench score r1 'Searched1()' --load broken.py") == 2
    assert "broken.py cannot be run: ModuleNotFoundError" in capsys.readouterr().err


def test_a_report_says_what_a_reward_pays_for(logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(logged / "lab", tmp_path / "lab")  # scores are recorded
    fresh = "ReduceSteps(RepeatedDocuments(), 'count_below', threshold=0.5)"  # the pages are cut off: none was seen
    assert typed(f'workbench score r1 "ExactMatch() + 0.5 * {fresh}" --report --lab {tmp_path}/lab') == 0
    said = capsys.readouterr().out
    headings = ["What the reward says of itself", "What each term does", "What right answers cost", "What tricks earn"]
    assert sorted(said.index(heading) for heading in headings) == [said.index(heading) for heading in headings]
    assert "LOOK: RepeatedDocuments is paid again at every step" in said
    [terms] = [line.split() for line in said.splitlines() if line.startswith("total ") and len(line.split()) == 6]
    assert terms[1:3] == ["1", "-"]  # the weight; both rollouts are paid the same, so there is no variance to share
    [repeating] = [line for line in said.splitlines() if "repeats its search" in line]
    assert repeating.startswith("LOOK") and "pays more" in repeating  # every search earns 0.5
    [junk] = [line for line in said.splitlines() if "junk answer" in line]
    assert not junk.startswith("LOOK") and "pays less" in junk


def test_the_same_seed_gives_the_same_rollouts(workplace: Path, policy_folder: Path):
    line = f"workbench rollout --policy {policy_folder} {ON_FILES} --limit 3 --seed 5"
    assert typed(f"{line} --name a") == typed(f"{line} --name b") == typed(f"{line} --name c --batch 1") == 0
    with open_store("lab") as store:
        texts = [[step.text for tree in store.trees(run) for t in tree for step in t.steps] for run in "abc"]
    assert texts[0] == texts[1] and sorted(texts[0]) == sorted(texts[2])


def test_options_overrule_the_habits_of_a_policy(workplace: Path, policy_folder: Path):
    (workplace / "prompt.txt").write_text("Well: {question}")
    given = "--turns 0 --turn-tokens 3 --instruction prompt.txt --temperature 0"
    assert typed(f"workbench rollout --policy {policy_folder} {ON_FILES} --limit 1 {given}") == 0
    with open_store("lab") as store:
        [trajectory] = store.trees("r1")[0]
    [step] = trajectory.steps  # no turn that may search: one to answer
    assert step.own_tokens <= 3 and step.context is not None
    assert step.context.text == "Well: Is 0 even?"


@pytest.mark.parametrize(
    ("text", "says"), [("no place", "must hold {question}"), (None, "No such file")], ids=["no place", "no file"]
)
def test_a_prompt_that_cannot_be_used_is_refused(
    text: str | None, says: str, workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
):
    if text is not None:
        (workplace / "prompt.txt").write_text(text)
    assert typed(f"workbench rollout --policy {policy_folder} {ON_FILES} --instruction prompt.txt") == 2
    assert says in capsys.readouterr().err and not (workplace / "lab").exists()


def test_a_policy_that_was_saved_in_python_brings_its_template(workplace: Path, tmp_path: Path):
    saved = LanguagePolicy(tiny_engine(), TEMPLATE, turn_tokens=7).save(tmp_path / "saved")
    files = f"--tasks {workplace}/questions.jsonl --corpus {workplace}/corpus.jsonl --limit 2"
    assert main(shlex.split(f"rollout --policy {saved} {files} --turns 1 --lab {tmp_path}/lab")) == 0
    with open_store(tmp_path / "lab") as store:
        steps = [step for tree in store.trees("r1") for trajectory in tree for step in trajectory.steps]
    assert steps and max(step.own_tokens for step in steps) <= 7
    assert steps[0].context is not None and steps[0].context.text.startswith(QUESTIONS[0])


def test_a_model_without_habits_needs_a_template_that_fits_it(
    workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
):
    (policy_folder / "policy.json").rename(workplace / "policy.json")
    try:
        assert typed(f"workbench rollout --policy {policy_folder} {ON_FILES} --template tools --limit 1") == 2
        assert "has no chat template" in capsys.readouterr().err  # the tiny tokenizer has none
    finally:
        (workplace / "policy.json").rename(policy_folder / "policy.json")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("workbench score r2 'ExactMatch()'", "no run 'r2'"),
        ("workbench score r1 'CoverageGain(by=\"similarity\")'", "gold_texts"),
        ("workbench rollout --policy {policy} {files} --name r1", "run 'r1' is there already"),
        (
            "workbench train --policy {policy} {files} --method PPPO",
            "no method 'PPPO'; known: DAPO, DrGRPO, GRPO, GSPO, PPO",
        ),
        ("workbench train --policy {policy} {files} --reward 'Exact'", "Did you mean 'ExactMatch'?"),
        ("workbench train --policy {policy} {files} --save questions.jsonl", "holds other things"),
        ("workbench train --policy {policy} {files} --resume nowhere", "no checkpoint in nowhere"),
        ("workbench sql 'select * from stps'", "Did you mean 'steps'?"),
        ("workbench sql 'select stp from steps'", 'Candidate bindings: "step"'),
        ("workbench sql 'delete from steps'", "sql() only reads"),
        ("workbench sql 'selct 1'", "not SQL that DuckDB understands"),
    ],
)
def test_wrong_names_are_answered_with_the_right_ones(
    line: str,
    says: str,
    logged: Path,
    policy_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(logged)
    assert typed(line.format(policy=policy_folder, files=ON_FILES)) == 2
    assert says in capsys.readouterr().err


def test_an_engine_that_is_not_installed_says_what_to_install(
    workplace: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(PYTHON, str(workplace / "no-python"))
    assert typed(f"workbench rollout --policy {policy_folder} {ON_FILES} --engine vllm") == 2
    assert "no Python that can be run" in (told := capsys.readouterr().err) and "pip install" in told


def test_every_sql_example_has_an_answer(logged: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(logged)
    lines = [line.split("      (")[0].strip() for line in next_steps("r1", "lab", True).splitlines()]
    lines = [line for line in [*lines, *ALL_EXAMPLES] if line.startswith("workbench sql")]
    assert len(lines) >= 7
    assert [line for line in lines if typed(line) != 0] == []


@contextlib.contextmanager
def serving(index: object) -> Iterator[str]:
    """A search server in a thread."""
    with RetrieveServer(index, port=0) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def test_a_server_is_a_corpus_too(workplace: Path, policy_folder: Path):
    with serving(SearchIndex.build(PAGES, progress=False)) as url:
        assert (
            typed(f"workbench rollout --policy {policy_folder} --tasks questions.jsonl --corpus {url} --limit 4") == 0
        )
    with open_store("lab") as store:
        assert store.sql("select count(*) as n from searches where hits > 0")["n"][0] > 0
        assert store.sql("select count(*) as n from searches where error is not null")["n"][0] == 0


class Interrupting:
    """An index that presses Ctrl-C on a search."""

    def __init__(self, after: int) -> None:
        self.index, self.left = SearchIndex.build(PAGES, progress=False), after

    def search(self, queries, k=3, exclude=()):
        self.left -= 1
        if self.left < 0:
            signal.raise_signal(signal.SIGINT)
        return self.index.search(queries, k)


def test_ctrl_c_keeps_the_tasks_that_are_finished(
    workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
):
    # one search asks whether the server is there, then one rollout after another (batch 1) makes one search each
    with serving(Interrupting(after=3)) as url:
        line = f"workbench rollout --policy {policy_folder} --tasks questions.jsonl --corpus {url} --batch 1"
        assert typed(f"{line} --temperature 0") == 130
    assert "2 of 6 tasks are finished and kept" in capsys.readouterr().out
    with open_store("lab") as store:
        assert len(store.trees("r1")) == 2
        assert store.sql("select status from runs")["status"].tolist() == ["interrupted"]


# ---------------------------------------------------------------- train


def test_a_training_is_logged_saved_and_goes_on_from_a_checkpoint(
    workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
):
    line = f"workbench train --policy {policy_folder} {ON_FILES}"
    plan = "--reward 'TokenF1() + 0.1 * CoverageGain()' --tasks-per-update 2 --group-size 4 --lr 0.001 --seed 3"
    assert typed(f"{line} {plan} --updates 3 --checkpoint-every 1 --name t --save trained") == 0
    said = capsys.readouterr().out
    assert [f"t update {n:>3}" in said for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert "finished after update 3 of 3" in said and "--policy trained" in said

    assert typed(f"{line} --resume lab/checkpoints/t/update-00002") == 0
    with open_store("lab") as store:
        assert store.runs() == ["t", "r1"]
        first, again = store.reports("t"), store.reports("r1")
        assert len(store.trees("t")) == 3 * 2
        command = store.sql("select settings->>'command' as c from runs where run = 't'")["c"][0]
    assert again["update"].tolist() == [3]
    assert again["mean_return"][0] == first["mean_return"][2] and again["loss"][0] == first["loss"][2]
    assert "--tasks-per-update 2" in command

    # what was saved needs no further options
    assert typed(f"workbench rollout --policy trained {ON_FILES} --limit 1 --name after") == 0


def test_other_tasks_than_the_checkpoint_s_are_refused(
    workplace: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
):
    line = f"workbench train --policy {policy_folder} {ON_FILES}"
    assert typed(f"{line} --updates 1 --tasks-per-update 1 --group-size 2") == 0
    assert typed(f"{line} --limit 3 --updates 2 --resume lab/checkpoints/r1/update-00001") == 2
    assert "tasks" in capsys.readouterr().err


def test_ctrl_c_ends_a_training_after_the_update_under_way(policy_folder: Path, tmp_path: Path):
    from workbench.commands.material import engine_of

    engine, habits = engine_of(str(policy_folder), None)
    policy = LanguagePolicy(engine, habits.template, turn_tokens=habits.turn_tokens)
    environment = habits.environment(SearchIndex.build(PAGES, progress=False))
    scored = []

    def interrupting(trajectory) -> float:
        scored.append(trajectory)
        if len(scored) == 5:  # in the second update: each scores two rollouts of two tasks
            signal.raise_signal(signal.SIGINT)
        return float(len(trajectory.steps))

    tasks = [Task(f"t{n}", question) for n, question in enumerate(QUESTIONS)]
    reward = reward_of(interrupting, level=Level.TRAJECTORY)
    before = signal.getsignal(signal.SIGINT)
    with open_store(tmp_path / "lab") as store:
        from workbench.training.method import DrGRPO

        run = train(policy, tasks, environment, reward, method=DrGRPO(2), tasks_per_update=2, updates=9, recorder=store)
        assert drive(run) == 130
        assert store.sql("select status from runs")["status"].tolist() == ["stopped"]
    assert run.update == 2 and len(scored) == 8
    assert (tmp_path / "lab" / "checkpoints" / "r1" / "update-00002" / "state.json").exists()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_low_rank_adapters_train_resume_and_are_merged_when_saved(workplace: Path, policy_folder: Path):
    line = f"workbench train --policy {policy_folder} {ON_FILES} --lora 4"
    plan = "--tasks-per-update 1 --group-size 4 --checkpoint-every 1"
    assert typed(f"{line} {plan} --updates 2 --save trained") == 0
    assert typed(f"{line} --resume lab/checkpoints/r1/update-00001") == 0
    assert not list(Path("trained").glob("adapter*"))
    assert typed(f"workbench rollout --policy trained {ON_FILES} --limit 1") == 0
