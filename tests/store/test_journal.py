"""Journals: what is recorded is on disk at once, whoever is killed, however full the disk."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_trajectory, a_tree
from tests.store.test_processes import ROOT, finished, started
from tests.store.trees import trees
from tests.store.writing import tree_number
from workbench.errors import StoreError
from workbench.store import journal, lake, open_store
from workbench.store.journal import Journals, packed, read_records
from workbench.store.locks import LockedFile
from workbench.store.rows import Rows, arrow, now, time_id, tree_rows

# ---------------------------------------------------------------- the records

QUICK = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def labels(count: int) -> list[Rows]:
    """One label a recording."""
    rows = [(time_id(), "ann", "r1", "t", f"t.{n}", n, "correct", n / 8, "why 🦆", now()) for n in range(count)]
    return [Rows("r1", {"labels": arrow("labels", [row])}) for row in rows]


def same(found: Sequence[Rows], given: Sequence[Rows]) -> bool:
    """Whether both are the same to the bit."""
    return list(map(packed, found)) == list(map(packed, given))


@settings(QUICK, max_examples=40)
@given(st.lists(trees(), max_size=2, unique_by=lambda tree: tree.id), st.frozensets(st.text(max_size=3), max_size=2))
def test_rows_come_back_from_a_record_as_they_were(drawn, scored):
    rows = tree_rows(drawn, run="r1", update=3)
    rows.scored = frozenset(name.encode("ascii", "replace").decode() for name in scored)
    [(back, end)] = read_records(packed(rows)).items
    assert end == len(packed(rows))
    assert (back.run, back.update, back.digests, back.scored) == ("r1", 3, rows.digests, rows.scored)
    assert back.tables.keys() == rows.tables.keys()
    assert all(back.tables[name].schema == table.schema for name, table in rows.tables.items())
    assert same([back], [rows])


@settings(QUICK)
@given(st.integers(0, 3), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_keeps_every_whole_record_before_the_cut(count, share):
    given = labels(count + 1)
    whole = [packed(rows) for rows in given]
    before = sum(map(len, whole[:count]))
    left = 1 + int(share * (len(whole[count]) - 1))  # at least one byte of the last, never all of it
    found = read_records(b"".join(whole)[: before + left])
    assert same([rows for rows, _ in found.items], given[:count])
    assert (found.unfinished, found.corrupt) == (left if left < len(whole[count]) else 0, 0)


@settings(QUICK)
@given(st.integers(0, 2), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_byte_that_changed_spoils_its_own_record_and_invents_none(which, share, flip):
    given = labels(3)
    whole = [packed(rows) for rows in given]
    at = int(share * len(whole[which]))
    spoilt = bytearray(whole[which])
    spoilt[at] ^= flip
    whole[which] = bytes(spoilt)
    found = read_records(b"".join(whole))
    kept = [rows for n, rows in enumerate(given) if n != which]
    if 8 <= at < 16:  # the length itself: where the next record begins is not known
        kept = given[:which]
    assert same([rows for rows, _ in found.items], kept)
    assert found.corrupt or found.unfinished


def test_a_file_of_zeros_holds_nothing():
    # what some file systems leave of a file that grew just before the power went
    found = read_records(packed(labels(1)[0]) + bytes(4096))
    assert len(found.items) == 1
    assert found.corrupt == 4096


# ---------------------------------------------------------------- files and their owners


def test_a_file_is_adopted_once_its_writer_is_gone_and_not_before(tmp_path: Path):
    living, other = Journals(tmp_path / "journal"), Journals(tmp_path / "journal")
    living.append(packed(labels(1)[0]), sync=True)
    assert not other.adopt()
    living.close()  # not folded: the file stays
    assert other.adopt()
    assert not other.adopt()  # it is held already
    [(adopted, end)] = other.waiting()
    assert len(adopted.read(0, end).items) == 1
    adopted.folded, adopted.certain = end, True
    other.drop_folded()
    assert not list((tmp_path / "journal").iterdir())


def test_a_long_journal_goes_on_in_a_new_file_and_leaves_none_behind(lab: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal, "SEALED_BYTES", 4000)
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([tree_number(0)], run=run)
        with lake.locked(lab, deadline_s=5.0):
            for n in range(20):
                store.label(run, "tree-0", "0.0", "correct", float(n))
            assert len(list((lab / "journal").iterdir())) > 3
        store.flush()
        assert store.sql("select value from labels order by label").value.tolist() == list(range(20))
        assert len(list((lab / "journal").iterdir())) == 1
    assert not list((lab / "journal").iterdir())


def test_a_forked_process_keeps_no_lock_of_its_parent(tmp_path: Path):
    file = LockedFile.take(tmp_path / "held", make=True)
    assert file is not None
    born, tell_born = os.pipe()
    done, tell_done = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell_born, b".")
        os.read(done, 1)
        os._exit(0)
    os.read(born, 1)
    os.close(file.descriptor)  # as the kernel does when the parent is killed
    taken = LockedFile.take(tmp_path / "held", make=False)
    os.write(tell_done, b".")
    os.waitpid(child, 0)
    assert taken is not None
    taken.close()


# ---------------------------------------------------------------- writers that were killed

KILLED = """
import os, signal
from tests.store.writing import tree_number
from workbench.store import lake, open_store
from workbench.store.folding import Folder
from workbench.store.journal import Journals
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
{how}
store = open_store({lab!r})
run = store.start_run({{}}) if not store.runs() else "r1"
with lake.locked(store.path, deadline_s=5.0):
    store.record_trees([tree_number({n})], run=run)
    for k in range(3):
        store.label(run, "tree-{n}", "{n}.0", "correct", float(k))
    {then}
