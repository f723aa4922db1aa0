"""The stages that the worker knows, by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from fine_tuning.engine.worker.chatting.answer import answer_turn, load_speaker
from fine_tuning.engine.worker.devices import describe_devices
from fine_tuning.engine.worker.merging.combine import combine
from fine_tuning.engine.worker.proving.record import write_contract
from fine_tuning.engine.worker.proving.replay import replay_folder, replay_run
from fine_tuning.engine.worker.scoring.evaluate import evaluate
from fine_tuning.engine.worker.scoring.inputs.pairs import held_out_pairs
from fine_tuning.engine.worker.scoring.rewards.judge import judge_rows
from fine_tuning.engine.worker.scoring.score import score_run
from fine_tuning.engine.worker.tokens.look import look_at_tokens
from fine_tuning.engine.worker.tokens.texts import tokenizer_facts
from fine_tuning.engine.worker.training.encode import encode
from fine_tuning.importing import uncollected
from fine_tuning.values.tokens import TokenLook


def _later(module: str, name: str) -> Callable[..., Mapping[str, Any]]:
    """A stage that is imported when it is asked for: no other needs what it imports."""

    def stage(**asked: Any) -> Mapping[str, Any]:
        with uncollected():
            imported = import_module(f"{__package__}.{module}")
        found: Mapping[str, Any] = getattr(imported, name)(**asked)
        return found

    return stage


STAGES: Mapping[str, Callable[..., Mapping[str, Any] | TokenLook]] = {
    "devices": describe_devices,
    "tokens": look_at_tokens,
    "encode": encode,
    "train": _later("training.train", "train"),
    "score": score_run,
    "evaluate": evaluate,
    "judge": judge_rows,
    "held_out_pairs": held_out_pairs,
    "combine": combine,
    "merge": _later("merging.merge", "merge"),
    "tokenizer_facts": tokenizer_facts,
    "load_speaker": load_speaker,
    "answer": answer_turn,
    "begin_serving": _later("chatting.serve", "begin_serving"),
    "serve_until": _later("chatting.serve", "serve_until"),
    "contract": write_contract,
    "replay_run": replay_run,
    "replay_folder": replay_folder,
}
