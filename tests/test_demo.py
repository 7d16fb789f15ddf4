"""The embedded world and its policy are what the README says they are."""

from __future__ import annotations

from functools import cache

import pytest

import workbench as wb
from workbench.embedded import data_folder, demo
from workbench.sampling.evaluate import Evaluation, evaluate
from workbench.trajectory import End

POLICY = data_folder() / "world" / "policy-tags"


@cache
def measured(temperature: float) -> Evaluation:
    world = demo()
    tasks = world.test_tasks[:400]
    return evaluate(world.policy, tasks, world.environment, temperature=temperature, progress=False)


def test_the_world_holds_what_was_promised():
    world = wb.demo()
    assert len(world.pages) >= 2000 and len(world.tasks) >= 1500 and len(world.test_tasks) >= 400
    assert {task.hops for task in world.tasks} == {1, 2, 3} == {task.hops for task in world.test_tasks}
    pages = {page.id for page in world.pages}
    assert all(task.golds and task.gold_pages <= pages and task.sub_questions for task in world.tasks)


def test_the_policy_is_small():
    model = demo().policy.engine.model
    other = sum(p.numel() for name, p in model.named_parameters() if "embed" not in name and "lm_head" not in name)
    assert other <= 2_000_000
    assert (POLICY / "model.safetensors").stat().st_size < 8_000_000


@pytest.mark.slow
def test_the_policy_is_imperfect_and_sound():
    greedy, sampled = measured(0.0), measured(1.0)
    assert 0.35 <= greedy.mean <= 0.60
    assert greedy.mean - sampled.mean <= 0.20
    turns = [step for tree in greedy.trees for trajectory in tree for step in trajectory.steps]
    assert sum(not step.valid for step in turns) / len(turns) < 0.05


@pytest.mark.slow
def test_nothing_of_the_twin_is_known_by_heart():
    from workbench.training.tiny_policy import closed_book

    world = demo()
    assert closed_book(world.policy, world.twin().test_tasks[:400]) < 0.05


@pytest.mark.slow
def test_the_policy_reads_the_twin_as_it_reads_the_world():
    twin = demo().twin()
    found = evaluate(twin.policy, twin.test_tasks[:200], twin.environment, progress=False)
    assert found.mean > 0.25  # no name in it was ever seen: what is right was searched for and copied


def test_train_and_test_ask_about_different_entities():
    world = demo()
    first = [{task.sub_questions[0].page for task in tasks} for tasks in (world.tasks, world.test_tasks)]
    assert not first[0] & first[1]


def test_two_demos_do_not_share_a_policy():
    import torch

    one, other = demo(), demo()
    with torch.no_grad():
        next(one.policy.engine.model.parameters()).zero_()
    assert next(other.policy.engine.model.parameters()).abs().sum() > 0


def test_the_call_site_of_the_readme_works(tmp_path):
    store = wb.open(tmp_path / "lab")
    world = wb.demo()
    trees = wb.rollout(world.policy, world.tasks[:2], world.environment, group_size=4, recorder=store, progress=False)
    reward = wb.ExactMatch() + 0.5 * wb.CoverageGain() - 0.2 * wb.RepeatedDocuments()
    scores = wb.score(trees, reward)
    advantages = wb.advantages(trees, scores, wb.GroupAdvantage(scale="std"))
    assert [len(a) for a in advantages.by_trajectory()] == [len(t.steps) for tree in trees for t in tree]
    run = wb.train(world.policy, world.tasks, world.environment, reward, updates=2, tasks_per_update=2, recorder=store)
    for report in run:
        assert not [check for check in report.alarms if check.name in ("own tokens", "trained ids", "weights arrived")]
        run.plan = run.plan.replace(reward=wb.ExactMatch())
    found = store.sql("select run, part, avg(value) as mean from scores group by run, part")
    assert set(found["part"]) == {"ExactMatch", "CoverageGain", "RepeatedDocuments"}
    assert store.trees(run.name)[0].trajectories[0].end in End
    store.close()


@pytest.mark.slow
def test_the_main_job_tells_the_gain_and_what_to_type_next(tmp_path, capsys):
    from workbench.main_job import main_job

    main_job(tmp_path / "lab", updates=2, tasks=24)
    told = capsys.readouterr().out
    assert "exact match, held-out tasks" in told and "workbench sql --lab" in told and "updates/s" in told
    assert (tmp_path / "lab" / "plots" / "demo1.png").stat().st_size > 10_000
    with wb.open(tmp_path / "lab") as store:
        assert store.runs() == [
            f"demo1-{kind}" for kind in ("before-greedy", "before-sampled", "train", "after-greedy", "after-sampled")
        ]
