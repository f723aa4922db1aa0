"""What the stages import, imported once and quickly.

Half of a short command's time is the import of its libraries; what they ask for only to know
whether a model is theirs is not imported for it.
"""

import gc
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from fine_tuning.importing import uncollected


@cache
def stages() -> Mapping[str, Callable[..., Any]]:
    """The stages by name, with all that most of them import; no later collection looks through
    that."""
    with uncollected():
        from fine_tuning.engine.worker.stages import STAGES

        import_no_more_than_is_used()
        gc.freeze()
    return STAGES


def import_no_more_than_is_used() -> None:
    """DeepSpeed and bitsandbytes are imported by what uses them: where they are not imported, no
    model is one of DeepSpeed's (accelerate/utils/other.py:extract_model_from_parallel) and no layer
    one of bitsandbytes' (peft/tuners/lora/model.py:_create_new_module), which is all that is asked
    there."""
    from accelerate.utils import other
    from peft.tuners.lora import model

    other.is_deepspeed_available = lambda: "deepspeed" in sys.modules
    has_8bit, has_4bit = model.is_bnb_available, model.is_bnb_4bit_available
    model.is_bnb_available = lambda: "bitsandbytes" in sys.modules and has_8bit()
    model.is_bnb_4bit_available = lambda: "bitsandbytes" in sys.modules and has_4bit()
