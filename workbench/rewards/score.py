"""`score`: a reward over trees."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.encoding import Vectors, remembering
from workbench.errors import ScoreError, SettingError
from workbench.protocols import Reward
from workbench.scores import Scores
from workbench.trajectory import Tree


def score(trees: Sequence[Tree], reward: Reward, *, vectors: Vectors | None = None) -> list[list[Scores]]:
    """Score every trajectory, group by group.

    Args:
        vectors: where the vectors of texts are looked up and kept, such as ``store.vectors`` or a dict: encoders of the
            reward that are worth it then encode no text twice.

    Returns:
        For each tree, one Scores a trajectory in the tree's order.

    Raises:
        ScoreError: the reward gave another number of scores than the group has trajectories.
        SettingError: a class was given for a reward.
        MissingGold: a task lacks what the reward needs.
    """
    if isinstance(reward, type):
        raise SettingError(f"{reward.__name__} is a class; a reward is made of it with brackets: {reward.__name__}()")
    bound = reward if vectors is None else remembering(reward, vectors)
    return [_score_tree(tree, bound) for tree in trees]


def _score_tree(tree: Tree, reward: Reward) -> list[Scores]:
    by_id: dict[str, Scores] = {}
    for group in tree.groups():
        scores = reward(group)
        if len(scores) != len(group):
            raise ScoreError(f"{reward!r} gave {len(scores)} scores for a group of {len(group)}")
        by_id.update({trajectory.id: one for trajectory, one in zip(group, scores, strict=True)})
    return [by_id[trajectory.id] for trajectory in tree]
