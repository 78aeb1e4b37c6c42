"""The same scores on a real Dask cluster, one worker of which is killed midway."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pandas as pd
import pytest

from batch_engine import CAUSES, ENGINE
from test_batch_score import vignettes
from twitchdx.batch import RunOptions, cluster, score_dask, score_file, score_frame
from twitchdx.errors import BatchError

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def local_cluster():
    """Two worker processes, started anew (not forked)."""
    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), paths])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as started:
        yield started
    os.environ["PYTHONPATH"] = paths


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.csv"
    vignettes(400, seed=5).to_csv(path, index=False)
    score_file(ENGINE, str(path), str(tmp_path / "here.csv"))
    return path


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(
    tmp_path, source, local_cluster, monkeypatch
):
    killed = []
    real = cluster.ClusterPool._product

    def product(self, scorer, piece, future, text):
        if piece.number == 5:
            (pid, *_) = self._client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        return real(self, scorer, piece, future, text)

    monkeypatch.setattr(cluster.ClusterPool, "_product", product)
    there = tmp_path / "there.csv"
    run = RunOptions(chunk_rows=20, cluster=local_cluster.scheduler_address)
    summary = score_file(ENGINE, str(source), str(there), run=run)
    assert killed
    assert summary.counts.vignettes == 400
    assert there.read_bytes() == (tmp_path / "here.csv").read_bytes()
    rejected = tmp_path / "there.rejected.csv"
    assert rejected.read_bytes() == (tmp_path / "here.rejected.csv").read_bytes()


def test_a_cluster_that_loses_every_worker_gives_the_same_bytes(
    tmp_path, source, local_cluster, monkeypatch
):
    real = cluster.ClusterPool._product

    def product(self, scorer, piece, future, text):
        if piece.number == 5:
            for pid in self._client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
        return real(self, scorer, piece, future, text)

    monkeypatch.setattr(cluster.ClusterPool, "_product", product)
    there = tmp_path / "there.csv"
    run = RunOptions(chunk_rows=20, cluster=local_cluster.scheduler_address)
    score_file(ENGINE, str(source), str(there), run=run)
    assert there.read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_local_cluster_is_started_and_stopped(tmp_path, source, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    there = tmp_path / "there.csv"
    run = RunOptions(chunk_rows=50, cluster="local", workers=2)
    score_file(ENGINE, str(source), str(there), run=run)
    assert there.read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_no_scheduler_there(tmp_path, source, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    run = RunOptions(cluster="tcp://127.0.0.1:9")
    with pytest.raises(BatchError, match="no Dask scheduler answers"):
        score_file(ENGINE, str(source), str(tmp_path / "out.csv"), run=run)


def test_dask_frames_score_as_frames(local_cluster):
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = vignettes(300, seed=6)
    with distributed.Client(local_cluster):
        ddf = dask_frame.from_pandas(frame, npartitions=4, sort=False)
        scored = score_dask(ddf, ENGINE)
        there = scored.compute()
    assert there.vignette_id.tolist() == frame.vignette_id.tolist()
    assert list(scored.columns) == list(there.columns)
    good = there[there.method != "rejected"]
    assert 50 < len(good) < 250
    assert (good.rejected == "").all()
    here = score_frame(ENGINE, frame[frame.vignette_id.isin(good.vignette_id)])
    for name in (*CAUSES[:3], "log_evidence", "top_cause", "truth"):
        assert good[name].tolist() == here[name].tolist()
    bad = there[there.method == "rejected"]
    assert (bad.rejected != "").all()
    assert bad[list(CAUSES[:3])].isna().all(axis=None)


def test_dask_frames_survive_a_killed_worker(local_cluster):
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = vignettes(200, seed=7)
    here = score_dask(dask_frame.from_pandas(frame, npartitions=4, sort=False), ENGINE)
    expected = here.compute(scheduler="synchronous")
    with distributed.Client(local_cluster) as client:
        client.wait_for_workers(2, timeout=60)
        ddf = dask_frame.from_pandas(frame, npartitions=4, sort=False)
        ddf = ddf.map_partitions(slowly, meta=ddf._meta)
        there = client.compute(score_dask(ddf, ENGINE))
        (pid, *_) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        pd.testing.assert_frame_equal(there.result(timeout=120), expected)


def slowly(frame):
    """Leave time to kill the worker that has it."""
    time.sleep(0.5)
    return frame


def test_dask_frames_of_unknown_columns_fail_at_once():
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"vignette_id": ["a"], "cuogh": ["yes"]})
    with pytest.raises(BatchError, match="did you mean cough"):
        score_dask(dask_frame.from_pandas(frame, npartitions=1), ENGINE)


def test_a_partition_keeps_rejected_rows_in_place():
    from twitchdx.batch.frames import _ScorePartition
    from twitchdx.batch.layout import NO_MAPPING
    from twitchdx.batch.scorer import PLAIN, ScoreOptions

    frame = pd.DataFrame(
        {"vignette_id": ["a", "b", "a", "c"], "cough": ["yes", "maybe", "no", "no"], "age": ""}
    )
    scored = _ScorePartition(ENGINE, PLAIN, NO_MAPPING, False)(frame)
    assert scored.vignette_id.tolist() == ["a", "b", "a", "c"]
    assert scored.method.tolist() == ["exact", "rejected", "rejected", "exact"]
    assert np.isnan(scored.cold[1])
    assert np.isnan(scored.cold[2])
    top = _ScorePartition(ENGINE, ScoreOptions(top=2), NO_MAPPING, False)(frame)
    assert top.vignette_id.tolist() == ["a", "a", "b", "a", "a", "c", "c"]
    empty = _ScorePartition(ENGINE, PLAIN, NO_MAPPING, False)(frame.iloc[:0])
    assert list(empty.dtypes) == list(scored.dtypes)
