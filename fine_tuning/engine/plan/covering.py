"""What the plan says of the weights that a training reaches and of those that it leaves out."""

from collections.abc import Sequence

from fine_tuning.engine.plan.memory.weights import Covered, Step, coverage, trained_parameters
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tokens import ModelFacts, WeightKind

WORDS: dict[WeightKind, str] = {
    "attention": "attention",
    "mlp": "MLP",
    "experts": "experts",
    "embeddings": "embeddings",
    "head": "head",
    "tower": "vision and audio",
    "other": "norms and others",
}
# Shares that are smaller than this are not worth a word.
SMALL = 0.001
EXPERTS_LEFT_OUT = (
    "the routed experts, {share:.0%} of the weights, {what}: Transformers 5 keeps them as "
    "three-dimensional parameters, which neither --lora_target nor bitsandbytes reaches"
)


def coverage_table(model: ModelFacts | None, step: Step) -> dict[str, tuple[str, str]]:
    """Rows of the plan's table: which share of the weights is trained, and which is quantised."""
    covered = coverage(model, step) if model else ()
    if not covered or model is None:
        return {}
    count = trained_parameters(model, step)
    share = count / sum(w.parameters for w in covered)
    percent = f"{share:.3%}" if share < SMALL else f"{share:.1%}"
    numbers = {"trained_parameters": (f"{count:,}", f"{percent} of the model's own number")}
    if METHODS[step.method].soft_prompt:
        return numbers
    shares = {w.kind: w.trained for w in covered}
    verb = "adapted" if step.adapts else "trained"
    table = {verb + "_weights": _row(covered, shares, left_out=f"not {verb}")}
    if any(w.quantised for w in covered):
        shares = {w.kind: w.quantised for w in covered}
        table["quantized_weights"] = _row(covered, shares, left_out="in 16 bits")
    return numbers | table


def coverage_warnings(model: ModelFacts | None, step: Step) -> tuple[str, ...]:
    """Where most of a mixture of experts stays as it is, which nobody would expect."""
    covered = coverage(model, step) if model else ()
    experts = next((w for w in covered if w.kind == "experts"), None)
    if experts is None or model is None or METHODS[step.method].soft_prompt:
        return ()
    share = experts.parameters / sum(w.parameters for w in covered)
    quantises = step.quantization != "none" and not experts.quantised
    left = ["get no adapter"] if step.adapts and not experts.trained else []
    left += ["stay in 16 bits"] if quantises else []
    if not left:
        return ()
    offers = METHODS[step.method].has_variants and "get no adapter" in left
    way = "; --target_parameters experts adapts them" if offers else ""
    return (EXPERTS_LEFT_OUT.format(share=share, what=" and ".join(left)) + way,)


def _row(
    covered: Sequence[Covered], shares: dict[WeightKind, float], *, left_out: str
) -> tuple[str, str]:
    """The share of all weights, by kind, and the kinds that are left out."""
    everything = sum(w.parameters for w in covered)
    reached = sum(w.parameters * shares[w.kind] for w in covered)
    inside = [
        ("" if share > 1 - SMALL else f"{share:.0%} of ") + WORDS[w.kind]
        for w in covered
        if (share := shares[w.kind]) > 0
    ]
    outside = [
        f"{WORDS[w.kind]} {w.parameters / everything:.0%}"
        for w in covered
        if shares[w.kind] == 0 and w.parameters / everything >= SMALL
    ]
    value = f"{reached / everything:.0%} ({', '.join(inside)})" if inside else "none"
    return value, f"{left_out}: {', '.join(outside)} of the weights" if outside else ""
