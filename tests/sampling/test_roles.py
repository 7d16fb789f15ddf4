"""One policy in several roles: their rollouts are never compared, their weights are one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.tiny_model import tiny_engine, tiny_tokenizer
from tests.training.worlds import TASKS, Quiet, right
from workbench.agents.judging import AssessTemplate, ClosedBookTemplate
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.tabular import TabularPolicy
from workbench.agents.templates import TagTemplate
from workbench.batch import flat_batch
from workbench.errors import CapabilityError, SettingError, UnknownName
from workbench.protocols import Turn
from workbench.rewards.score import score
from workbench.sampling.pass_rate import pass_rate
from workbench.sampling.roles import DecideThenSolve, RoleSampler
from workbench.sampling.rollout import rollout
from workbench.spec import dumps, loads
from workbench.training.method import GRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train
from workbench.trajectory import Call, Span

ROLES = {"decide": ("yes", "no"), "param": ("right", "wrong"), "search": ("look", "right", "wrong")}


def says(label: str):
    return lambda prefix: Turn(text=label, spans=(Span("assessment", label),), answered=True)


def three_roles() -> TabularPolicy:
    actions = {"yes": says("yes"), "no": says("no"), "right": lambda p: "yes", "wrong": lambda p: "no"}
    actions["look"] = lambda p: Call("look")
    return TabularPolicy(actions, lambda prefix: (prefix.role, len(prefix.steps)), roles=ROLES)


def test_every_task_is_played_in_every_role_and_each_role_is_a_group():
    trees = rollout(three_roles(), TASKS, Quiet(), sampler=RoleSampler(("param", "search"), 3), progress=False)
    assert [tree.task.id for tree in trees] == [task.id for task in TASKS]
    for tree in trees:
        assert Counter(trajectory.role for trajectory in tree) == {"param": 3, "search": 3}
        assert [len(group) for group in tree.groups()] == [3, 3]
        assert all(step.role == trajectory.role for trajectory in tree for step in trajectory.steps)
    batch = flat_batch(trees, score(trees, right))
    assert len(set(batch.group_N.tolist())) == 2 * len(TASKS)


def test_the_same_task_twice_in_a_batch_is_two_trees_with_all_roles():
    tasks = [TASKS[0], TASKS[0], TASKS[1]]
    trees = rollout(three_roles(), tasks, Quiet(), sampler=RoleSampler(("search", "param"), 2), progress=False)
    assert len(trees) == 3
    assert all(Counter(t.role for t in tree) == {"param": 2, "search": 2} for tree in trees)


def test_a_role_has_its_own_actions_and_features_over_one_table():
    policy = three_roles()
    for role, open_now in ROLES.items():
        [tree] = rollout(policy.in_role(role), TASKS[:1], Quiet(), group_size=40, progress=False)
        assert {step.text for trajectory in tree for step in trajectory.steps} == set(open_now)
    assert policy.in_role("param").table is policy.table
    assert {role for role, _ in policy.row_of} == set(ROLES)


def test_training_sees_the_probabilities_of_the_role():
    policy = three_roles()
    settings = {"updates": 25, "tasks_per_update": 4, "optimiser": Optimiser(0.3)}
    method = replace(GRPO(kl=0.0), sampler=RoleSampler(("param",), 8))
    run = train(policy, TASKS, Quiet(), right, method=method, **settings)
    reports = list(run)
    assert all(check.ok for check in reports[0].checks if check.name == "sampler gap")
    assert pass_rate(policy.in_role("param"), TASKS[:1], Quiet(), 40)["t0"] > 0.9
    assert pass_rate(policy.in_role("search"), TASKS[:1], Quiet(), 40)["t0"] < 0.9  # nothing was learned there


def test_a_view_in_a_role_knows_the_version_of_the_weights():
    policy, cache = three_roles(), {}
    solver = policy.in_role("param")
    pass_rate(solver, TASKS[:1], Quiet(), 2, cache=cache)
    policy.weights_changed()
    assert solver.name == policy.name == "table@1"
    pass_rate(solver, TASKS[:1], Quiet(), 2, cache=cache)
    pass_rate(policy.in_role("search"), TASKS[:1], Quiet(), 2, cache=cache)
    assert len(cache) == 3


def test_the_decision_chooses_the_role_that_solves():
    policy = three_roles()
    [tree] = rollout(policy, TASKS[:1], Quiet(), sampler=DecideThenSolve(group_size=60), progress=False)
    solvers = Counter()
    for trajectory in tree:
        roles = [step.role for step in trajectory.steps]
        said = trajectory.steps[0].span("assessment")
        assert roles[0] == "decide" and set(roles[1:]) == {"param" if said == "yes" else "search"}
        assert trajectory.steps[1].context is not None and len({step.id for step in trajectory.steps}) == len(roles)
        assert trajectory.role == "agent" and trajectory.task is TASKS[0]
        solvers[roles[1]] += 1
    assert set(solvers) == {"param", "search"}
    assert any(trajectory.answer == "yes" for trajectory in tree)


@pytest.mark.parametrize(
    "said", ["<assessment>no</assessment>", "<assessment>yes</assessment><assessment>no</assessment>"]
)
def test_without_a_clear_yes_the_agent_searches(said):
    assert [step.role for step in decided_by(said).steps] == ["decide", "search"]
    assert [step.role for step in decided_by("<assessment> Yes </assessment>").steps] == ["decide", "param"]


class Scripts(ScriptedPolicy):
    """A script a role."""

    def in_role(self, role):
        template = {"decide": AssessTemplate(), "param": ClosedBookTemplate(), "search": TagTemplate()}[role]
        other = Scripts(lambda prefix, rng: self.decide(prefix, rng), tiny_tokenizer(), template)
        other.role = role
        return other


def decided_by(said: str):
    script = Scripts(
        lambda p, rng: said if p.role == "decide" else "<answer>a</answer>", tiny_tokenizer(), TagTemplate()
    )
    [tree] = rollout(script, TASKS[:1], Quiet(), sampler=DecideThenSolve(), progress=False)
    return tree.trajectories[0]


def test_a_language_model_writes_in_the_template_of_its_role():
    roles = {
        "decide": AssessTemplate(instruction="known? {question}\n"),
        "search": TagTemplate(instruction="{question}"),
    }
    policy = LanguagePolicy(tiny_engine(), turn_tokens=4, roles=roles)
    trees = rollout(policy, TASKS[:2], Quiet(), sampler=RoleSampler(("decide", "search"), 2), progress=False)
    prompts = {(t.role, t.steps[0].context.text) for t in trees[0]}
    assert prompts == {("decide", "known? Which of 0?\n"), ("search", "Which of 0?")}
    assert policy.in_role("search").engine is policy.engine


def test_roles_that_are_not_there_are_named():
    with pytest.raises(UnknownName, match="decide"):
        three_roles().in_role("decid")
    with pytest.raises(UnknownName, match="look"):
        TabularPolicy({"look": lambda p: "a"}, lambda p: 0, roles={"one": ("loook",)})
    with pytest.raises(UnknownName):
        LanguagePolicy(tiny_engine()).in_role("decide")
    with pytest.raises(CapabilityError, match="plays no roles"):
        list(RoleSampler(("a",)).sample(object(), Quiet(), TASKS, None, np.random.default_rng(0)))
    with pytest.raises(SettingError, match="different names"):
        RoleSampler(("a", "a"))


def test_the_samplers_go_to_text_and_back():
    for one in (RoleSampler(("a", "b"), 4), DecideThenSolve(if_yes="memory", group_size=2)):
        assert loads(dumps(one)) == one
