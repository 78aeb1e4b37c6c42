"""`twitchdx score`: posteriors for a file of vignettes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from twitchdx.cli.options import engine_options, read_engine

if TYPE_CHECKING:
    from twitchdx.batch.scorer import Ranking

SOME_REJECTED = 3
INTERRUPTED = 130


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="Output file, or - .")
@engine_options
@click.option("--mapping", metavar="FILE", help="Column mapping file (TOML), see below.")
@click.option("--ignore-unknown-columns", is_flag=True, help="Leave out columns not known here.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of a CSV input.")
@click.option("--long", "long", is_flag=True, help="One output row for each vignette and cause.")
@click.option("--top", type=click.IntRange(1), metavar="K", help="Only the first K causes.")
@click.option(
    "--rank-by",
    type=click.Choice(["rise", "posterior", "disablement", "tempered"]),
    default="rise",
    show_default=True,
    help="Which cause is first, see below.",
)
@click.option("--exact-only", is_flag=True, help="Reject vignettes too wide for exact inference.")
@click.option("--intervals", is_flag=True, help="Add 95 % intervals of the posteriors (slower).")
@click.option(
    "--explain", type=click.IntRange(0), default=0, metavar="N", help="Add the top N reasons."
)
@click.option("--red-flags", is_flag=True, help="Add the warning patterns met.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
@click.option("--rejects", metavar="FILE", help="Rejects; by default OUT.rejected.csv.")
@click.option("--manifest", metavar="FILE", help="By default OUT.manifest.json.")
@click.option(
    "--chunk", type=click.IntRange(1), metavar="ROWS", help="Rows scored together, 1000 by default."
)
@click.option("--workers", type=click.IntRange(1), help="By default one for each core.")
@click.option("--cluster", metavar="local|tcp://...", help="Score on a Dask cluster.")
@click.option("--ids-unchecked", is_flag=True, help="Do not look for duplicate ids (saves memory).")
def command(
    source: str,
    output: str,
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    mapping: str | None,
    ids_unchecked: bool,
    rejects: str | None,
    chunk: int | None,
    long: bool,
    top: int | None,
    rank_by: Ranking,
    exact_only: bool,
    intervals: bool,
    explain: int,
    red_flags: bool,
    **others: Any,
) -> None:
    """Score a file of vignettes: the probability of every cause, for each of them.

    IN is CSV (also .gz or .zst) or Parquet, by its content, not its name; - is standard input.
    OUT is .csv, .csv.gz, .csv.zst or .parquet, by its name; - is standard output, as CSV.

    \b
    Wide input has one row a vignette; any columns, in any order, of:
      vignette_id    must differ in every row; left out, rows are numbered
      age, sex       years; female or male (f, m); blank is the mixture of all
      <finding id>   present, absent or blank; also yes/no, true/false, 1/0, unknown;
                     lr=3.5 a likelihood ratio; p=0.8 a probability
      <cause id>     a known condition, in the same words
      <quantity>     a measured value, with or without its unit: 32, 32 ng/mL
      truth          carried through, never read
    Long input has columns vignette_id, finding, state (and age, sex, truth): one row
    a finding, the rows of a vignette together.

    \b
    Output has one row a vignette: vignette_id, truth, one column a cause, top_cause
    (the first by --rank-by), log_evidence (natural), method (exact or sampled),
    standard_error (largest of a sampled row). --long or --top K gives one row a
    vignette and cause instead: vignette_id, truth, rank, cause, posterior, ...
    Scores do not depend on chunk size, workers or column order.

    \b
    --rank-by says what comes first, in top_cause, ranks and --explain; causes whose
    state was entered come last:
      rise         what the vignette added to the cause's tempered probability, if any
                   finding is present; costs nothing, and mostly agrees with tempered
      posterior    the probability itself: what is merely common leads often
      disablement  what the cause explains; several times slower
      tempered     what it would explain, were its prior half-way to one in ten, as
                   `twitchdx diagnose` ranks; several times slower

    \b
    Outcomes:
      a cell that cannot be read, a contradiction, evidence of probability zero, a row
        with too few or too many cells, a duplicate id, an unclosed quotation mark,
        bytes that are not UTF-8: the vignette goes to OUT.rejected.csv (line,
        vignette_id, column, value, reason, repair), the others are scored
      an unknown column: nothing runs; the message names the nearest ids
      an empty file, a damaged archive, a full disk: a message, status 1
      Ctrl-C or a kill: OUT.partial files stay; --resume goes on at the last
        checkpoint, and the result is the same to the byte
    OUT appears under its name only when complete, OUT.manifest.json beside it (versions,
    digests, settings, counts). "rows in = scored + rejected" is printed at the end.
    --resume of a finished run says "complete already", and does nothing.
    Nothing that is read is written to, and --rejects and --manifest replace no file that
    is something else.

    \b
    Exit status:
      0    all vignettes were scored
      1    the run could not start or finish; 2 wrong usage
      3    finished, some vignettes were rejected
      130  interrupted

    \b
    A mapping file leaves other people's data as they are:
      ignore = ["ward"]
      [columns]                   # their name = our id
      "Patient no." = "vignette_id"
      "RLS: urge" = "urge_to_move"
      [recode."RLS: urge"]        # their value = our cell; "*" for all columns
      often = "present"
      [units]                     # unit of bare numbers
      "S-Ferritin" = "ug/L"
      [convert."Age in months"]   # number * factor + offset
      factor = 0.0833333
    """
    from twitchdx.batch import RunOptions, ScoreOptions, read_mapping, score_file
    from twitchdx.batch.layout import NO_MAPPING
    from twitchdx.batch.run import CHUNK_ROWS, Interrupted
    from twitchdx.batch.sink import STANDARD_OUTPUT

    engine = read_engine(population, tables, priors)
    options = ScoreOptions(exact_only, long, top, intervals, explain, red_flags, rank_by)
    run = RunOptions(
        chunk_rows=chunk or CHUNK_ROWS,
        mapping=read_mapping(mapping) if mapping else NO_MAPPING,
        check_ids=not ids_unchecked,
        reads=tuple(filter(None, (mapping, *(p for p in priors if Path(p).is_file())))),
        rejected=rejects,
        overrides={"tables": tables and str(tables), "priors": list(priors)},
        **others,
    )
    # a polite kill (SIGTERM) stops a run as Ctrl-C does
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        summary = score_file(engine, source, output, options, run)
    except Interrupted as stopped:
        click.echo(f"twitchdx: {stopped}", err=True)
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(str(summary), err=output == STANDARD_OUTPUT)
    if summary.ignored:
        click.echo(f"columns not read: {', '.join(summary.ignored)}", err=True)
    if not summary.counts.clean:
        sys.exit(SOME_REJECTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
