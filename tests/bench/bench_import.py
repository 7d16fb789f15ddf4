"""How long `import workbench` takes in a fresh Python, beside Python's own start: `make bench`.

Prints medians of 15 runs each, run alternately, so that a busy moment hits both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def seconds(code: str) -> float:
    """Wall-clock seconds of `python -c code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    codes = ("pass", "import numpy", "import workbench")
    for code in codes:
        seconds(code)  # fills the file cache and writes bytecode
    rounds = [[seconds(code) for code in codes] for _ in range(ROUNDS)]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    print(f"{'python -c':20}{'median':>10}{'over start':>12}{'ratio':>8}")
    for code, median in zip(codes, medians, strict=True):
        print(f"{code:20}{1000 * median:>7.0f} ms{1000 * (median - medians[0]):>9.0f} ms{median / medians[0]:>8.1f}")


if __name__ == "__main__":
    main()