store.flush()
"""
AT_ONCE = "die()"
AMID_ITS_COMMIT = "Folder._unknown_only = die"
AFTER_ITS_COMMIT = "Journals.drop_folded = die"


def kill_a_writer(lab: Path, n: int, how: str = "", then: str = "pass") -> None:
    """A process that records tree `n` and three labels of it, and is killed."""
    process = started("-c", KILLED.format(lab=str(lab), n=n, how=how, then=then))
    _, err = process.communicate(timeout=300)
    assert process.returncode == -9, err


def held(lab: Path) -> tuple[list[str], list[tuple[str, float]]]:
    """Trees and labels."""
    with open_store(lab) as store:
        found = store.sql("select tree, value from labels order by label")
        return [tree.id for tree in store.trees("r1")], list(found.itertuples(index=False, name=None))


def of(*numbers: int) -> tuple[list[str], list[tuple[str, float]]]:
    return [f"tree-{n}" for n in numbers], [(f"tree-{n}", float(k)) for n in numbers for k in range(3)]


def test_what_a_killed_writer_left_comes_in_at_the_next_open(lab: Path):
    kill_a_writer(lab, 1, then=AT_ONCE)
    assert len(list((lab / "journal").iterdir())) == 1
    assert held(lab) == of(1)
    assert not list((lab / "journal").iterdir())


def test_a_writer_killed_amid_its_commit_or_just_after_it_has_every_row_once(lab: Path):
    kill_a_writer(lab, 1, how=AMID_ITS_COMMIT)
    kill_a_writer(lab, 2, how=AMID_ITS_COMMIT)  # this one dies while it folds what the first left
    assert len(list((lab / "journal").iterdir())) >= 1
    assert held(lab) == of(1)
    kill_a_writer(lab, 3, how=AFTER_ITS_COMMIT)
    kill_a_writer(lab, 4, how=AFTER_ITS_COMMIT)
    assert held(lab)[0][:2] == ["tree-1", "tree-3"]
    trees, said = held(lab)
    assert len(said) == len(set(said)) == 3 * len(trees)
    assert not list((lab / "journal").iterdir())


def test_a_living_writer_folds_what_a_dead_one_left_with_its_next_commit(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        kill_a_writer(lab, 1, then=AT_ONCE)
        store.record_trees([tree_number(2)], run=run)
        store.flush()
        assert [tree.id for tree in store.trees(run)] == ["tree-1", "tree-2"]


def test_processes_that_open_at_once_fold_a_dead_journal_once(lab: Path):
    kill_a_writer(lab, 1, then=AT_ONCE)
    code = f"from workbench.store import open_store; print(len(open_store({str(lab)!r}).trees('r1')))"
    opening = [started("-c", code) for _ in range(3)]
    for process in opening:
        finished(process)
    assert held(lab) == of(1)


@pytest.fixture
def killed_lab(lab: Path) -> Path:
    """A lab with the journal of a killed writer."""
    kill_a_writer(lab, 1, then=AT_ONCE)
    return lab


def test_an_unfinished_last_record_is_dropped_and_said(killed_lab: Path, caplog: pytest.LogCaptureFixture):
    [file] = (killed_lab / "journal").iterdir()
    os.truncate(file, file.stat().st_size - 7)
    with caplog.at_level(logging.WARNING):
        trees, said = held(killed_lab)
    assert (trees, said) == (["tree-1"], [("tree-1", 0.0), ("tree-1", 1.0)])
    assert "bytes of a last recording, which was not acknowledged, are dropped" in caplog.text
    assert not list((killed_lab / "journal").iterdir())


def test_a_corrupt_record_is_left_out_and_said_and_a_copy_kept(killed_lab: Path, caplog: pytest.LogCaptureFixture):
    [file] = (killed_lab / "journal").iterdir()
    data = bytearray(file.read_bytes())
    data[data.rfind(b"row1", 0, data.rfind(b"row1")) + 200] ^= 1  # in the second label of three
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        trees, said = held(killed_lab)
    assert (trees, said) == (["tree-1"], [("tree-1", 0.0), ("tree-1", 2.0)])
    assert "cannot be read and are left out; the file is kept as" in caplog.text
    [kept] = (killed_lab / "journal").iterdir()
    assert kept.suffix == ".damaged"
    assert kept.read_bytes() == data


def test_what_contradicts_the_lab_in_a_dead_journal_is_said_and_blocks_nothing(
    lab: Path, caplog: pytest.LogCaptureFixture
):
    with open_store(lab) as store:
        run = store.start_run({})
    other = tree_rows([a_tree(a_trajectory(["p9"]), id="tree-1")], run=run, update=0)
    dead = Journals(lab / "journal")  # of one that recorded another tree-1
    for rows in (tree_rows([tree_number(1)], run=run, update=0), other, *labels(1)):
        dead.append(packed(rows), sync=True)
    dead.close()
    with caplog.at_level(logging.WARNING), open_store(lab) as store:
        assert [len(tree) for tree in store.trees(run)] == [4]
        assert len(store.sql("from labels")) == 1
    assert "what a process that ended left behind: run 'r1' holds another tree with the id 'tree-1'" in caplog.text


def test_a_recording_that_does_not_fit_the_tables_is_kept_aside_and_blocks_nothing(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([tree_number(0)], run=run)
        first, last = labels(2)
        wrong = first.tables["labels"].append_column("invented", [["by a later workbench"]])
        for rows in (first, Rows(run, {"labels": wrong}), last):
            store._writer.put(rows)
        with pytest.raises(StoreError, match="(?s)does not fit the lab and was left out: .*invented"):
            store.flush()
        assert store.sql("select value from labels order by label").value.tolist() == [0.0, 0.125]
    [kept] = (lab / "journal").iterdir()
    assert kept.suffix == ".damaged"


# ---------------------------------------------------------------- a disk that cannot be written


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a full disk, writing fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_recording_that_does_not_fit_on_the_disk_is_an_error_and_leaves_nothing(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([tree_number(0)], run=run)
        with lake.locked(lab, deadline_s=5.0):  # nothing is folded meanwhile
            store.label(run, "tree-0", "0.0", "correct", 1.0)
            [file] = (lab / "journal").iterdir()
            size = file.stat().st_size
            with (
                no_file_larger_than(size + 500),  # half a label
                pytest.raises(StoreError, match="nothing was recorded: the journal of lab .* could not be written"),
            ):
                store.label(run, "tree-0", "0.0", "correct", 2.0)
            assert file.stat().st_size == size
            store.label(run, "tree-0", "0.0", "correct", 3.0)
        assert store.sql("select value from labels order by label").value.tolist() == [1.0, 3.0]
        store.flush()
        assert store.sql("select value from labels order by label").value.tolist() == [1.0, 3.0]


def test_a_journal_that_cannot_be_written_is_an_error_and_the_store_goes_on_once_it_can(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        (lab / "journal").write_text("in the way")
        with pytest.raises(StoreError, match="nothing was recorded: the journal of lab .* could not be written"):
            store.record_trees([tree_number(0)], run=run)
        assert store.trees(run) == []
        (lab / "journal").unlink()
        store.record_trees([tree_number(0)], run=run)
        assert [tree.id for tree in store.trees(run)] == ["tree-0"]


@pytest.mark.embedded("rows are written to the folder")
def test_a_lab_that_cannot_be_written_says_so(lab: Path):
    with open_store(lab) as store:
        store.record_trees([tree_number(0)], run=store.start_run({}))
    code = f"from workbench.store import open_store; open_store({str(lab)!r}).start_run({{}})"
    done = in_a_namespace(f"mount --bind '{lab}' '{lab}' && mount -o remount,ro,bind '{lab}'", code)
    assert "StoreError: the folder of lab" in done.stderr
    assert "cannot be written" in done.stderr


def in_a_namespace(mount: str, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -c CODE ARGUMENTS` where something is mounted that nobody else sees."""
    isolated = ["unshare", "-rm", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*isolated, mount], capture_output=True).returncode:
        pytest.skip("mounting needs unshare and a namespace of one's own")
    command = [*isolated, f'{mount} && exec "$@"', "sh", sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run([*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300)


FULL = """
import os, sys
from tests.store.writing import tree_number
from workbench.errors import StoreError
from workbench.store import open_store
lab = sys.argv[1] + "/lab"
def fill(left):
    with open(sys.argv[1] + "/filler", "wb") as file:
        room = os.statvfs(lab)
        file.write(bytes(max(room.f_bavail * room.f_frsize - left, 0)))
def told(work):
    try:
        work()
    except StoreError as error:
        print(type(error).__name__, str(error)[:40])
with open_store(lab) as store:
    run = store.start_run({})
    store.record_trees([tree_number(0)], run=run)
    store.flush()
    fill(60_000)  # room for the journal, not for a commit
    with store.together():
        for n in range(1, 4):
            store.record_trees([tree_number(n)], run=run)
    told(store.flush)
    fill(0)
    for n in range(4, 60):
        told(lambda: store.record_trees([tree_number(n)], run=run))
    os.remove(sys.argv[1] + "/filler")
    store.record_trees([tree_number(99)], run=run)
    store.flush()
    print([tree.id for tree in store.trees(run)])
"""


@pytest.mark.embedded("rows are written to the folder")
def test_a_full_disk_loses_nothing_that_was_acknowledged(lab: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = in_a_namespace(f"mount -t tmpfs -o size=3m tmpfs '{disk}' && cp -r '{lab}' '{disk}/lab'", FULL, disk)
    assert done.returncode == 0, done.stderr
    *errors, kept = done.stdout.splitlines()
    assert errors[0].startswith("StoreError rows could not be written")
    refused = [line for line in errors[1:] if line.startswith("StoreError nothing was recorded")]
    assert refused == errors[1:] != []
    assert kept == str([f"tree-{n}" for n in [*range(60 - len(refused)), 99]])
