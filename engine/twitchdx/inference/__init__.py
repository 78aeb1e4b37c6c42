"""Exact inference in noisy-OR networks, and a sampler for the few cases that are too wide.

Evidence is one likelihood ratio per node, P(observation | on) / P(observation | off): 1 unknown,
infinity observed present, 0 observed absent, anything else soft evidence. Nodes are the causes,
then the findings, of the network.
"""

from twitchdx.inference.exact import (
    BatchInference,
    Gradients,
    Inference,
    Plan,
    explain_plan,
    gradients,
    infer,
    infer_batch,
    infer_evidence,
    joint,
    most_states,
    width,
)

__all__ = [
    "BatchInference",
    "Gradients",
    "Inference",
    "Plan",
    "explain_plan",
    "gradients",
    "infer",
    "infer_batch",
    "infer_evidence",
    "joint",
    "most_states",
    "width",
]
