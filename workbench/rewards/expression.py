"""Rewards written as text, for the command line and the app: ``ExactMatch() + 0.5 * CoverageGain(by="id")``.

The text is parsed and never run: names of rewards, their settings (literals, and parts such as an encoder), and + - *
between them.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import fields
from typing import Any

from workbench.errors import SettingError, UnknownName
from workbench.rewards.reward import Reward
from workbench.spec import PARTS

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def read_reward(text: str) -> Reward:
    """The reward that `text` spells.

    Raises:
        SettingError: it is not a sum or product of rewards; says where.
        UnknownName: no reward of that name; suggests the nearest.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        where = f"at character {error.offset}" if error.offset else "where it ends"
        raise SettingError(f"cannot read the reward {text!r}: {error.msg} {where}") from error
    reward = _value(tree.body, text)
    if not isinstance(reward, Reward):
        raise SettingError(f"{text!r} is no reward; write for example: ExactMatch() + 0.5 * CoverageGain()")
    return reward


def _value(node: ast.expr, text: str, *, setting: bool = False) -> Any:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if any(keyword.arg is None for keyword in keywords):
                raise SettingError(f"cannot read ** in the reward {text!r}")
            settings = {str(keyword.arg): _value(keyword.value, text, setting=True) for keyword in keywords}
            return _make(name, [_value(item, text, setting=True) for item in args], settings, setting=setting)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _joined(_OPERATORS[type(op)], _value(left, text), _value(right, text), text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _joined(operator.mul, -1, _value(operand, text), text)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_value(item, text, setting=setting) for item in items)
        case ast.Name(id=name):
            return _make(name, [], {}, setting=setting)
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
    raise SettingError(
        f"cannot read {ast.unparse(node)!r} in the reward {text!r}; allowed are rewards, numbers, texts, + - * and ()"
    )


def _make(name: str, args: list[Any], settings: dict[str, Any], *, setting: bool) -> Any:
    rewards = {part for part, cls in PARTS.items() if issubclass(cls, Reward)}
    if name not in (PARTS if setting else rewards):
        raise UnknownName.among("reward", name, rewards)
    try:
        return PARTS[name](*args, **settings)
    except TypeError as error:
        settings_text = ", ".join(field.name for field in fields(PARTS[name])) or "none"
        reason = str(error).replace(f"{name}.__init__()", name)
        raise SettingError(f"{name} does not take these settings: {reason}; its settings: {settings_text}") from error


def _joined(join: Any, left: Any, right: Any, text: str) -> Any:
    try:
        return join(left, right)
    except TypeError as error:
        raise SettingError(f"cannot combine {left!r} and {right!r} in the reward {text!r}") from error
