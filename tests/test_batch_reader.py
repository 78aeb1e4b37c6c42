"""The CSV reader against Python's csv module, and against mutated files."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_engine import ENGINE
from twitchdx.batch import cells
from twitchdx.batch.records import MOST_LINES, UNCLOSED, RecordReader
from twitchdx.batch.run import RunOptions, score_file

MESSY = st.lists(
    st.sampled_from([b"a", b"b", b",", b'"', b"\n", b"\r", b" ", b"\xc3\xa9", b"\xff", b"\0"]),
    max_size=60,
).map(b"".join)


def records(data, rows=1000, block=1 << 20):
    """What the cutter sees: (text, cells, flags, line) of every record."""
    return [
        (c.data[s:e], int(n), int(f), int(line))
        for c in RecordReader(io.BytesIO(data), ",", block=block).chunks(rows)
        for s, e, n, f, line in zip(c.start, c.end, c.fields, c.flags, c.line, strict=True)
    ]


@settings(max_examples=300, deadline=None)
@given(MESSY, st.integers(1, 5), st.integers(1, 9))
def test_records_do_not_depend_on_chunks_or_blocks(data, rows, block):
    assert records(data) == records(data, rows, block)


@settings(max_examples=500, deadline=None)
@given(MESSY)
def test_records_are_those_of_pythons_csv(data):
    seen = records(data)
    text = data.decode("latin-1")
    if any(flags & UNCLOSED for _, _, flags, _ in seen):
        return
    expected = [
        (row, reader_line)
        for row, reader_line in _python_rows(text)
        if row and not (len(row) == 1 and not row[0].strip(' "'))
    ]
    # one cell of spaces is no record to us, one of quoted spaces is; csv cannot tell them apart
    ours = [r for r in seen if not (r[1] == 1 and not r[0].strip(b' "'))]
    assert [n for _, n, _, _ in ours] == [len(row) for row, _ in expected]
    assert [line for *_, line in ours] == [line for _, line in expected]


def _python_rows(text):
    """Rows of Python's csv, each with the line that it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, before = [], 0
    for row in reader:
        rows.append((row, before + 1))
        before = reader.line_num
    return rows


@settings(max_examples=500, deadline=None)
@given(MESSY, st.integers(1, 3))
@example(b"a\n\na", 1)  # a blank line is as long as a CRLF
@example(b"1,2\n\n3,4", 2)
@example(b"a\r\ra\r\n\r\na", 1)
def test_cells_are_those_of_pythons_csv(data, width):
    header = ["x", "y", "z"][:width]
    for chunk in RecordReader(io.BytesIO(data), ",").chunks(1000):
        parsed = cells.parse_chunk(chunk, header, ",", header, "x")
        assert len(parsed) + len(parsed.broken) == len(chunk)
        rows = list(zip(*(parsed.columns[name].to_pylist() for name in header), strict=True))
        broken = {reject.line for reject in parsed.broken}
        texts = [
            chunk.data[s:e].decode()
            for s, e, line in zip(chunk.start, chunk.end, chunk.line, strict=True)
            if int(line) not in broken
        ]
        assert rows == [tuple(next(csv.reader(io.StringIO(t, newline="")))) for t in texts]


def test_arrow_is_never_overruled(monkeypatch):
    """The plain parser is a safety net; the cutter and Arrow should agree without it."""

    def overruled(*_):
        raise AssertionError("Arrow saw other rows than the cutter")

    monkeypatch.setattr(cells, "_parse_plainly", overruled)
    test_cells_are_those_of_pythons_csv()


def test_the_safety_net_gives_the_same_cells(monkeypatch):
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    data = b'1,"a\nb"\n2,c"d\n3,\xc3\xa9\n'
    (chunk,) = RecordReader(io.BytesIO(data), ",").chunks(10)
    wanted = ("x", "y")
    by_arrow = cells.parse_chunk(chunk, wanted, ",", wanted, "x")

    def fails(*_, **__):
        raise pa.ArrowInvalid("no")

    monkeypatch.setattr(arrow_csv, "read_csv", fails)
    by_python = cells.parse_chunk(chunk, wanted, ",", wanted, "x")
    for name in wanted:
        assert by_arrow.columns[name].to_pylist() == by_python.columns[name].to_pylist()
    assert by_python.columns["y"].to_pylist() == ["a\nb", 'c"d', "é"]


