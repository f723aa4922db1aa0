"""A chat template as one of Ollama's own, for models whose Jinja it would not use.

`ollama create` puts in a Go template that it knows where the Jinja in a file looks like one of its
list, and for chats a Go template wins unless the Jinja can do more (tools, thoughts):
server/model.go, template/template.go and shouldPreferChatTemplate in server/images.go of Ollama
0.33. So a Jinja without these is written down as a Go template too, if it is as plain as one: a
text before and behind each message by its role, and one where no system prompt is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from fine_tuning.ship.conversations import CHATS, Chat, said

Render = Callable[[Chat], str | None]  # a conversation's prompt; None: the template refuses it
# By these words in a Jinja Ollama sees that it can do more than a template of its own
# (server/images.go: chatTemplateCapabilities).
ABLE = ("tools", "tool_call", "<think>", "</think>")
# Of no template's own words.
SYSTEM, FIRST, ANSWER, SECOND = "qsysq", "qonesq", "qansq", "qtwosq"


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What stands around the messages of a conversation."""

    without_system: str
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    end: str

    def prompt(self, chat: Chat) -> str:
        """As `text` renders it."""
        given = "\n\n".join(it["content"] for it in chat if it["role"] == "system")
        before, after = self.system
        parts = [f"{before}{given}{after}" if given else self.without_system]
        around = {"user": self.user, "assistant": self.assistant}
        for message in chat:
            if message["role"] in around:
                before, after = around[message["role"]]
                parts.append(f"{before}{message['content']}{after}")
        return "".join([*parts, self.end])

    @property
    def text(self) -> str:
        """The Go template."""
        user, assistant = (
            f"{literal(before)}{{{{ .Content }}}}{literal(after)}"
            for before, after in (self.user, self.assistant)
        )
        before, after = map(literal, self.system)
        return (
            f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}"
            f"{literal(self.without_system)}{{{{ end }}}}"
            f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
            f'{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ end }}}}{{{{ end }}}}'
            f"{literal(self.end)}"
        )


def literal(text: str) -> str:
    """A text that stands for itself in a Go template."""
    return text.replace("{{", '{{ "{{" }}')


def is_needed(jinja: str | None) -> bool:
    """Whether Ollama might use another template in the place of this one."""
    return bool(jinja) and not any(word in str(jinja) for word in ABLE)


def written(render: Render) -> str | None:
    """The Go template that makes the prompts that `render` makes of `PROBES`; None if there is none
    so plain.

    It is compared on conversations with and without system prompt, of one round and of several.
    """
    turns = found(render)
    if turns is None or '"""' in turns.text:
        return None
    text = turns.text
    if not all(it.isprintable() or it == "\n" for it in text):  # which a Modelfile loses
        return None
    return text if all(turns.prompt(chat) == render(chat) for chat in COMPARED) else None


def with_roles(*roles: str) -> Chat:
    """A conversation of these roles."""
    return [said(role, f"{role} {number}.") for number, role in enumerate(roles)]


def found(render: Render) -> Turns | None:
    """The texts around the messages, told apart by rendering three conversations."""
    one, with_system, rounds = (
        _between(render(chat), *(message["content"] for message in chat)) for chat in TELLING
    )
    if one is None or with_system is None or rounds is None:
        return None
    begin, end = one
    after_user = _common_beginning([rounds[1], end])
    before_user = _common_end([begin, rounds[2], with_system[1]])
    return Turns(
        without_system=begin.removesuffix(before_user),
        system=(with_system[0], with_system[1].removesuffix(before_user)),
        user=(before_user, after_user),
        assistant=(rounds[1].removeprefix(after_user), rounds[2].removesuffix(before_user)),
        end=end.removeprefix(after_user),
    )


# Conversations whose prompts tell what stands around a message, and those that are compared.
TELLING: Sequence[Chat] = (
    [said("user", FIRST)],
    [said("system", SYSTEM), said("user", FIRST)],
    [said("user", FIRST), said("assistant", ANSWER), said("user", SECOND)],
)
COMPARED: Sequence[Chat] = (*CHATS, with_roles("system", "user", "assistant", "user"))
PROBES: Sequence[Chat] = (*TELLING, *COMPARED)


def _between(text: str | None, *contents: str) -> list[str] | None:
    """The parts of a prompt around these contents, each of which stands there once, in order."""
    parts = []
    for content in contents:
        if text is None or text.count(content) != 1:
            return None
        before, _, text = text.partition(content)
        parts.append(before)
    return [*parts, str(text)]


def _common_beginning(texts: Sequence[str]) -> str:
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)


def _common_end(texts: Sequence[str]) -> str:
    return _common_beginning([text[::-1] for text in texts])[::-1]
