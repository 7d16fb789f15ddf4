"""GridWorld: moves, pay, ends, and values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.environments.grid_world import DIRECTIONS, GridWorld
from workbench.errors import SettingError
from workbench.protocols import Prefix
from workbench.trajectory import Call, Context, End, Step


def move(direction):
    return Call("move", {"direction": direction})


def play(world, *directions, seed=0):
    """Outcomes of one move a turn."""
    state, _ = world.reset(world.tasks()[0], np.random.default_rng(seed))
    outcomes = []
    for direction in directions:
        outcomes.append(world.step(state, [move(direction)]))
        state = outcomes[-1].state
    return outcomes


def cells(outcomes):
    return [outcome.state.cell for outcome in outcomes]


MAZE = GridWorld(("S.#", ".#G", "..."), turns=8)


def test_moves_lead_to_the_goal_and_are_paid_there():
    outcomes = play(MAZE, "down", "down", "right", "right", "up")
    assert cells(outcomes) == [(1, 0), (2, 0), (2, 1), (2, 2), (1, 2)]
    assert [outcome.reward for outcome in outcomes] == [0, 0, 0, 0, 1]
    assert [outcome.end for outcome in outcomes] == [None] * 4 + [End.ANSWERED]
    assert outcomes[0].observations == ("row 1, column 0",)


def test_walls_and_edges_hold_the_agent():
    assert cells(play(MAZE, "up", "left", "right", "right", "down", "stay")) == [(0, 0), (0, 0)] + [(0, 1)] * 4


def test_walls_can_send_the_agent_back():
    world = GridWorld(("S..G", "####"), wall="reset")
    assert cells(play(world, "right", "right", "down", "right")) == [(0, 1), (0, 2), (0, 0), (0, 1)]


def test_each_move_costs_what_it_costs_the_last_one_too():
    world = GridWorld.chain(3, step_reward=-0.1, goal_reward=2.0)
    assert [outcome.reward for outcome in play(world, "stay", "right", "right")] == pytest.approx([-0.1, -0.1, 1.9])


def test_several_moves_may_be_made_in_one_turn_and_none_after_the_goal():
    world = GridWorld.chain(3)
    state, observation = world.reset(world.tasks()[0], np.random.default_rng(0))
    outcome = world.step(state, [move("right"), move("right"), move("left")])
    assert observation == "row 0, column 0"
    assert (outcome.reward, outcome.end, outcome.state.turns) == (1.0, End.ANSWERED, 1)
    assert outcome.calls[2].error == "the goal has been reached"
    assert state.cell == (0, 0)  # the old state is still there to fork from


@pytest.mark.parametrize("call", [move("north"), Call("jump", {"direction": "up"}), Call("move"), move(["up"])])
def test_what_is_no_move_fails_and_moves_nothing(call):
    world = GridWorld.chain(3)
    state, _ = world.reset(world.tasks()[0], np.random.default_rng(0))
    outcome = world.step(state, [call])
    assert outcome.state.cell == (0, 0) and outcome.state.turns == 1 and outcome.end is None
    assert not outcome.calls[0].valid
    assert outcome.observations[0].startswith("a call here is move with a direction of up, down, left, right, stay")


def test_coverage_pays_each_cell_once():
    # 3x3, the agent senses its cell and the 4 around it. At the start: (0,0), (0,1), (1,0).
    # right to (0,1): new are (0,2), (1,1). down to (1,1): new are (1,2), (2,1). stay: nothing.
    # right to (1,2): new is (2,2). left to (1,1): nothing. left to (1,0): new is (2,0), and all 9 are seen.
    world = GridWorld.rectangle(3, 3, sense=1, turns=9)
    outcomes = play(world, "right", "down", "stay", "right", "left", "left")
    assert [outcome.reward for outcome in outcomes] == [2, 2, 0, 1, 0, 1]
    assert [outcome.end for outcome in outcomes] == [None] * 5 + [End.ANSWERED]


def test_coverage_ends_with_its_turns():
    outcomes = play(GridWorld.rectangle(3, 3, sense=0, turns=2), "right", "left")
    assert [(outcome.reward, outcome.end) for outcome in outcomes] == [(1, None), (0, End.ANSWERED)]


def test_shortest_paths_by_hand():
    assert GridWorld.chain(8).optimal_steps() == 7
    assert GridWorld.rectangle(4, 5).optimal_steps() == 3 + 4
    assert MAZE.optimal_steps() == 5  # round the wall
    assert MAZE.optimal_steps((2, 2)) == 1 and MAZE.optimal_steps((1, 2)) == 0
    assert GridWorld(("S#G",)).optimal_steps() is None


def test_optimal_values_of_a_chain_follow_the_formula():
    # d moves from the goal, h >= d turns left, no slips: goal * g^(d-1) + step * (1 - g^d) / (1 - g)
    world = GridWorld.chain(5, turns=6, step_reward=-0.1)
    values_HC = world.optimal_values(discount=0.9)
    expected_C = [0.9 ** (d - 1) - 0.1 * (1 - 0.9**d) / 0.1 for d in (4, 3, 2, 1)]
    np.testing.assert_allclose(values_HC[6], [*expected_C, 0.0])
    assert values_HC[0].sum() == 0
    np.testing.assert_allclose(values_HC[1], [-0.1, -0.1, -0.1, 0.9, 0.0])  # one turn: only the last cell is in reach


def test_optimal_values_under_slips_by_hand():
    # Two cells, slip .4: right arrives with .6 + .4 / 4 = .7, else (up, down, left: .3) the agent stays.
    # V1 = .7, V2 = .7 + .3 * .7 = .91
    values_HC = GridWorld(("SG",), turns=2, slip=0.4).optimal_values()
    np.testing.assert_allclose(values_HC[:, 0], [0.0, 0.7, 0.91])


def test_the_value_of_a_random_policy_by_hand():
    # S.G, five moves at 1/5 each. From the middle: P(right) = .2, P(left) = .2, stays put with .6.
    # h=1: V(mid) = .2, V(S) = 0. h=2: V(mid) = .2 + .2 * 0 + .6 * .2 = .32, V(S) = .2 * .2 = .04
    world = GridWorld(("S.G",), turns=2)
    values_HC = world.policy_values(np.full((3, len(DIRECTIONS)), 0.2))
    np.testing.assert_allclose(values_HC[1:], [[0.0, 0.2, 0.0], [0.04, 0.32, 0.0]])


def test_play_agrees_with_the_value_of_its_policy():
    # Always right under slips: the mean return of 2000 episodes lies within 4 standard errors of the exact value.
    world = GridWorld.chain(4, turns=6, slip=0.5)
    right_CA = np.eye(len(DIRECTIONS))[[DIRECTIONS.index("right")] * 4]
    exact = world.policy_values(right_CA)[6, 0]
    returns = []
    for seed in range(2000):
        state, _ = world.reset(world.tasks()[0], np.random.default_rng(seed))
        total, end, turn = 0.0, None, 0
        while end is None and turn < world.turns:
            outcome = world.step(state, [move("right")])
            state, end, turn, total = outcome.state, outcome.end, turn + 1, total + outcome.reward
        returns.append(total)
    assert abs(np.mean(returns) - exact) < 4 * (exact * (1 - exact) / 2000) ** 0.5


def test_slips_repeat_with_the_seed_and_differ_between_seeds():
    world = GridWorld.rectangle(5, 5, slip=0.8)
    paths = [cells(play(world, *["right"] * 12, seed=seed)) for seed in (1, 1, 2)]
    assert paths[0] == paths[1] != paths[2]


def test_the_agents_cell_is_read_from_its_moves():
    world = GridWorld.chain(4)
    outcomes = play(world, "right", "right")
    steps = [Step(str(i), "right", calls=outcome.calls) for i, outcome in enumerate(outcomes)]
    lost = Step("2", "jump", calls=world.step(outcomes[1].state, [Call("jump")]).calls)
    for given, cell in ((steps[:0], (0, 0)), (steps[:1], (0, 1)), (steps, (0, 2)), ([*steps, lost], (0, 2))):
        assert world.cell_of(Prefix("t", world.tasks()[0], tuple(given), "", Context(""))) == cell


def test_the_limits_are_the_turns_without_a_last_word():
    world = GridWorld.chain(3, turns=7)
    assert (world.limits.turns, world.limits.final_turn, world.limits.observation_tokens) == (7, False, None)
    assert [task.id for task in world.tasks(2)] == ["grid-0", "grid-1"]


@pytest.mark.parametrize("layout", [("SS.G",), ("S..",), (".G",), ("S?G",)])
def test_a_layout_needs_one_start_one_goal_and_known_marks(layout):
    with pytest.raises(SettingError, match="a layout has one S, one G"):
        GridWorld(layout)


def test_other_wrong_settings_say_what_is_right():
    with pytest.raises(SettingError, match=r"no G \(coverage pays\)"):
        GridWorld(("SG",), sense=1)
    with pytest.raises(SettingError, match="slip is 0 to 1"):
        GridWorld.chain(3, slip=1.5)
    with pytest.raises(SettingError, match="where a goal pays"):
        GridWorld.rectangle(2, 2, sense=1).optimal_values()
