"""Reading and importing need a memory that does not grow with the file: measured, as the peak of child processes.

The figures that are promised (2 GB in 500 MB) are those of tests/bench/bench_import_file.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
PEAK = "import re; print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"  # in kB
MERGING = "from workbench.store import upkeep, writer; upkeep.MANY, writer.LOOK_EVERY = 10, 4"  # as a long import does
IMPORT = f"import sys; {MERGING}; from workbench.cli import main; main(['import', *sys.argv[1:]]); {PEAK}"
READ = f"import sys; from workbench.formats import read; print(sum(1 for _ in read(sys.argv[1]))); {PEAK}"
SMALL_MB, LARGE_MB = 20, 70


def texts(mb: int, kb: int) -> list[str]:
    """So many megabytes of words, which pack about as well as prose, in texts of so many kilobytes."""
    rng = np.random.default_rng(0)
    words = rng.integers(97, 123, (512, 8), np.uint8)
    words[:, 7] = ord(" ")
    return [words[rng.integers(0, 512, kb * 125)].tobytes().decode() for _ in range(mb * 1000 // kb)]


def peak_mb(code: str, *argv: str, folder: Path) -> int:
    """Largest resident memory of a Python process, in MB; its ru_maxrss would begin with that of this process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *argv]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.rsplit("peak ", 1)[1]) // 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_an_import_needs_no_more_memory_for_a_larger_file(tmp_path: Path):
    peaks = []
    for mb in (SMALL_MB, LARGE_MB):
        with open(tmp_path / f"{mb}.jsonl", "w") as file:
            for n, text in enumerate(texts(mb, 40)):
                steps = [{"text": "<search> x </search>", "observation": text}]
                file.write(
                    json.dumps({"task": {"id": f"q{n}", "question": "?"}, "trajectories": [{"steps": steps}]}) + "\n"
                )
        peaks.append(peak_mb(IMPORT, f"{mb}.jsonl", "--lab", f"lab{mb}", folder=tmp_path))
    assert peaks[1] < peaks[0] + LARGE_MB, peaks  # one copy of the larger file is too much


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_parquet_file_is_read_a_piece_at_a_time_though_it_is_one_row_group(tmp_path: Path):
    peaks = []
    for mb in (SMALL_MB, LARGE_MB):
        made = texts(mb, 4)  # a page is the least that can be read: 1,024 rows, as Arrow writes
        columns = {"prompt": [str(n) for n in range(len(made))], "completion": made, "step": [1] * len(made)}
        table = pa.table({**columns, "reward": [1.0] * len(made), "advantage": [0.0] * len(made)})
        pq.write_table(table, tmp_path / f"{mb}.parquet", row_group_size=len(table), compression="none")
        peaks.append(peak_mb(READ, f"{mb}.parquet", folder=tmp_path))
    assert peaks[1] < peaks[0] + LARGE_MB // 2, peaks
