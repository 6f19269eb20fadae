"""Disks that are full, or may only be read."""

import shutil
import subprocess

from needs import small_disk

from mpipipe.checkpoint import verify

from .running import checkpoints, metrics, newest, one_line, settings, summary, tree


def fill(folder, leave):
    """Fill the disk up, but for some bytes."""
    with (folder / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - leave))


def assert_only_the_old_checkpoint(run):
    assert checkpoints(run) == ["step-00000002.h5"]
    verify(newest(run))
    assert not list(run.rglob("*.tmp"))


def test_full_while_saving(desk):
    with small_disk(desk.folder / "disk", "400k"):
        run = desk.train("disk/run", "run.stop_after=2")
        for leave in (70_000, 40_000):
            fill(run.parent, leave)
            ended = desk("train", "--resume", "--out", "disk/run", "--quiet")
            assert (ended.status, ended.out) == (2, ""), ended
            assert "what was saved before is kept" in one_line(ended.err)
            assert_only_the_old_checkpoint(run)
        (run.parent / "filler").unlink()
        desk.does("train", "--resume", "--out", "disk/run", "--quiet")
        assert len(metrics(run)) == 4 and summary(run)["stopped"] == "finished"


def test_full_from_the_start(desk):
    with small_disk(desk.folder / "disk", "400k") as small:
        run = desk.train("disk/run", "run.stop_after=2")
        fill(small, 0)
        before = tree(run)
        ended = desk("train", "--resume", "--out", "disk/run", "--quiet")
        assert ended.status == 2 and "cannot be written (No space left on device)" in one_line(ended.err)
        assert tree(run) == before
        desk.refuses("predict", newest(run), "digits", "--quiet", "--out", "disk/run")


def test_files_that_may_not_grow(desk):
    run = desk.train("run", "run.stop_after=2")
    size = newest(run).stat().st_size
    for limit in (size // 2, size - 500):
        ended = desk("train", "--resume", "--out", "run", "--quiet", limit=limit)
        assert (ended.status, ended.out) == (2, ""), ended
        text = one_line(ended.err)
        assert text.startswith("run/checkpoints/step-00000004.h5: cannot be written (File too large)")
        assert_only_the_old_checkpoint(run)
        assert summary(run)["checkpoint"] == "step-00000002.h5"


def test_predictions_are_whole_or_not_there(desk, trained):
    assert "cannot be written" in desk.refuses("predict", newest(trained), "digits", "--out", ".", limit=5000)


def test_a_disk_that_may_only_be_read(desk, trained):
    with small_disk(desk.folder / "disk", "400k") as small:
        shutil.copytree(trained, small / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        sets = settings("train.steps=5")
        for arguments in (
            ("train", "tiny.toml", "--out", "disk/new"),
            ("train", "--resume", "--out", "disk/run", *sets),
            ("train", "--resume", f"disk/run/checkpoints/{newest(trained).name}", *sets),
            ("evaluate", newest(trained), "--out", "disk/run"),
            ("predict", newest(trained), "digits", "--out", "disk/new"),
            ("plan", "tiny.toml", "--save", "disk/plan.json"),
        ):
            assert "cannot be written (Read-only file system)" in desk.refuses(*arguments)
        path = f"disk/run/checkpoints/{newest(trained).name}"
        assert desk.does("inspect", path, "--diff", newest(trained)).startswith("no difference")
        assert desk.does("evaluate", path, "--quiet")
