"""The campaigns of ``benchmarks/reliability`` at small counts; and that they see planted faults.

What they attack at full counts, and what came of it, is told in ``docs/reliability.md``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.data.source import Source
from tellapart.data.subset import subset
from tellapart.pixels.preprocessing import Preprocessing

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks" / "reliability"))

import changes
import child
import damage
import full_disk
import harness
import hostile
import hostile_inputs
import kills

Campaigns = Callable[..., harness.Campaign]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaigns:
    """A campaign that works below this test's folder; ``plant`` is code that it runs first."""

    def make(plant: str = "") -> harness.Campaign:
        file = tmp_path / "plant.py"
        file.write_text(textwrap.dedent(plant), encoding="utf-8")
        work = tmp_path / "work"
        work.mkdir()
        return harness.Campaign(work, plant=file if plant else None)

    return make


def scenario(name: str) -> kills.Scenario:
    return next(s for s in kills.SCENARIOS if s.name == name)


# --- the campaigns, small -------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_killed_at_any_operation_comes_back_to_the_same_bytes(
    campaign: Campaigns,
) -> None:
    def job(bench: harness.Bench) -> harness.Tally:
        return kills.Attack(scenario("train scratch"), bench).systematic(every=17)

    tally = campaign().each([("kills", job)])

    assert tally.counts["kills systematic"] >= 4
    assert tally.faults == []


@pytest.mark.slow
def test_an_inspection_killed_at_any_operation_is_whole_the_next_time(campaign: Campaigns) -> None:
    def job(bench: harness.Bench) -> harness.Tally:
        return kills.Attack(scenario("inspect"), bench).systematic(every=29, first=5)

    tally = campaign().each([("kills", job)])

    assert tally.counts["kills systematic"] >= 3
    assert tally.faults == []


@pytest.mark.slow
def test_a_subset_killed_at_any_time_is_whole_and_alone(campaign: Campaigns) -> None:
    def job(bench: harness.Bench) -> harness.Tally:
        attack = kills.Attack(scenario("subset"), bench)
        tally = attack.systematic(every=6)
        tally.merge(attack.random(3, seed=0))
        return tally

    tally = campaign().each([("kills", job)])

    assert tally.counts["kills"] >= 5
    assert tally.faults == []


@pytest.mark.slow
def test_what_is_kept_before_an_operation_is_what_a_kill_there_leaves(campaign: Campaigns) -> None:
    def content(folder: Path) -> dict[str, str]:
        return {
            kills.steady(path.relative_to(folder).as_posix()): harness.digest(path.read_bytes())
            if path.is_file() else ""
            for path in sorted(folder.rglob("*"))
        }  # fmt: skip

    def job(bench: harness.Bench) -> harness.Tally:
        attack = kills.Attack(scenario("subset"), bench)
        states = attack.states()
        assert len(states) > 20
        for number in (1, len(states) // 2, len(states)):
            bench.restore("before")
            outcome = bench.start(*attack.command, watch=str(bench.case), kill_at=number)
            assert outcome.stopped == ""
            assert outcome.code == -signal.SIGKILL
            assert content(bench.case) == content(states[number]), number
        return harness.Tally()

    campaign().each([("states", job)])


@pytest.mark.slow
def test_hostile_files_end_in_answers_and_sentences(campaign: Campaigns) -> None:
    def pictures(bench: harness.Bench) -> harness.Tally:
        return hostile.attack_pictures(bench, 60, seed=1)

    def texts(bench: harness.Bench) -> harness.Tally:
        return hostile.attack_texts(bench, 15, seed=1)

    def archives(bench: harness.Bench) -> harness.Tally:
        return hostile.attack_archives(bench, 10, seed=1)

    tally = campaign().each([("pictures", pictures), ("texts", texts), ("archives", archives)])

    assert (tally.counts["pictures"], tally.counts["texts"], tally.counts["archives"]) == (
        60, 15, 10,
    )  # fmt: skip
    assert tally.faults == []


@pytest.mark.slow
def test_two_trainings_at_the_same_moment_lose_nothing(campaign: Campaigns) -> None:
    tally = campaign().each([("pairs", lambda bench: full_disk.pairs(bench, 1))])

    assert tally.counts["right"] == 3
    assert tally.faults == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_a_sentence_and_the_run_can_go_on(campaign: Campaigns) -> None:
    writing = next(w for w in full_disk.WRITINGS if w.name == "train scratch: run")

    def job(bench: harness.Bench) -> harness.Tally:
        full_disk.prepared(bench, writing.before)
        return full_disk.Disks(bench, writing).steps(every=5)

    tally = campaign().each([("full", job)])

    assert tally.counts["sentence"] >= 2
    assert tally.faults == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_cannot_be_written_is_a_sentence(campaign: Campaigns) -> None:
    names = ("subset", "inspect: lists", "inspect: report")
    writings = [w for w in full_disk.WRITINGS if w.name in names]

    tally = campaign().each(
        [("read-only", lambda bench: full_disk.disks(bench, writings, 0, read_only=True))]
    )

    assert (tally.counts["sentence"], tally.counts["right afterwards"]) == (3, 3)
    assert tally.faults == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="changing users needs root")
