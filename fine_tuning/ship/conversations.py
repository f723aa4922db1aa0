"""Conversations whose prompts a server must make as the trained tokenizer does."""

from collections.abc import Mapping, Sequence

Message = Mapping[str, str]
Chat = Sequence[Message]


def said(role: str, content: str) -> Message:
    """A message of a conversation."""
    return {"role": role, "content": content}


# Without and with a system prompt, of one round and of two, in two languages, with signs.
CHATS: Sequence[Chat] = (
    (said("user", "What is the capital of France?"),),
    (said("system", "你是一个简洁的助手。"), said("user", "请用一句话介绍长江。")),
    (
        said("user", "  My name is Ada.\n\nWhat is 12 + 30?"),
        said("assistant", "12 + 30 = 42."),
        said("user", "And my name? 🙂"),
    ),
)


def chats_with(system: str | None) -> Sequence[Chat]:
    """The same as a server takes them that puts this system prompt before those without one."""
    if not system:
        return CHATS
    return [
        chat if chat[0]["role"] == "system" else (said("system", system), *chat) for chat in CHATS
    ]
