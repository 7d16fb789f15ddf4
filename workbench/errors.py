"""Every error the workbench raises, in one place.

Each is also a builtin error, so ``except ValueError`` keeps working::

    WorkbenchError
    ├── ShapeError (ValueError)          an array with the wrong axes
    ├── LevelError (ValueError)          rewards of different levels where one level is needed
    ├── ScoreError (ValueError)          a reward broke its contract (length, status, NaN)
    ├── MissingGold (ValueError)         a task lacks the golds that a reward needs
    ├── MissingTokens (ValueError)       something needs token ids and the trajectory is text only
    ├── FormatError (ValueError)         a file or reply that cannot be read; names the line
    ├── SettingError (ValueError)        a setting outside what is allowed
    ├── UnknownName (LookupError)        nothing of that name; suggests the nearest
    │   └── UnknownRun
    ├── CapabilityError (RuntimeError)   an engine or policy cannot do what was asked
    ├── EngineError (RuntimeError)       the process that samples died, hung or failed; says how to go on
    ├── ToolError (RuntimeError)         a tool call failed; the loop records it as data
    ├── StoreError (RuntimeError)        the lab cannot be read or written
    │   └── StoreBusy (TimeoutError)     the write lock was not had in time
    ├── MissingPackage (ImportError)     an optional package; says how to install it
    └── TrainingError (RuntimeError)     a run cannot go on
        └── CheckFailed                  a training check that must hold did not
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkbenchError(Exception):
    """Root of all errors raised on purpose by the workbench."""


class ShapeError(WorkbenchError, ValueError):
    """An array has the wrong axes."""


class LevelError(WorkbenchError, ValueError):
    """Rewards of different levels met where one level is needed."""


class ScoreError(WorkbenchError, ValueError):
    """A reward broke its contract."""


class MissingGold(WorkbenchError, ValueError):
    """A task lacks the golds (answers, pages, sub-questions) that a reward needs."""


class MissingTokens(WorkbenchError, ValueError):
    """Token ids are needed, and the trajectory was imported as text."""


class FormatError(WorkbenchError, ValueError):
    """A file, row or reply cannot be read."""


class SettingError(WorkbenchError, ValueError):
    """A setting has a value outside what is allowed."""


class UnknownName(WorkbenchError, LookupError):
    """Nothing goes by this name.

    ``UnknownName.among("credit", "GroupAdvantge", names)`` words the message and suggests the nearest name.
    """

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownName:
        """The error for `name`, listing up to twelve of the `known` names."""
        names = sorted(known)
        held = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(f"no {kind} {name!r}{where and ' in ' + where}; known: {held or 'none yet'}.{hint}")


class UnknownRun(UnknownName):
    """No run of this name in the lab."""


class CapabilityError(WorkbenchError, RuntimeError):
    """An engine or policy cannot do what was asked of it."""


class EngineError(WorkbenchError, RuntimeError):
    """The process of an engine died, went silent, or could not answer."""


class ToolError(WorkbenchError, RuntimeError):
    """A tool call failed. The rollout loop turns it into a failed `Call` and goes on."""


class StoreError(WorkbenchError, RuntimeError):
    """The lab cannot be read or written."""


class StoreBusy(StoreError, TimeoutError):
    """The lab's write lock was not had before the deadline."""


class MissingPackage(WorkbenchError, ImportError):
    """An optional package is not installed."""


class TrainingError(WorkbenchError, RuntimeError):
    """A run cannot go on."""


class CheckFailed(TrainingError):
    """A training check that must hold did not."""
