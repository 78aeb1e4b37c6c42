"""Scores of files and frames: right, the same however they are computed, and accounted for."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from batch_engine import CAUSES, ENGINE, SmallEngine
from twitchdx.batch import (
    RunOptions,
    ScoreOptions,
    read_mapping,
    score_file,
    score_frame,
    scorer,
)
from twitchdx.batch.cells import frame_cells
from twitchdx.batch.encode import Encoder
from twitchdx.batch.layout import plan_layout
from twitchdx.case import read_case
from twitchdx.cli import score as score_command
from twitchdx.errors import BatchError, TwitchdxError
from twitchdx.explain import first_ranked, ranked
from twitchdx.inference import infer_batch

CELLS = {
    "age": ["", "", "30", "64.5", "80", "12", "old"],
    "sex": ["", "f", "male", "W", "x"],
    "cough": ["", "", "present", "Absent", "yes", "NO", "lr=3.5", "p=0.8", "maybe", "lr=-1"],
    "fever": ["", "", "", "1", "0", "true", "f"],
    "high_fever": ["", "", "", "1", "absent"],
    "ache": ["", "unknown", "present", "absent", "p=0.01"],
    "temperature": ["", "", "", "36.6", "39.9", "101 F", "250"],
    "hemoglobin": ["", "", "125", "110 g/L", "140"],
    "flu": ["", "", "", "", "present", "absent"],
    "truth": ["", "cold", "flu;ague"],
}


def vignettes(count, seed=1, **fixed):
    """Random vignettes, good and bad."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.choice(cells, count) for name, cells in CELLS.items()})
    frame.insert(0, "vignette_id", [f"v{i}" for i in range(count)])
    return frame.assign(**fixed)


def run(tmp_path, frame, name="out.csv", options=ScoreOptions(), source=None, **settings):  # noqa: B008
    if source is None:
        source = tmp_path / "in.csv"
        frame.to_csv(source, index=False)
    output = tmp_path / name
    summary = score_file(ENGINE, str(source), str(output), options, RunOptions(**settings))
    return summary, output


def one_by_one(frame):
    """The same vignettes, each read as one case: the oracle for everything but inference."""
    answers = {}
    keys = [c for c in frame.columns if c not in ("vignette_id", "age", "sex", "truth")]
    for row in frame.to_dict("records"):
        try:
            case = read_case(
                ENGINE.reader, ENGINE.model, {k: row[k] for k in sorted(keys)},
                row["age"], row["sex"],
            )  # fmt: skip
        except TwitchdxError:
            answers[row["vignette_id"]] = None
            continue
        answer = infer_batch(ENGINE.networks, case.weights[None], case.ratios[None], threads=1)
        impossible = np.isneginf(answer.log_evidence[0])
        answers[row["vignette_id"]] = (
            None
            if impossible
            else (answer.posterior[0, :3], answer.log_evidence[0], leading(case, answer.posterior))
        )
    return answers


def leading(case, posterior):
    """The open cause that rose most from a prior half-way to a tenth; else the likeliest."""
    blank = np.ones_like(case.ratios)[None]
    prior = infer_batch(ENGINE.networks, case.weights[None], blank, threads=1).posterior
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = (p[0, :3] / (1 - p[0, :3]) for p in (prior, posterior))
        first = np.sqrt(before / 9)
        then = first * after / before
        rise = np.where(np.isinf(then), 1, then / (1 + then)) - first / (1 + first)
    known = [case.ratios[i] in (0, np.inf) for i in range(3)]
    shown = np.isposinf(case.ratios[len(CAUSES) :]).any()
    return CAUSES[
        max(
            range(3),
            key=lambda i: (
                not known[i], rise[i] if shown and rise[i] > 1e-12 else 0, posterior[0, i]
            ),
        )
    ]  # fmt: skip