def test_a_quotation_mark_never_closed_costs_its_own_line_only():
    data = b'1,a\n2,"b\n' + b"3,c\n" * (MOST_LINES + 5)
    seen = records(data)
    assert [flags & UNCLOSED for _, _, flags, _ in seen[:3]] == [0, UNCLOSED, 0]
    assert len(seen) == 2 + MOST_LINES + 5
    assert seen[2][3] == 3


# whole files, mutated: no traceback, no lost row ---------------------------------------------

GOOD = (
    b"vignette_id,age,sex,cough,fever,temperature,truth\n"
    b"v1,30,f,present,,,cold\n"
    b"v2,,m,no,yes,38.5,\n"
    b'"v,3",70,,lr=3.5,p=0.8,101 F,"cold;flu"\n'
    b"v4,,,,unknown,,\n"
)

SNIPPETS = (
    *(b",", b'"', b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xc3", b"1", b"x", b" ", b";", b"\t"),
    *(b"present", b"lr=-1", b"nan", b"1e999", b"\xef\xbb\xbf", b"v1,,,,,,\n", b"\xff\xfe"),
)
MUTATION = st.tuples(
    st.integers(0, len(GOOD) - 1),
    st.sampled_from(["insert", "delete", "replace", "repeat", "swap"]),
    st.sampled_from(SNIPPETS),
)


def mutate(data, mutations):
    for at, kind, text in mutations:
        at %= len(data) + 1
        if kind == "insert":
            data = data[:at] + text + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(text) :]
        elif kind == "replace":
            data = data[:at] + text + data[at + len(text) :]
        elif kind == "repeat":
            data = data[:at] + data[max(0, at - 20) :]
        else:
            data = data[at:] + data[:at]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def account(folder, data, rows):
    """Score a file; check that every row is accounted for; return the scored ids."""
    from twitchdx.errors import BatchError

    source, output = folder / "in.csv", folder / "out.csv"
    source.write_bytes(data)
    output.unlink(missing_ok=True)
    try:
        summary = score_file(
            ENGINE, str(source), str(output), run=RunOptions(chunk_rows=rows, workers=1)
        )
    except BatchError:
        assert not output.exists()
        return None
    counts = summary.counts
    header_rows = 1
    if not data.startswith(b"\x1f\x8b"):
        delimiter = b","
        first = data.lstrip(b"\xef\xbb\xbf").lstrip(b"\r\n ").split(b"\n", 1)[0]
        if first.count(b",") < max(first.count(b"\t"), first.count(b";")):
            delimiter = max((b"\t", b";"), key=first.count)
        reader = RecordReader(io.BytesIO(data), delimiter.decode())
        assert counts.vignettes == sum(map(len, reader.chunks(1000))) - header_rows
    assert counts.vignettes == counts.scored + counts.rejected
    with output.open(newline="", encoding="utf-8") as file:
        scored = list(csv.DictReader(file))
    assert len(scored) == counts.scored
    assert all(None not in row and None not in row.values() for row in scored)
    rejected_file = folder / "out.rejected.csv"
    assert rejected_file.exists() == bool(counts.rejected)
    if counts.rejected:
        with rejected_file.open(newline="", encoding="utf-8") as file:
            rejects = list(csv.DictReader(file))
        assert len({row["line"] for row in rejects}) == counts.rejected
        assert all(row["reason"] and row["repair"] for row in rejects)
    return scored, output.read_bytes()


@settings(max_examples=600, deadline=None)
@given(st.lists(MUTATION, min_size=1, max_size=6), st.integers(1, 4))
def test_mutated_files_lose_no_row(folder, monkeypatch_module, mutations, rows):
    data = mutate(GOOD, mutations)
    result = account(folder, data, rows)
    assert account(folder, data, 1000) == result


@pytest.fixture(scope="module")
def monkeypatch_module():
    """Spare the disk: thousands of small files need not be synced."""
    patch = pytest.MonkeyPatch()
    patch.setattr("os.fsync", lambda descriptor: None)
    yield patch
    patch.undo()


def test_the_unmutated_file_is_scored_whole(folder):
    scored, _ = account(folder, GOOD, 2)
    assert [row["vignette_id"] for row in scored] == ["v1", "v2", "v,3", "v4"]
    assert [row["truth"] for row in scored] == ["cold", "", "cold;flu", ""]
