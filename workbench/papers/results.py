"""What the proofs gave when they were last run, kept with the package: one JSON file a method.

`make bench-papers` runs them and writes the files; the list of papers and the app show what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench.papers.paper import Check, Proof, Verdict

FOLDER = Path(__file__).resolve().parent / "results"
WORST: tuple[Verdict, ...] = ("not reproduced", "direction only", "reproduced")


@dataclass(frozen=True)
class Kept:
    """The proofs of one method, by seed."""

    proofs: Mapping[int, Proof] = field(default_factory=dict)  # of the mechanism
    on_world: Mapping[int, Proof] = field(default_factory=dict)  # the tiny policy on the embedded world

    @property
    def verdict(self) -> Verdict | None:
        """The worst of the seeds; None where nothing is kept."""
        return min((proof.verdict for proof in self.proofs.values()), key=WORST.index, default=None)

    def with_proof(self, seed: int, proof: Proof, *, on_world: bool = False) -> Kept:
        """With one more, or in the place of an earlier one."""
        made = {"proofs": dict(self.proofs), "on_world": dict(self.on_world)}
        made["on_world" if on_world else "proofs"][seed] = proof
        return Kept(**made)


def kept(name: str, folder: Path = FOLDER) -> Kept:
    """What is kept of a method; nothing of it where it was never run."""
    file = folder / f"{name}.json"
    if not file.exists():
        return Kept()
    told = json.loads(file.read_text(encoding="utf-8"))
    return Kept(*({int(seed): _read(one) for seed, one in told[kind].items()} for kind in ("proofs", "on_world")))


def keep(name: str, results: Kept, folder: Path = FOLDER) -> Path:
    """Write the file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    told = {
        "proofs": {seed: plain(proof) for seed, proof in sorted(results.proofs.items())},
        "on_world": {seed: plain(proof) for seed, proof in sorted(results.on_world.items())},
    }
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def plain(proof: Proof) -> dict[str, Any]:
    """As JSON data, numbers to six digits; the verdict beside what it follows from, for those who only read."""
    return {"verdict": proof.verdict} | _rounded(asdict(proof))


def _read(told: Mapping[str, Any]) -> Proof:
    fields = {name: value for name, value in told.items() if name != "verdict"}
    return Proof(**{**fields, "checks": tuple(Check(**check) for check in told["checks"])})


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
