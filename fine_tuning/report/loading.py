"""How to load what the run made, as code to copy."""

import shlex
from dataclasses import dataclass

from fine_tuning.report.facts import RunFacts

_CHAT = """\
messages = [{"role": "user", "content": "Hello"}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True{asked}
).to(model.device)
"""
_TEXT = """\
inputs = tokenizer("Once upon a time", return_tensors="pt").to(model.device)
"""
_ANSWER = """\
output = model.generate(**inputs, max_new_tokens=256)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """Code or a command to copy."""

    title: str
    language: str
    code: str


def snippets(facts: RunFacts) -> tuple[Snippet, ...]:
    """Ways to use the adapter and the merged model, as far as the run has made them."""
    made = []
    if facts.merged_path is not None:
        made.append(_python("The merged model, with Transformers", _merged(facts)))
    if facts.adapter_path is not None:
        made.append(_python("The adapter, with Transformers and PEFT", _adapter(facts)))
    if (
        facts.chat
        and not facts.encoded_ahead
        and (facts.adapter_path is not None or facts.merged_path is not None)
    ):
        made.append(
            Snippet(title="A chat, with LLaMA-Factory", language="shell", code=_chat(facts))
        )
    if facts.train_yaml is not None:
        made.append(
            Snippet(
                title="The same training by hand",
                language="shell",
                code=f"llamafactory-cli train {shlex.quote(str(facts.train_yaml))} output_dir=NEW",
            )
        )
    return tuple(made)


def _python(title: str, code: str) -> Snippet:
    return Snippet(title=title, language="python", code=code.rstrip())


def _asking(facts: RunFacts) -> str:
    """A prompt as it was trained: with the template's reasoning off, if it was off for all rows."""
    if not facts.chat:
        return _TEXT
    off = "".join(f",\n    {name}=False" for name in facts.switched_off)
    return _CHAT.replace("{asked}", off)


def _merged(facts: RunFacts) -> str:
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"path = {str(facts.merged_path)!r}\n"
        "tokenizer = AutoTokenizer.from_pretrained(path)\n"
        'model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", device_map="auto")\n\n'
        f"{_asking(facts)}{_ANSWER}"
    )


def _adapter(facts: RunFacts) -> str:
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = {facts.base_model!r}\n"
        f"adapter = {str(facts.adapter_path)!r}\n"
        "tokenizer = AutoTokenizer.from_pretrained(adapter)\n"
        'model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", device_map="auto")\n'
        "model = PeftModel.from_pretrained(model, adapter)\n\n"
        f"{_asking(facts)}{_ANSWER}"
    )


def _chat(facts: RunFacts) -> str:
    if facts.adapter_path is not None:
        words = ["--model_name_or_path", facts.base_model]
        words += ["--adapter_name_or_path", str(facts.adapter_path)]
    else:
        words = ["--model_name_or_path", str(facts.merged_path)]
    if facts.template:
        words += ["--template", facts.template]
    pairs = [shlex.join(words[i : i + 2]) for i in range(0, len(words), 2)]
    return " \\\n    ".join(["llamafactory-cli chat", *pairs])
