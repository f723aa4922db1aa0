"""How to load what the run made, as code to copy."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.report.facts.page import RunFacts

_LOAD = """\
tokenizer = AutoTokenizer.from_pretrained({tokenizer!r})
model = AutoModelForCausalLM.from_pretrained({model!r}, dtype="auto", device_map="auto")
"""
_ADAPTERS_IN_ORDER = """\
for earlier in {earlier!r}:  # the training began with these in the model
    model = PeftModel.from_pretrained(model, earlier).merge_and_unload()
"""
_CHAT = """\
messages = [{{"role": "user", "content": "Hello"}}]
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
# A classifier with one label: its only logit is the reward.
_JUDGE = """\
tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForSequenceClassification.from_pretrained(
    {model!r}, dtype="auto", device_map="auto"
)

messages = [{{"role": "user", "content": "Hello"}}, {{"role": "assistant", "content": "Hi!"}}]
inputs = tokenizer.apply_chat_template(
    messages, return_tensors="pt", return_dict=True{asked}
).to(model.device)
print(float(model(**inputs).logits[0, 0]))
"""
# The head reads the last layer at the last token (trl, AutoModelForCausalLMWithValueHead).
_SCORE = """\
messages = [{{"role": "user", "content": "Hello"}}, {{"role": "assistant", "content": "Hi!"}}]
inputs = tokenizer.apply_chat_template(
    messages, return_tensors="pt", return_dict=True{asked}
).to(model.device)
head = load_file({head!r})
last = model(**inputs, output_hidden_states=True).hidden_states[-1][0, -1].float().cpu()
score = last @ head["v_head.summary.weight"][0].float() + head["v_head.summary.bias"].float()
print(float(score))
"""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """Code or a command to copy."""

    title: str
    language: str
    code: str


def snippets(facts: RunFacts) -> tuple[Snippet, ...]:
    """Ways to use what was trained and the merged model, as far as the run has made them."""
    made = []
    for title, folder in (
        ("The merged model, with Transformers", facts.merged_path),
        ("The trained model, with Transformers", facts.model_path),
        ("The adapter, with Transformers and PEFT", facts.adapter_path),
    ):
        if folder is not None:
            made.append(_python(title, facts, folder))
    for file in facts.gguf_paths:
        code = f"llama-server --model {shlex.quote(str(file))} --jinja"
        made.append(Snippet(title="A GGUF file, with llama.cpp", language="shell", code=code))
    if facts.quantized is not None:
        code = f"vllm serve {shlex.quote(str(facts.quantized.path))}"
        made.append(Snippet(title="The quantised model, with vLLM", language="shell", code=code))
    if facts.ollama_model:
        code = f"ollama run {shlex.quote(facts.ollama_model)}"
        made.append(Snippet(title="The model in Ollama", language="shell", code=code))
    run_dir = facts.adapter_path or facts.model_path
    if facts.command and run_dir and not facts.reward_model:
        words = facts.command.split()  # the script by Python, or an installed name
        program = " ".join(words[: 2 if words[0] == "python" else 1])
        code = f"{program} chat --output_dir {shlex.quote(str(run_dir))}"
        made.insert(0, Snippet(title="A chat, as it was trained", language="shell", code=code))
    # LLaMA-Factory merges an adapter to chat with it (model/adapter.py:_setup_lora_tuning)
    beside = facts.encoded_ahead or facts.reward_model or facts.virtual_tokens
    if facts.chat and made and not beside:
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


def _python(title: str, facts: RunFacts, folder: Path) -> Snippet:
    """Code that loads what lies in the folder and asks it once."""
    adapted = folder == facts.adapter_path
    asked = "".join(f",\n    {name}=False" for name in facts.switched_off)
    if facts.reward_model and folder == facts.merged_path:
        head = "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        code = _JUDGE.format(model=str(folder), asked=asked)
        return Snippet(title=title, language="python", code=(head + code).rstrip())
    imports = ["from transformers import AutoModelForCausalLM, AutoTokenizer"]
    load = _LOAD.format(tokenizer=str(folder), model=facts.base_model if adapted else str(folder))
    if adapted:
        imports.insert(0, "from peft import PeftModel")
        if facts.adapters_before:
            load += _ADAPTERS_IN_ORDER.format(earlier=list(facts.adapters_before))
        load += f"model = PeftModel.from_pretrained(model, {str(folder)!r})\n"
    if facts.reward_model:
        imports.insert(-1, "from safetensors.torch import load_file")
        use = _SCORE.format(head=str(folder / "value_head.safetensors"), asked=asked)
    else:
        use = (_CHAT.format(asked=asked) if facts.chat else _TEXT) + _ANSWER
    code = "\n".join(imports) + f"\n\n{load}\n{use}"
    return Snippet(title=title, language="python", code=code.rstrip())


def merged_code(folder: str) -> str:
    """Code that loads a merged model of chats and asks it once."""
    return _python("", RunFacts(), Path(folder)).code


def _chat(facts: RunFacts) -> str:
    if facts.adapter_path is not None:
        adapters = [*facts.adapters_before, str(facts.adapter_path)]
        words = ["--model_name_or_path", facts.base_model]
        words += ["--adapter_name_or_path", ",".join(adapters)]
    else:
        words = ["--model_name_or_path", str(facts.model_path or facts.merged_path)]
    if facts.template:
        words += ["--template", facts.template]
    if facts.switched_off:
        words += ["--enable_thinking", "false"]
    pairs = [shlex.join(words[i : i + 2]) for i in range(0, len(words), 2)]
    return " \\\n    ".join(["llamafactory-cli chat", *pairs])