def test_users_who_share_a_cache_come_to_the_same_results() -> None:
    # Below pytest's own folder, which is only root's, another user could not even look.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tally = harness.Campaign(Path(folder)).each([("users", full_disk.users)])

    assert tally.counts["right"] == 16
    assert tally.faults == []


@pytest.mark.slow
def test_changed_files_are_noticed_or_harmless(campaign: Campaigns) -> None:
    def job(bench: harness.Bench) -> harness.Tally:
        attack = damage.Attack(bench)
        tally = attack.attack(range(6), False, seed=3)
        tally.merge(attack.attack(range(6), True, seed=3))
        return tally

    tally = campaign().each([("damage", job)])

    assert tally.counts["changes random"] + tally.counts["changes well-formed"] >= 10
    assert tally.faults == []


@pytest.mark.slow
def test_the_cache_may_be_deleted_at_any_use_of_it(campaign: Campaigns) -> None:
    tally = campaign().each([("deleted", lambda bench: full_disk.deleted(bench, 0, 60, seed=0))])

    assert tally.counts["right"] >= 10
    assert tally.faults == []


Reading = Callable[[], object]
_deletions: list[child.Deletion] = []


@pytest.fixture(scope="module")
def deletions() -> list[child.Deletion]:
    """What is in this list is told of all that this process does with files."""
    sys.addaudithook(lambda event, given: _deletions[0](event, given) if _deletions else None)
    return _deletions


