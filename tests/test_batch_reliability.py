"""Runs that are stopped in every way: nothing half done under a final name, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batch_engine import ENGINE
from test_batch_score import vignettes
from twitchdx.batch import RunOptions, run, sink
from twitchdx.batch.run import Interrupted, score_file
from twitchdx.errors import BatchError

OUTPUTS = ["out.csv", "out.csv.gz", "out.csv.zst", "out.parquet"]
FILES = ("out.rejected.csv",)


@pytest.fixture(autouse=True)
def checkpoint_after_every_chunk(monkeypatch):
    monkeypatch.setattr(sink, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.csv"
    frame = vignettes(300, seed=9)
    frame.loc[200, "vignette_id"] = "v3"
    frame.to_csv(path, index=False)
    return path


def score(source, output, **settings):
    options = RunOptions(chunk_rows=20, **settings)
    return score_file(ENGINE, str(source), str(output), run=options)


def uninterrupted(source, folder, name):
    folder.mkdir(exist_ok=True)
    summary = score(source, folder / name)
    return summary.counts, [(folder / n).read_bytes() for n in (name, *FILES)]


def break_at(monkeypatch, number, error):
    """Let piece `number` fail."""
    real = run.process

    def process(scorer, piece, text):
        if piece.number == number:
            raise error
        return real(scorer, piece, text)

    monkeypatch.setattr(run, "process", process)
    return real


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("stopped_at", [0, 1, 7, 14])
def test_ctrl_c_then_resume_gives_the_same_bytes(tmp_path, source, monkeypatch, name, stopped_at):
    counts, expected = uninterrupted(source, tmp_path / "whole", name)
    output = tmp_path / name
    output.write_text("an older result")
    with monkeypatch.context() as patch:
        break_at(patch, stopped_at, KeyboardInterrupt())
        with pytest.raises(Interrupted, match=r"stopped after \d+ rows; --resume"):
            score(source, output)
    assert output.read_text() == "an older result"
    assert not (tmp_path / "out.rejected.csv").exists()
    done = []
    with monkeypatch.context() as patch:
        real = run.process
        patch.setattr(run, "process", lambda s, p, t: done.append(p.number) or real(s, p, t))
        summary = score(source, output, resume=True)
    assert sorted(done) == list(range(stopped_at, 15))
    assert summary.counts == counts
    assert [(tmp_path / n).read_bytes() for n in (name, *FILES)] == expected
    if name == "out.parquet":
        assert pq.read_table(output).num_rows == counts.scored
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in.csv", "whole", name, "out.rejected.csv", "out.manifest.json"}
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["resumed_at_row"] == 20 * stopped_at
    assert manifest["counts"]["vignettes"] == 300


def test_parquet_input_resumes(tmp_path, monkeypatch):
    source = tmp_path / "in.parquet"
    vignettes(300, seed=9).to_parquet(source, row_group_size=37)
    counts, expected = uninterrupted(source, tmp_path / "whole", "out.csv")
    with monkeypatch.context() as patch:
        break_at(patch, 8, KeyboardInterrupt())
        with pytest.raises(Interrupted):
            score(source, tmp_path / "out.csv")
    assert score(source, tmp_path / "out.csv", resume=True).counts == counts
    assert [(tmp_path / n).read_bytes() for n in ("out.csv", *FILES)] == expected


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("room", [0, 300, 9_000, 11_111])
def test_a_full_disk_then_resume_gives_the_same_bytes(tmp_path, source, monkeypatch, name, room):
    _, expected = uninterrupted(source, tmp_path / "whole", name)
    output = tmp_path / name
    real = os.write
    left = [room]

    def write(descriptor, data):
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[: left[0]]
        left[0] -= len(part)
        return real(descriptor, part)

    with monkeypatch.context() as patch:
        patch.setattr(sink.os, "write", write)
        with pytest.raises(BatchError, match=r"the disk is full: .* --resume"):
            score(source, output)
    assert not output.exists()
    assert not (tmp_path / "out.rejected.csv").exists()
    score(source, output, resume=True)
    assert [(tmp_path / n).read_bytes() for n in (name, *FILES)] == expected


def test_a_full_device(source):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(BatchError, match="No space left"):
        score(source, "/dev/full")


def test_a_journal_line_cut_short_is_left_out(tmp_path, source, monkeypatch):
    _, expected = uninterrupted(source, tmp_path / "whole", "out.csv")
    with monkeypatch.context() as patch:
        break_at(patch, 9, KeyboardInterrupt())
        with pytest.raises(Interrupted):
            score(source, tmp_path / "out.csv")
    with (tmp_path / "out.csv.journal").open("ab") as journal:
        journal.write(b'{"pieces": 12, "af')
    with (tmp_path / "out.csv.partial").open("ab") as partial:
        partial.write(b"rows that no checkpoint knows of")
    score(source, tmp_path / "out.csv", resume=True)
    assert [(tmp_path / n).read_bytes() for n in ("out.csv", *FILES)] == expected


def test_resume_refuses_another_run(tmp_path, source, monkeypatch):
    def stop_midway():
        with monkeypatch.context() as patch:
            break_at(patch, 9, KeyboardInterrupt())
            with pytest.raises(Interrupted):
                score(source, tmp_path / "out.csv")

    stop_midway()
    again = RunOptions(chunk_rows=7, resume=True)
    with pytest.raises(BatchError, match="chunk_rows changed"):
        score_file(ENGINE, str(source), str(tmp_path / "out.csv"), run=again)
    stop_midway()
    source.write_text(source.read_text() + "v301,,,,,,,,,,\n")
    with pytest.raises(BatchError, match="input changed"):
        score(source, tmp_path / "out.csv", resume=True)
    stop_midway()
    (tmp_path / "out.csv.partial").write_text("")
    with pytest.raises(BatchError, match="shorter than its journal"):
        score(source, tmp_path / "out.csv", resume=True)


def test_resume_without_an_earlier_run_starts_at_the_beginning(tmp_path, source):
    counts, expected = uninterrupted(source, tmp_path / "whole", "out.csv")
    assert score(source, tmp_path / "out.csv", resume=True).counts == counts
    assert (tmp_path / "out.csv").read_bytes() == expected[0]


def test_streams_cannot_be_resumed(tmp_path):
    with pytest.raises(BatchError, match="from a file to a file"):
        score("-", tmp_path / "out.csv", resume=True)


def test_two_runs_cannot_write_one_output(tmp_path, source):
    import fcntl

    with (tmp_path / "out.csv.journal").open("a") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with pytest.raises(BatchError, match="another run is writing"):
            score(source, tmp_path / "out.csv")


def test_outputs_that_cannot_be(tmp_path, source):
    with pytest.raises(BatchError, match="is the input"):
        score(source, source)
    with pytest.raises(BatchError, match="is a folder"):
        score(source, tmp_path)
    with pytest.raises(BatchError, match="cannot be written"):
        score(source, tmp_path / "nowhere" / "out.csv")
    with pytest.raises(BatchError, match="there is no file"):
        score(tmp_path / "nothing.csv", tmp_path / "out.csv")
    with pytest.raises(BatchError, match="is a folder"):
        score(tmp_path, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("rejected", "in.csv"),
        ("manifest", "in.csv"),
        ("rejected", "linked.csv"),
        ("rejected", "map.toml"),
        ("manifest", "map.toml"),
        *(
            (option, f"out.csv{ending}")
            for option in ("rejected", "manifest")
            for ending in ("", ".partial", ".journal", ".ids.partial", ".parquet.partial")
        ),
        ("rejected", "out.manifest.json"),
        ("rejected", "out.manifest.json.partial"),
        ("manifest", "out.rejected.csv"),
        ("manifest", "out.rejected.csv.partial"),
    ],
)
def test_no_file_is_two_things(tmp_path, source, option, name):
    (tmp_path / "map.toml").write_text("ignore = []\n")
    (tmp_path / "linked.csv").symlink_to(source)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    settings = {option: str(tmp_path / name), "reads": (str(tmp_path / "map.toml"),)}
    with pytest.raises(BatchError, match=r"as well; give it another name"):
        score(source, tmp_path / "out.csv", **settings)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_output_is_no_file_that_is_read(tmp_path, source):
    (tmp_path / "hard.csv").hardlink_to(source)
    for output in ("in.csv", "hard.csv", "map.csv"):
        (tmp_path / "map.csv").write_text("x")
        with pytest.raises(BatchError, match="as well"):
            score(source, tmp_path / output, reads=(str(tmp_path / "map.csv"),))
    # rejects, put right and scored again under the old name, would be lost to the new rejects
    rejected = tmp_path / "out.rejected.csv"
    rejected.write_bytes(source.read_bytes())
    with pytest.raises(BatchError, match="is the input as well"):
        score(rejected, tmp_path / "out.csv")
    assert rejected.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("output", ["out.csv", "/dev/null"])
def test_only_rejects_and_manifests_are_replaced(tmp_path, source, output):
    other = tmp_path / "notes.csv"
    other.write_text("my notes\n")
    output = tmp_path / output
    with pytest.raises(BatchError, match=r"something else than rejects.*--rejects"):
        score(source, output, rejected=str(other))
    with pytest.raises(BatchError, match=r"not the manifest.*--manifest"):
        score(source, output, manifest=str(other))
    assert other.read_text() == "my notes\n"
    for _ in range(2):
        score(source, output, rejected=str(tmp_path / "r"), manifest=str(tmp_path / "m"))
    assert (tmp_path / "r").read_text().startswith("line,vignette_id,column,value,reason,repair\n")
    assert json.loads((tmp_path / "m").read_text())["counts"]["vignettes"] == 300


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv.bz2", "x.tsv", "x.json.gz", "x.CSV.zip"])
def test_endings_of_other_formats_are_refused(tmp_path, source, name):
    with pytest.raises(BatchError, match=r"\.csv, \.csv\.gz, \.csv\.zst, \.parquet"):
        score(source, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_finished_run_is_not_done_again(tmp_path, source, monkeypatch):
    counts, _ = uninterrupted(source, tmp_path, "out.csv")
    real = run.process
    with monkeypatch.context() as patch:
        break_at(patch, 0, AssertionError("scored again"))
        summary = score(source, tmp_path / "out.csv", resume=True)
    assert summary.counts == counts
    assert str(summary).startswith("complete already; rows in = scored + rejected: 300 = ")
    # another input is another run, which nobody finished
    source.write_text(source.read_text() + "v301,,,,,,,,,,\n")
    done = []
    monkeypatch.setattr(run, "process", lambda s, p, t: done.append(p.number) or real(s, p, t))
    assert score(source, tmp_path / "out.csv", resume=True).counts.vignettes == 301
    assert len(done) == 16


def test_a_failing_worker_leaves_no_output(tmp_path, source, monkeypatch):
    break_at(monkeypatch, 3, ZeroDivisionError("a fault of ours"))
    with pytest.raises(ZeroDivisionError):
        score(source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


SLOW_RUN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from batch_engine import ENGINE
from twitchdx.batch import RunOptions, run, sink
sink.CHECKPOINT_SECONDS = 0.0
real = run.process
def process(scorer, piece, text):
    if piece.number > 4:
        time.sleep(0.05)
    return real(scorer, piece, text)
run.process = process
from twitchdx.cli import score
score.read_engine = lambda *_: ENGINE
score.command([sys.argv[1], "-o", sys.argv[2], "--chunk", "20", *sys.argv[3:]])
"""


@pytest.mark.parametrize(
    ("by", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_a_killed_process_is_resumed(tmp_path, source, by, status):
    _, expected = uninterrupted(source, tmp_path / "whole", "out.csv")
    command = [sys.executable, "-c", SLOW_RUN, str(source), str(tmp_path / "out.csv")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journal = tmp_path / "out.csv.journal"
    give_up = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < give_up
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(by)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert not (tmp_path / "out.csv").exists()
    done = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert [(tmp_path / n).read_bytes() for n in ("out.csv", *FILES)] == expected
    assert json.loads((tmp_path / "out.manifest.json").read_text())["resumed_at_row"] > 0
