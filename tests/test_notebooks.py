"""The notebooks run from top to bottom in a fresh kernel, and stand in the repository with their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import at_home
from tests.test_project import ELSEWHERE

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; pip install -e '.[test]'")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; pip install -e '.[test]'")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_000_000  # bytes: a diff must stay readable
TIMEOUT_S = 600

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(outputs: list[Any]) -> Iterator[str]:
    """Everything readable in these outputs, pictures left out."""
    for output in outputs:
        yield "".join(output.get("text", "")) + "".join(output.get("traceback", []))
        yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
@pytest.mark.slow
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, request: pytest.FixtureRequest):
    notebook = nbformat.read(path, as_version=4)
    shared = {}
    if any("WORKBENCH_SHARED" in cell.source for cell in code_cells(notebook)):  # it reads the shared data sets
        shared = {"WORKBENCH_SHARED": str(request.getfixturevalue("shared_data").parent)}  # skips where there are none
    home = tmp_path / "home"
    home.mkdir()
    place = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=place)
    client.execute(env={**at_home(home), **shared})  # a cell that fails raises here, with its traceback
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    complaints = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not complaints, "a reader sees warnings:\n" + "\n".join(complaints)
    machine = (str(tmp_path), str(FOLDER.parent), str(Path.home()) + "/")
    told = [text for text in shown(outputs) for place in machine if place in text]
    assert not told, f"a path of this machine stands in an output: {told[0][:300]}"


@each
def test_a_notebook_stands_here_as_it_ran(path: Path):
    notebook = nbformat.read(path, as_version=4)
    ran = code_cells(notebook)
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1)), (
        f"run {path.name} from top to bottom in a fresh kernel and save it with its outputs"
    )
    outputs = [output for cell in ran for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds, f"{path.name} shows no picture"
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert path.stat().st_size < LARGEST, f"{path.name} is too large for a repository; show less"


@each
def test_components_in_a_notebook_can_be_read_without_a_kernel(path: Path):
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        told = [output.get("data", {}) for output in cell.outputs]
        if any("application/vnd.jupyter.widget-view+json" in data for data in told):
            picture = "".join("".join(data.get("text/html", "")) for data in told)
            assert "<table" in picture or "<svg" in picture, f"{path.name}: {cell.source[-80:]!r} leaves no picture"
            assert "<script" not in picture


@each
def test_a_notebook_names_no_folder_of_the_machine_it_ran_on(path: Path):
    notebook = nbformat.read(path, as_version=4)
    texts = [text for cell in code_cells(notebook) for text in shown(cell.outputs)]
    assert not [text[:200] for text in texts if ELSEWHERE.search(text)]


@each
def test_the_pictures_a_notebook_shows_are_here(path: Path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    linked = [part.split(")")[0] for part in text.split("](")[1:]]
    missing = [link for link in linked if "://" not in link and not (FOLDER / link.split("#")[0]).exists()]
    assert not missing