def check_each_deletion(read: Reading, fresh_cache: Path, current: list[child.Deletion]) -> None:
    """The cache goes before each of the file operations that ``read`` does in it."""

    def done(delete_at: int | None) -> tuple[object, int]:
        current[:] = [child.Deletion(str(fresh_cache), delete_at, None)]
        try:
            return read(), current[0].count
        finally:
            current.clear()

    right, cold = done(None)
    again, warm = done(None)
    assert right == again
    assert cold > warm > 3
    for uses, filled in ((cold, False), (warm, True)):
        for number in range(1, uses + 1):
            shutil.rmtree(fresh_cache, ignore_errors=True)
            if filled:
                done(None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found, count = done(number)
            assert count >= number, "nothing was deleted: another folder was used"
            assert found == right, (filled, number)


def test_images_are_decoded_though_the_cache_is_deleted_before_any_use_of_it(
    image_folder: Callable[..., Path], fresh_cache: Path, deletions: list[child.Deletion]
) -> None:
    table = read_table(image_folder(per_class=3))

    def read() -> bytes:
        return load_pixels(table, Preprocessing(8, 8)).pixels.tobytes()

    check_each_deletion(read, fresh_cache, deletions)


def test_an_archive_is_unpacked_again_where_its_files_are_deleted_before_any_use_of_them(
    image_folder: Callable[..., Path], fresh_cache: Path, deletions: list[child.Deletion]
) -> None:
    folder = image_folder(per_class=2)
    source = Source(Path(shutil.make_archive(str(folder), "zip", folder)))

    def read() -> tuple[bytes, object]:
        images = source.pixels(source.read(), Preprocessing(8, 8))
        return images.pixels.tobytes(), images.table.problems

    check_each_deletion(read, fresh_cache, deletions)


def test_a_subset_of_an_archive_is_the_same_though_its_files_are_deleted_before_any_use_of_them(
    image_folder: Callable[..., Path], fresh_cache: Path, deletions: list[child.Deletion],
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = image_folder(per_class=2)
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    out = tmp_path / "out"

    def read() -> dict[str, bytes]:
        shutil.rmtree(out, ignore_errors=True)
        subset(archive, out, train=1, validation=0, test=0)
        return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    check_each_deletion(read, fresh_cache, deletions)


def test_an_archive_some_of_whose_files_are_deleted_while_it_is_decoded_is_whole_again(
    image_folder: Callable[..., Path], fresh_cache: Path
) -> None:
    """Fewer than a fifth, which a folder of the user may lack."""
    folder = image_folder(per_class=6)
    source = Source(Path(shutil.make_archive(str(folder), "zip", folder)))
    table = source.read()
    table.file(7).unlink()

    with pytest.warns(RuntimeWarning, match="damaged"):
        images = source.pixels(table, Preprocessing(8, 8))

    assert len(images) == 12
    assert images.table.problems == ()


# --- planted faults are seen ----------------------------------------------------------------


@pytest.mark.slow
def test_kills_see_files_that_are_not_renamed_but_written_in_place(campaign: Campaigns) -> None:
    plant = """
        import os, shutil
        rename = os.replace
        def in_place(source, target, **where):
            if where or os.path.isdir(source):
                return rename(source, target, **where)
            content = open(source, "rb").read()
            with open(target, "wb") as file:
                file.write(content[: len(content) // 2])
            with open(target, "ab") as file:
                file.write(content[len(content) // 2 :])
            os.unlink(source)
        os.replace = os.rename = in_place
    """

    def job(bench: harness.Bench) -> harness.Tally:
        attack = kills.Attack(scenario("train scratch"), bench)
        operations = attack.quiet.operations
        torn = [n for n, line in enumerate(operations, 1) if line == "open runs/run/run.json"]
        return attack.systematic(every=1000, first=torn[1])  # before its second half is written

    tally = campaign(plant).each([("kills", job)])

    assert [fault["verdict"] for fault in tally.faults] in (["refused"], ["traceback"])


@pytest.mark.slow
def test_hostile_finds_the_one_file_that_crashes(campaign: Campaigns) -> None:
    plant = """
        import os, signal
        from PIL import PpmImagePlugin
        def crash(self):
            os.kill(os.getpid(), signal.SIGSEGV)
        PpmImagePlugin.PpmImageFile._open = crash
    """
    whole = {n: c for n, c in hostile_inputs.whole_pictures().items() if not n.endswith("m")}
    assert len(whole) > 20
    bad = {"bad.ppm": hostile_inputs.whole_pictures()["rgb.ppm"]}

    def job(bench: harness.Bench) -> harness.Tally:
        tally = harness.Tally()
        hostile.prepared(bench)
        hostile.Pictures(bench, tally).predict({**whole, **bad})
        return tally

    tally = campaign(plant).each([("pictures", job)])

    assert [(f["verdict"], f["file"]) for f in tally.faults] == [("traceback", "bad.ppm")]
    assert tally.counts["pictures"] == len(whole) + 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_whose_error_is_swallowed_is_seen(campaign: Campaigns) -> None:
    plant = """
        import contextlib, shutil
        copy = shutil.copyfile
        def quietly(*arguments, **options):
            with contextlib.suppress(OSError):
                copy(*arguments, **options)
            return arguments[1]
        shutil.copyfile = shutil.copy2 = shutil.copy = quietly
    """
    writing = next(w for w in full_disk.WRITINGS if w.name == "subset")

    def job(bench: harness.Bench) -> harness.Tally:
        (bench.case / "out").mkdir()
        bench.keep(writing.before)
        return full_disk.Disks(bench, writing).steps(every=100)

    tally = campaign(plant).each([("full", job)])

    assert {fault["verdict"] for fault in tally.faults} == {"different"}


def test_a_result_is_compared_but_for_its_seconds(tmp_path: Path) -> None:
    def written(seconds: str, loss: str, status: str = "complete") -> dict[str, str]:
        (tmp_path / "history.csv").write_text(f"epoch,loss,seconds\n1,{loss},{seconds}\n")
        (tmp_path / "run.json").write_text(json.dumps({"status": status, "created": seconds}))
        return harness.run_result(tmp_path)

    first = written("1.0", "0.5")

    assert written("2.0", "0.5") == first
    assert written("1.0", "0.6") != first
    assert written("1.0", "0.5", "running") != first


def test_a_case_is_mended_where_it_was_changed_and_nowhere_else(tmp_path: Path) -> None:
    class NoStarter:
        pass

    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    bench = harness.Bench(tmp_path / "bench", NoStarter(), weights)  # type: ignore[arg-type]
    entry = bench.case / "cache" / "kind" / "entry"
    entry.mkdir(parents=True)
    for name in ("one", "two", ".checked"):
        (entry / name).write_text(name)
    bench.keep("whole")
    bench.restore("whole")
    bench.mend("whole")
    before = {p: p.stat().st_ino for p in bench.case.rglob("*")}

    (entry / "one").write_text("eno")
    (entry / "two").unlink()
    (entry / ".checked").write_text("of the product")
    (bench.case / "runs" / "new").mkdir()
    (bench.case / "runs" / "new" / "run.json").write_text("{}")
    shutil.rmtree(bench.case / "data" / "dog")
    bench.mend("whole")

    assert {p.name: p.read_text() for p in entry.iterdir()} == {
        "one": "one", "two": "two", ".checked": "of the product",
    }  # fmt: skip
    assert {p for p in bench.case.rglob("*")} == before.keys()
    untouched = bench.case / "data" / "cat" / "000.png"
    assert untouched.stat().st_ino == before[untouched]
    bench.mend("whole", entry / ".checked")
    assert (entry / ".checked").read_text() == ".checked"


def test_a_state_is_copied_where_it_changed_and_linked_where_not(tmp_path: Path) -> None:
    case, states = tmp_path / "case", tmp_path / "states"
    states.mkdir()
    (case / "runs").mkdir(parents=True)
    for name in ("one", "two"):
        (case / "runs" / name).write_text(name)
    (case / "link").symlink_to("runs/one")

    first = child.copy_state(str(case), str(states / "1"), {})
    assert child.copy_state(str(case), str(states / "2"), first) is first
    (case / "runs" / "two").write_text("changed")
    (case / "runs" / "three").write_text("")
    (case / "link").unlink()
    child.copy_state(str(case), str(states / "3"), first)

    assert sorted(p.name for p in states.iterdir()) == ["1", "3"]
    kept = {p.name: p.read_text() for p in (states / "1").rglob("*") if p.is_file()}
    assert kept == {"one": "one", "two": "two", "link": "one"}
    assert (states / "1" / "link").is_symlink()
    kept = {p.name: p.read_text() for p in (states / "3").rglob("*") if p.is_file()}
    assert kept == {"one": "one", "two": "changed", "three": ""}
    same = [(states / number / "runs" / "one").stat().st_ino for number in ("1", "3")]
    assert same[0] == same[1]


def test_what_was_tried_before_is_counted_and_not_tried_again(tmp_path: Path) -> None:
    tried: list[str] = []

    def case(name: str) -> Callable[[], harness.Tally]:
        def one() -> harness.Tally:
            tried.append(name)
            found = harness.Tally()
            found.add("kind", "same")
            if name == "bad":
                found.add("kind", "different", {"number": 2})
            return found

        return one

    file = tmp_path / "ledger"
    for _ in range(2):
        ledger, tally = harness.Ledger(file), harness.Tally()
        for name in ("good", "bad"):
            assert ledger.once(name, case(name), tally, is_late=len(tried) == 2)

    assert tried == ["good", "bad"]
    assert tally.counts == {"same": 2, "different": 1}
    assert tally.by_kind == {"kind": {"same": 2, "different": 1}}
    assert [fault["number"] for fault in tally.faults] == [2]
    assert not harness.Ledger(file).once("new", case("new"), tally, is_late=True)
    assert tried == ["good", "bad"]


def test_a_job_that_cannot_begin_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.Starter, "make_weights", lambda self, file: file.write_bytes(b""))

    def broken(bench: harness.Bench) -> harness.Tally:
        raise RuntimeError("undisturbed, this must work")

    def whole(bench: harness.Bench) -> harness.Tally:
        tally = harness.Tally()
        tally.add("kind", "right")
        return tally

    tally = harness.Campaign(tmp_path).each([("broken", broken), ("whole", whole)])

    assert tally.counts == {"not run": 1, "right": 1}
    assert [fault["said"] for fault in tally.faults] == ["undisturbed, this must work"]


# --- what they attack with ------------------------------------------------------------------


def test_the_same_seed_makes_the_same_hostile_files(tmp_path: Path) -> None:
    whole = hostile_inputs.whole_pictures()
    data = harness.make_data(tmp_path / "data", per_class=2)

    def made() -> list[object]:
        random = np.random.default_rng(5)
        return [
            *(hostile_inputs.mutated_picture(whole, random) for _ in range(20)),
            *(hostile_inputs.mutated_table(data, random) for _ in range(20)),
            *(hostile_inputs.odd_setting(random) for _ in range(20)),
        ]

    assert made() == made()
    assert len({str(item) for item in made()}) > 50


def test_whole_pictures_can_be_read_before_they_are_mutated() -> None:
    for name, content in hostile_inputs.whole_pictures().items():
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert image.size in ((48, 36), (2, 2)), name


@pytest.mark.parametrize("seed", range(6))
def test_well_formed_changes_can_be_read_and_say_something_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    facts = {"classes": ["cat", "dog"], "size": {"height": 32}, "status": "complete"}
    text = json.dumps(facts).encode()
    changed = json.loads(changes.change_json(text, random))
    assert changed != facts

    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    stream = io.BytesIO()
    np.save(stream, array)
    loaded = np.load(io.BytesIO(changes.change_array(stream.getvalue(), random)))
    assert loaded.shape != array.shape or loaded.dtype != array.dtype or (loaded != array).any()

    from safetensors.numpy import load, save

    tensors = {"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 3), np.float32) + 7}
    content = save(tensors, {"classes": json.dumps(["cat", "dog"])})
    changed_content = changes.change_tensors(content, random)
    assert changed_content != content
    load(changed_content)
