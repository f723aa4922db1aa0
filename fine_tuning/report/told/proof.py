"""The proof of the merged model, in one sentence, and a second where rounding lost much."""

from fine_tuning.units import percent_text
from fine_tuning.values.results import Proof, RewardProof

MUCH_LOST = 0.9  # of what training changed, the share below which a merge is no longer the adapter


def is_whole(proof: Proof) -> bool:
    """Whether the merged model was compared, and holds what was trained."""
    return proof.proved and proof.kept >= MUCH_LOST


def proof_text(proof: Proof) -> str:
    """What was compared and how it came out, or why nothing was."""
    if not proof.proved:
        return f"The merged model was not compared with {proof.against}: {proof.reason}."
    text = (
        f"The merged model answers like {proof.against}: the same most likely token at "
        f"{percent_text(proof.agreement)} of the positions of {proof.rows} rows; logits differ by "
        f"{proof.mean_logit_difference:.1g}, training moved them by {proof.moved_by_training:.1g}."
    )
    if is_whole(proof):
        return text
    unmerged = "base and adapter unmerged" if "adapter" in proof.against else proof.against
    return (
        f"{text} But merging kept only {percent_text(max(0.0, proof.kept))} of what training "
        "changed in the weights: the rest is less than one rounding of the base model's number "
        f"format. Serve {unmerged}, or train with a larger --learning_rate."
    )


def rewards_text(proof: RewardProof) -> str:
    """How the exported classifier's rewards compare with those of the trained value head."""
    text = (
        f"The exported classifier gives {proof.conversations} conversations the trained rewards "
        f"less {proof.constant:.4g}, the bias of the value head, which no comparison sees; beside "
        f"that they differ by {proof.apart:.1g} at most, of a spread of {proof.spread:.3g}."
    )
    if proof.same_ids:
        return text
    return (
        f"{text} But its chat template writes these conversations otherwise than they were "
        "trained: TRL and vLLM would read the reward at another token."
    )
