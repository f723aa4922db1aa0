"""The canonical rows that the engine reads (docs/data.md), and their one way to bytes."""

import msgspec
from msgspec import UNSET, UnsetType

TOOL_RESULT_JOINT = "\n</tool_response>\n<tool_response>\n"  # llamafactory/data/converter.py

encode_row = msgspec.json.Encoder().encode


class Turn(msgspec.Struct, gc=False):
    """One turn: `role` is user, assistant, tool or function_call."""

    role: str = msgspec.field(name="from")
    value: str


class UntrainedTurn(Turn, gc=False):
    """An answer that is read and not trained: its author gave it the weight 0."""

    weight: int = 0


class ChatRow(msgspec.Struct, gc=False):
    """A dialogue that ends with an assistant turn or a tool call."""

    conversations: list[Turn]
    system: str = ""
    tools: str = ""
    images: list[str] | UnsetType = UNSET
    videos: list[str] | UnsetType = UNSET
    audios: list[str] | UnsetType = UNSET


class TextRow(msgspec.Struct, gc=False):
    """Text for continued pretraining: a user turn with the text, an empty assistant turn."""

    conversations: list[Turn]


class PreferenceRow(msgspec.Struct, gc=False):
    """A prompt (an odd number of turns) with a better and a worse answer."""

    conversations: list[Turn]
    chosen: Turn
    rejected: Turn
    system: str = ""
    tools: str = ""
    images: list[str] | UnsetType = UNSET
    videos: list[str] | UnsetType = UNSET
    audios: list[str] | UnsetType = UNSET


class KtoRow(msgspec.Struct, gc=False):
    """A dialogue whose last turn is wanted (`label` true) or not."""

    conversations: list[Turn]
    label: bool
    system: str = ""
    tools: str = ""
    images: list[str] | UnsetType = UNSET
    videos: list[str] | UnsetType = UNSET
    audios: list[str] | UnsetType = UNSET


Row = ChatRow | TextRow | PreferenceRow | KtoRow
TEXT = "(text)"


def seams_of(row: Row) -> list[bytes]:
    """The bytes of such a row around its texts; each of these is TEXT in the row that is given."""
    return encode_row(row).split(encode_row(TEXT))
