"""The proof of the merged model, in one sentence."""

from fine_tuning.report.facts import Proof
from fine_tuning.units import percent_text


def proof_text(proof: Proof) -> str:
    """What was compared and how it came out, or why nothing was."""
    if not proof.proved:
        return f"The merged model was not compared with base + adapter: {proof.reason}."
    return (
        f"The merged model answers like base + adapter: the same most likely token at "
        f"{percent_text(proof.agreement)} of the positions of {proof.rows} rows; logits differ by "
        f"{proof.mean_logit_difference:.1g}, training moved them by {proof.moved_by_training:.1g}."
    )
