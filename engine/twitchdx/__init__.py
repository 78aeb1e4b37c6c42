"""Bayesian differential diagnosis of twitching, jerking, cramping and restless legs.

For research and teaching, not for care.

Examples
--------
>>> import twitchdx
>>> engine = twitchdx.Engine.default(population="general_adult")
>>> dx = engine.diagnose({"urge_to_move": True, "relief_by_stretching": False, "ferritin": 18})
>>> dx.method
'exact'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis, Engine
    from twitchdx.errors import TwitchdxError
    from twitchdx.evidence import Soft
    from twitchdx.network import NoisyOrNetwork

#: public name -> the module that holds it; imported on first use, so that importing stays quick
_HOMES = {
    "Diagnosis": "twitchdx.diagnosis",
    "Engine": "twitchdx.diagnosis",
    "NoisyOrNetwork": "twitchdx.network",
    "Soft": "twitchdx.evidence",
    "TwitchdxError": "twitchdx.errors",
}

__all__ = ["Diagnosis", "Engine", "NoisyOrNetwork", "Soft", "TwitchdxError", "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("twitchdx")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'twitchdx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
