"""Why an answer is what it is, what to ask next, and what not to miss."""

from __future__ import annotations

from twitchdx.explain.attribution import Attribution, attribution, counterfactuals

#: what sorts the differential unless asked otherwise
DEFAULT_RANKING = "disablement"

__all__ = ["DEFAULT_RANKING", "Attribution", "attribution", "counterfactuals"]
