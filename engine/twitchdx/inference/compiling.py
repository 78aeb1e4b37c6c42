"""Compile with numba, keeping the machine code on disk where the disk allows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT.name

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(
    *, parallel: bool = False, fastmath: bool = False, inline: bool = False
) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function, cached on disk if that is possible.

    An installation that can be read only, for a user without a writable home, has no place for
    numba's cache; numba then refuses to compile at all. The function is compiled uncached there.

    Parameters
    ----------
    parallel : bool
        Run `numba.prange` loops on several threads.
    fastmath : bool
        Let sums be reordered (for vector instructions) and multiply-adds fuse. Infinities and
        NaN keep their meaning.
    inline : bool
        Ask the compiler to inline the function where it is called.
    """
    options: dict[str, Any] = {
        "parallel": parallel,
        "error_model": "numpy",
        "nogil": True,
        "no_cfunc_wrapper": True,
    }
    if fastmath:
        options["fastmath"] = {"reassoc", "contract", "nsz"}
    if inline:
        options["forceinline"] = True

    def decorate(function: Function) -> Function:
        try:
            return cast(Function, _watch_all_sources(numba.njit(cache=True, **options)(function)))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return cast(Function, numba.njit(cache=False, **options)(function))

    return decorate


def _watch_all_sources(dispatcher: Any) -> Any:
    """Let a cached function expire when a module that its own one imports changes, too.

    Compiled code contains what it calls; numba looks at the file of the function alone.
    """
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        path = Path(dispatcher.py_func.__code__.co_filename)
        index._source_stamp = (index._source_stamp, _stamp(path))
    return dispatcher


@cache
def _stamp(path: Path) -> tuple[tuple[str, int, float], ...]:
    """Name, size and time of a source file and of those of ours it imports, in any depth."""
    found: set[Path] = set()
    todo = [path]
    while todo:
        source = todo.pop()
        if source in found or not source.exists():
            continue
        found.add(source)
        names = re.findall(rf"from {PACKAGE}\.([\w.]+) import", source.read_text(encoding="utf-8"))
        todo += [ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    return tuple((p.name, p.stat().st_size, p.stat().st_mtime) for p in sorted(found))