def test_every_row_equals_the_same_case_alone(tmp_path):
    frame = vignettes(800)
    summary, output = run(tmp_path, frame)
    scored = pd.read_csv(output, index_col="vignette_id", keep_default_na=False)
    expected = one_by_one(frame)
    good = [name for name, answer in expected.items() if answer is not None]
    assert 100 < len(good) < 700
    assert list(scored.index) == good
    assert summary.counts.rejected == len(frame) - len(good)
    for name in good:
        posterior, log_evidence, first = expected[name]
        assert scored.loc[name, list(CAUSES[:3])].tolist() == posterior.tolist()
        assert scored.loc[name, "log_evidence"] == log_evidence
        assert scored.loc[name, "top_cause"] == first
        assert scored.loc[name, "method"] == "exact"
    truth = dict(zip(frame.vignette_id, frame.truth, strict=True))
    assert scored["truth"].tolist() == [truth[name] for name in good]


def test_rejects_name_every_bad_cell(tmp_path):
    frame = vignettes(800)
    _, output = run(tmp_path, frame)
    rejects = pd.read_csv(tmp_path / "out.rejected.csv", keep_default_na=False, dtype=str)
    assert list(rejects.columns) == [
        "line", "vignette_id", "column", "value", "reason", "repair"
    ]  # fmt: skip
    bad = {("age", "12"), ("age", "old"), ("sex", "x"), ("cough", "maybe"), ("cough", "lr=-1")}
    bad.add(("temperature", "250"))
    for line, row in enumerate(frame.to_dict("records"), start=2):
        for column, value in bad:
            if row[column] == value:
                found = rejects[(rejects.line == str(line)) & (rejects.column == column)]
                assert found.vignette_id.tolist() == [row["vignette_id"]]
                assert found.value.tolist() == [value]
    scored = set(pd.read_csv(output).vignette_id)
    assert scored | set(rejects.vignette_id) == set(frame.vignette_id)
    assert not scored & set(rejects.vignette_id)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One run, to compare others with."""
    folder = tmp_path_factory.mktemp("plain")
    frame = vignettes(500, seed=3)
    run(folder, frame)
    return folder, frame


@pytest.mark.parametrize(
    "settings",
    [{"chunk_rows": 7}, {"chunk_rows": 1, "workers": 3}, {"chunk_rows": 100, "workers": 2}],
)
def test_chunks_and_workers_change_no_byte(tmp_path, plain, settings):
    folder, frame = plain
    run(tmp_path, frame, **settings)
    for name in ("out.csv", "out.rejected.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_rows_of_the_same_evidence_are_inferred_once(monkeypatch):
    frame = vignettes(60, seed=8)
    frame = pd.concat([frame, frame.iloc[::-1], frame]).reset_index(drop=True)
    layout = plan_layout("frame", tuple(frame.columns), ENGINE.reader)
    evidence = Encoder(ENGINE, layout).encode(frame_cells(frame, layout.wanted))
    plain = infer_batch(ENGINE.networks, evidence.weights, evidence.ratios, threads=1)
    rows = []
    real = scorer.infer_batch
    monkeypatch.setattr(
        scorer, "infer_batch", lambda n, w, r, **_: rows.append(len(r)) or real(n, w, r)
    )
    once = scorer.infer_distinct(ENGINE, evidence.weights, evidence.ratios, False)
    assert rows[0] <= len(evidence.ratios) / 3
    np.testing.assert_array_equal(once.posterior, plain.posterior)
    np.testing.assert_array_equal(once.log_evidence, plain.log_evidence)
    assert once.method.tolist() == plain.method.tolist()


def test_column_order_changes_nothing(tmp_path, plain):
    folder, frame = plain
    run(tmp_path, frame[sorted(frame.columns)])
    assert (tmp_path / "out.csv").read_bytes() == (folder / "out.csv").read_bytes()


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_packed_input_and_output(tmp_path, plain, packing):
    folder, frame = plain
    codec = {"gz": "gzip", "zst": "zstd"}[packing]
    source = tmp_path / "in.data"
    with pa.CompressedOutputStream(str(source), codec) as stream:
        stream.write(frame.to_csv(index=False).encode())
    _, output = run(tmp_path, frame, f"out.csv.{packing}", source=source, chunk_rows=60)
    with pa.CompressedInputStream(str(output), codec) as stream:
        assert stream.read() == (folder / "out.csv").read_bytes()
    if packing == "gz":
        assert gzip.decompress(output.read_bytes()) == (folder / "out.csv").read_bytes()


def test_parquet_in_and_out(tmp_path, plain):
    folder, frame = plain
    source = tmp_path / "in.parquet"
    frame.to_parquet(source, row_group_size=33)
    _, output = run(tmp_path, frame, "out.parquet", source=source, chunk_rows=70)
    table = pq.read_table(output)
    expected = pd.read_csv(folder / "out.csv")
    assert table["vignette_id"].to_pylist() == expected.vignette_id.tolist()
    for name in (*CAUSES[:3], "log_evidence"):
        assert table[name].to_pylist() == expected[name].tolist()
    one = output.read_bytes()
    run(tmp_path, frame, "out.parquet", source=source, chunk_rows=11)
    assert output.read_bytes() == one


def test_parquet_of_real_types(tmp_path):
    frame = pd.DataFrame(
        {
            "vignette_id": [1, 2, 3],
            "age": [30.0, np.nan, 64.5],
            "cough": pd.array([True, None, False], "boolean"),
            "fever": [1.0, np.nan, 0.0],
            "temperature": [36.6, np.nan, np.nan],
            "sex": pd.Categorical(["f", "m", None]),
        }
    )
    frame.loc[0, "fever"] = 0.0
    frame.to_parquet(tmp_path / "in.parquet")
    run(tmp_path, frame, source=tmp_path / "in.parquet")
    text = io.StringIO(
        "vignette_id,age,cough,fever,temperature,sex\n1,30,yes,no,36.6,f\n2,,,,,m\n3,64.5,no,no,,\n"
    )
    frame_of_text = pd.read_csv(text, dtype=str, keep_default_na=False)
    assert_same(tmp_path / "out.csv", score_frame(ENGINE, frame_of_text))


def assert_same(file, frame):
    """Whether a file holds a frame, to the last bit."""
    read = pd.read_csv(file, dtype={"vignette_id": "str"})
    pd.testing.assert_frame_equal(read, frame, check_exact=True, check_dtype=False)


def long_form(frame):
    rows = []
    for row in frame.to_dict("records"):
        for key, value in row.items():
            if key != "vignette_id" and (value or key == "ache"):
                rows.append((row["vignette_id"], key, value))
    return pd.DataFrame(rows, columns=["vignette_id", "finding", "state"])


@pytest.mark.parametrize("chunk", [3, 50, 10_000])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_long_input_scores_as_wide(tmp_path, plain, chunk, kind):
    folder, frame = plain
    source = tmp_path / f"long.{kind}"
    rows = long_form(frame)
    rows.to_csv(source, index=False) if kind == "csv" else rows.to_parquet(source)
    summary, output = run(tmp_path, None, source=source, chunk_rows=chunk)
    assert output.read_bytes() == (folder / "out.csv").read_bytes()
    assert summary.counts.vignettes == len(frame)
    assert str(summary).startswith("vignettes in = scored + rejected: 500 = ")


def test_long_input_rejects_whole_vignettes(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text(
        "vignette_id,finding,state\n"
        "a,cough,present\na,cough,present\n"  # said twice, alike
        "b,cough,present\nb,cough,absent\n"
        "c,cuogh,present\nc,fever,present\n"
        "d,cough\nd,fever,present\n"
        "e,age,30\ne,age,31\n"
        ",cough,present\n"
        "f,fever,presnt\n"
        "g,cough,present\n"
        "a,fever,present\n"
    )
    for chunk in (1, 2, 100):
        summary, output = run(tmp_path, None, source=source, chunk_rows=chunk)
        rejects = pd.read_csv(tmp_path / "out.rejected.csv", keep_default_na=False)
        assert pd.read_csv(output).vignette_id.tolist() == ["a", "g"]
        assert summary.counts.vignettes == 8
        assert (summary.counts.rejected, summary.counts.returned) == (6, 1)
        assert "1 of them came back in rows further down" in str(summary)
        assert rejects.line.tolist() == [5, 6, 8, 11, 12, 13, 15]
        assert rejects.vignette_id.tolist() == ["b", "c", "d", "e", "", "f", "a"]
        assert "did you mean cough" in rejects.repair[1]
        assert "rests on a part of the rows" in rejects.repair[6]


def test_a_rejected_vignette_of_a_long_file_does_not_come_back(tmp_path):
    source = tmp_path / "in.csv"
    rows = "a,cough,presnt\nb,cough,present\na,fever,present\nb,fever,absnt\n"
    source.write_text(f"vignette_id,finding,state\n{rows}")
    for chunk in (1, 100):
        summary, output = run(tmp_path, None, source=source, chunk_rows=chunk)
        assert pd.read_csv(output).vignette_id.tolist() == ["b"]
        counts = summary.counts
        assert (counts.vignettes, counts.scored, counts.rejected, counts.returned) == (2, 1, 1, 2)
        rejects = pd.read_csv(tmp_path / "out.rejected.csv")
        assert rejects.line.tolist() == [2, 4, 5]


def test_duplicate_ids_across_chunks(tmp_path):
    frame = vignettes(300, cough="present", age="", sex="", temperature="", fever="", flu="")
    frame = frame.assign(high_fever="")
    frame.loc[250, "vignette_id"] = "v3"
    frame.loc[5, "vignette_id"] = "v4 "
    for name in ("out.csv", "out.parquet"):
        summary, _ = run(tmp_path, frame, name, chunk_rows=40)
        rejects = pd.read_csv(tmp_path / "out.rejected.csv")
        assert rejects.line.tolist() == [7, 252]
        assert summary.counts.rejected == 2
    summary, _ = run(tmp_path, frame, check_ids=False)
    assert summary.counts.rejected == 0


def test_tidy_output_says_the_same(tmp_path, plain):
    folder, frame = plain
    _, output = run(tmp_path, frame, options=ScoreOptions(long=True))
    wide = pd.read_csv(folder / "out.csv", index_col="vignette_id")
    tidy = pd.read_csv(output)
    back = tidy.pivot(index="vignette_id", columns="cause", values="posterior").loc[wide.index]
    for cause in CAUSES[:3]:
        assert back[cause].tolist() == wide[cause].tolist()
    first = tidy[tidy["rank"] == 1].set_index("vignette_id")["cause"]
    assert first.tolist() == wide.top_cause.tolist()
    _, output = run(tmp_path, frame, options=ScoreOptions(top=2), chunk_rows=9)
    top = pd.read_csv(output)
    pd.testing.assert_frame_equal(top, tidy[tidy["rank"] <= 2].reset_index(drop=True))


def test_a_decimal_comma_is_named(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('vignette_id;temperature\n1;38,5\n2;"38,5 C"\n3;hot\n')
    run(tmp_path, None, source=source)
    rejects = pd.read_csv(tmp_path / "out.rejected.csv")
    assert rejects.reason[0] == "temperature '38,5' has a decimal comma"
    assert rejects.repair.tolist() == [
        "write a point, as in 38.5",
        "write a point, as in 38.5 C",
        "give one in C, such as temperature=38",
    ]


def test_the_first_rank_is_the_first_of_all_ranks():
    random = np.random.default_rng(4)
    by = random.choice([0.0, 1.0, 2.0, np.nan], (500, 5))
    posterior = random.choice([0.1, 0.2, 0.3], (500, 5))
    entered = random.random((500, 5)) < 0.3
    entered[np.arange(500), random.integers(0, 5, 500)] = False
    first = first_ranked(by, posterior, entered)
    np.testing.assert_array_equal(first, ranked(by, posterior, entered)[:, 0])


def test_text_that_needs_quotation_marks(tmp_path):
    frame = pd.DataFrame({"vignette_id": ['a,"b"', "c\nd"], "cough": ["yes", ""]})
    _, output = run(tmp_path, frame)
    with output.open(newline="") as file:
        assert [row["vignette_id"] for row in csv.DictReader(file)] == ['a,"b"', "c\nd"]


def test_spellings_of_files(tmp_path):
    rows = "vignette_id,cough,truth\nv1,yes,cold\nv2,no,é\n"
    variants = {
        "plain": rows.encode(),
        "bom": b"\xef\xbb\xbf" + rows.encode(),
        "crlf": rows.replace("\n", "\r\n").encode(),
        "cr": rows.replace("\n", "\r").encode(),
        "no last line end": rows.rstrip().encode(),
        "blank lines": b"\n" + rows.replace("\n", "\n\n").encode() + b"  \n",
        "semicolons": rows.replace(",", ";").encode(),
        "tabs": rows.replace(",", "\t").encode(),
        "quoted": rows.replace("cold", '"cold"').encode(),
    }
    source = tmp_path / "in.csv"
    seen = set()
    for data in variants.values():
        source.write_bytes(data)
        _, output = run(tmp_path, None, source=source)
        seen.add(output.read_bytes())
    assert len(seen) == 1
    source.write_bytes(rows.encode("cp1252"))
    summary, _ = run(tmp_path, None, source=source)
    assert summary.counts.rejected == 1
    assert "not valid UTF-8" in (tmp_path / "out.rejected.csv").read_text()
    _, output = run(tmp_path, None, source=source, encoding="cp1252")
    assert output.read_bytes() in seen
    source.write_bytes(rows.encode("utf-16"))
    _, output = run(tmp_path, None, source=source, encoding="utf-16")
    assert output.read_bytes() in seen


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is blank"),
        ("vignette_id,cough\n".encode("utf-16"), "UTF-16"),
        (b"vignette_id,c\xe9\n", "not UTF-8"),
        (b"vignette_id,cuogh,fever\n", "'cuogh': did you mean cough"),
        (b"vignette_id,cough,\n", "column 3 has no name"),
        (b"vignette_id,cough,cough\n", "two columns named 'cough'"),
        (b"vignette_id,finding,state,note\n", "'note'"),
        (b"finding,state\n", "no column vignette_id"),
        (b'"vignette_id,cough\n1,yes\n', "header"),
        (b"PAR1 and then nothing", "damaged Parquet"),
        (b"\x1f\x8b\x08\x00\x00\x00", "damaged"),
        (gzip.compress(b"vignette_id,cough\n" + b"1,yes\n" * 100_000)[:-200], "damaged"),
    ],
)
def test_files_that_cannot_be_run(tmp_path, data, message, capfd):
    source = tmp_path / "in.csv"
    source.write_bytes(data)
    with pytest.raises(BatchError, match=message.replace("?", r"\?")):
        run(tmp_path, None, source=source)
    assert not (tmp_path / "out.csv").exists()
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_header_alone_gives_a_header_alone(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("vignette_id,cough\n")
    for name in ("out.csv", "out.parquet"):
        summary, output = run(tmp_path, None, name, source=source)
        assert summary.counts.vignettes == 0
        assert output.exists()
    assert pq.read_table(output).num_rows == 0


def test_unknown_columns_can_be_left_out(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('vignette_id,cough,note\n1,yes,6" pipe\n2,no,"two\nlines"\n')
    summary, _ = run(tmp_path, None, source=source, ignore_unknown_columns=True)
    assert summary.ignored == ("note",)
    assert summary.counts.scored == 2


MAPPING = """
ignore = ["Ward"]
[columns]
"Patient no." = "vignette_id"
"Coughs a lot" = "cough"
"Temp" = "temperature"
"Months" = "age"
"Gender" = "sex"
[recode."Coughs a lot"]
often = "present"
never = "absent"
[recode."*"]
9 = "unknown"
[recode.Gender]
1 = "male"
2 = "female"
[units]
Temp = "F"
[convert.Months]
factor = 0.08333333333333333
"""


def test_a_mapping_leaves_other_peoples_data_as_they_are(tmp_path):
    (tmp_path / "map.toml").write_text(MAPPING)
    source = tmp_path / "in.csv"
    source.write_text(
        "Patient no.,Gender,Months,Coughs a lot,Temp,Ward,fever\n"
        "1,1,360,Often,,x,9\n2,2,,never,103,y,\n3,,,sometimes,,,\n"
    )
    mapping = read_mapping(tmp_path / "map.toml")
    summary, output = run(tmp_path, None, source=source, mapping=mapping)
    ours = pd.DataFrame(
        {
            "vignette_id": ["1", "2"],
            "sex": ["m", "f"],
            "age": ["30", ""],
            "cough": ["present", "absent"],
            "temperature": ["", "103 F"],
        }
    )
    assert_same(output, score_frame(ENGINE, ours))
    assert summary.counts.rejected == 1
    assert summary.ignored == ("Ward",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[colums]\n", "did you mean columns"),
        ("[columns]\nx = 'cuogh'\n", "did you mean cough"),
        ("[columns]\nCogh = 'cough'\n", "did you mean Cough"),
        ("[recode.Cough]\nyes = 1\n", "should be text"),
        ("[convert.Temp]\nfator = 2\n", r"unknown 'fator'; did you mean factor\?"),
        ("[convert.Temp]\nfactor = '2'\n", "factor = '2' should be a number"),
        ("ignore = 'ward'\n", r"should be a list of names, as in ignore = \[\"ward\"\]"),
        ("ignore = [3]\n", "should be a list of names"),
        ("[units]\nTemp = 'K'\n[columns]\nTemp = 'temperature'\n", "known units are C, f"),
        ("[units]\nCough = 'K'\n", "'Cough' the unit 'K', but it is no quantity"),
        ("[recode.Cough]\noft = 'presnt'\n", "'oft' of 'Cough' into 'presnt': .*presnt"),
        ("[recode.Age]\nold = 'over 65'\n", "'old' of 'Age' into 'over 65'"),
        ("[recode.Gender]\n1 = 'mael'\n", "'1' of 'Gender' into 'mael'"),
        ("[recode.'*']\n9 = 'unknwn'\n", r"'9' of '\*' into 'unknwn'"),
        ("columns = 3\n", "should be a table"),
        ("[", "not valid TOML"),
    ],
)
def test_mappings_that_mean_nothing(tmp_path, text, message):
    source = tmp_path / "in.csv"
    source.write_text("vignette_id,Cough,Temp,Age,Gender\n1,yes,,,\n")
    names = "Cough = 'cough'\nTemp = 'temperature'\nAge = 'age'\nGender = 'sex'\n"
    if "colum" not in text:
        text = f"{text}[columns]\n{names}"
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(BatchError, match=message):
        run(tmp_path, None, source=source, mapping=read_mapping(tmp_path / "map.toml"))


def test_manifest_says_what_was_done(tmp_path, plain):
    folder, frame = plain
    manifest = json.loads((folder / "out.manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["vignettes"] == len(frame) == counts["scored"] + counts["rejected"]
    assert manifest["population"] == "everyone"
    assert manifest["versions"]["twitchdx"]
    run(tmp_path, frame)
    other = json.loads((tmp_path / "out.manifest.json").read_text())
    assert other["model_digest"] == manifest["model_digest"]
    changed = score_file(SmallEngine(flu=0.06), str(tmp_path / "in.csv"), str(tmp_path / "b.csv"))
    assert changed.counts.vignettes == len(frame)
    third = json.loads((tmp_path / "b.manifest.json").read_text())
    assert third["model_digest"] != manifest["model_digest"]


# frames -------------------------------------------------------------------------------------


def test_frames_score_as_files(plain):
    folder, frame = plain
    scored = pd.read_csv(folder / "out.csv", keep_default_na=False)
    good = frame[frame.vignette_id.isin(scored.vignette_id)]
    answer = score_frame(ENGINE, good)
    for name in (*CAUSES[:3], "log_evidence", "top_cause", "truth"):
        assert answer[name].tolist() == scored[name].tolist()


def test_frames_of_any_type():
    frame = pd.DataFrame(
        {"cough": [True, "absent", None], "fever": [1, 0, np.nan], "age": [30, None, 64.5]},
        index=["x", "y", "z"],
    )
    text = pd.DataFrame(
        {
            "vignette_id": ["x", "y", "z"],
            "cough": ["yes", "no", ""],
            "fever": ["1", "0", ""],
            "age": ["30", "", "64.5"],
        }
    )
    pd.testing.assert_frame_equal(score_frame(ENGINE, frame), score_frame(ENGINE, text))


def test_frames_with_bad_rows_are_refused_whole():
    frame = pd.DataFrame({"vignette_id": ["a", "a"], "cough": ["presnt", "yes"]})
    with pytest.raises(BatchError, match=r"row 1, vignette a, column cough: 'presnt'"):
        score_frame(ENGINE, frame)
    with pytest.raises(BatchError, match="used by an earlier"):
        score_frame(ENGINE, frame.assign(cough="yes"))


def test_no_findings_give_the_prior():
    answer = score_frame(ENGINE, pd.DataFrame({"vignette_id": ["a"], "cough": [""]}))
    mixed = np.mean([network.prevalence for network in ENGINE.networks], axis=0)
    np.testing.assert_allclose(answer[list(CAUSES[:3])].to_numpy()[0], mixed[:3], rtol=1e-12)
    assert answer.log_evidence[0] == 0


# the command --------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(score_command, "read_engine", lambda *_: ENGINE)

    def invoke(*arguments, stdin=None):
        return CliRunner().invoke(score_command.command, [*map(str, arguments)], input=stdin)

    return invoke


def test_exit_status(tmp_path, command):
    source = tmp_path / "in.csv"
    source.write_text("vignette_id,cough\n1,yes\n")
    done = command(source, "-o", tmp_path / "o.csv")
    assert done.exit_code == 0
    assert done.output == "rows in = scored + rejected: 1 = 1 + 0\n"
    source.write_text("vignette_id,cough\n1,yes\n2,maybe\n")
    done = command(source, "-o", tmp_path / "o.csv")
    assert done.exit_code == 3
    assert "2 = 1 + 1; rejects are in" in done.output
    source.write_text("vignette_id,cuogh\n1,yes\n")
    before = (tmp_path / "o.csv").read_bytes()
    failed = command(source, "-o", tmp_path / "o.csv")
    assert isinstance(failed.exception, TwitchdxError)
    assert (tmp_path / "o.csv").read_bytes() == before


def test_standard_input_and_output(command):
    done = command("-", "-o", "-", "--top", 1, stdin="vignette_id,cough\n1,yes\n2,maybe\n3,no\n")
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert lines[0] == "vignette_id,rank,cause,posterior,log_evidence,method,standard_error"
    assert [line.split(",")[:3] for line in lines[1:]] == [["1", "1", "cold"], ["3", "1", "cold"]]
    errors = done.stderr.splitlines()
    assert errors[0] == "line,vignette_id,column,value,reason,repair"
    assert errors[1].startswith("3,2,cough,maybe,")
    assert errors[2] == "rows in = scored + rejected: 3 = 2 + 1"
