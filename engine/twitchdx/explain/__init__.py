"""Why an answer is what it is, what to ask next, and what not to miss."""

from __future__ import annotations

from twitchdx.explain.attribution import (
    Attribution,
    attribution,
    counterfactuals,
    leading_disablement,
)
from twitchdx.explain.conflict import Conflict, conflict
from twitchdx.explain.flags import (
    RedFlags,
    SeriousCause,
    causes_of_concern,
    management,
    red_flags,
    work_up,
)
from twitchdx.explain.leading import (
    contenders,
    first_ranked,
    leading_causes,
    open_causes,
    ranked,
    rise,
)
from twitchdx.explain.questions import NextQuestions, next_questions, question_plan
from twitchdx.explain.sets import (
    JointHypotheses,
    JointHypothesis,
    most_probable_sets,
    smallest_explanations,
)
from twitchdx.explain.solidity import Solidity, solidity
from twitchdx.explain.tempering import tempered, tempered_posterior, tempered_prior
from twitchdx.explain.weight import Explanation, explain

#: what sorts the differential unless asked otherwise
DEFAULT_RANKING = "tempered"
#: what may sort it, in words
RANKING_MEANINGS = {
    "tempered": "what each cause would explain, were its prior half-way to one in ten",
    "posterior": "probability",
    "disablement": "how many of the findings would go without the cause",
    "sufficiency": "how many of the findings the cause alone would have produced",
}

__all__ = [
    "DEFAULT_RANKING",
    "RANKING_MEANINGS",
    "Attribution",
    "Conflict",
    "Explanation",
    "JointHypotheses",
    "JointHypothesis",
    "NextQuestions",
    "RedFlags",
    "SeriousCause",
    "Solidity",
    "attribution",
    "causes_of_concern",
    "conflict",
    "contenders",
    "counterfactuals",
    "explain",
    "first_ranked",
    "leading_causes",
    "leading_disablement",
    "management",
    "most_probable_sets",
    "next_questions",
    "open_causes",
    "question_plan",
    "ranked",
    "red_flags",
    "rise",
    "smallest_explanations",
    "solidity",
    "tempered",
    "tempered_posterior",
    "tempered_prior",
    "work_up",
]
