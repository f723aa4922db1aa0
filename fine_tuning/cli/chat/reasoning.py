"""Reasoning told apart from the answer while both are still being written."""

from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"
Part = tuple[str, bool]  # text, and whether it is reasoning


class Parting:
    """Cuts a stream of text at `<think>` and `</think>`, which are left out."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def of(self, text: str) -> Iterator[Part]:
        """The parts that are certain after this piece; what may become a tag waits."""
        self._held += text
        while self._tag in self._held:
            before, _, self._held = self._held.partition(self._tag)
            yield before, self._thinking
            self._thinking = not self._thinking
        shorter = (self._tag[:n] for n in range(len(self._tag) - 1, 0, -1))
        begun = next(filter(self._held.endswith, shorter), "")
        ready = self._held.removesuffix(begun)
        self._held = self._held[len(ready) :]
        yield ready, self._thinking

    def rest(self) -> Part:
        """What still waited when the stream ended."""
        held, self._held = self._held, ""
        return held, self._thinking

    @property
    def _tag(self) -> str:
        return CLOSE if self._thinking else OPEN


def parted(text: str) -> tuple[str, str]:
    """The reasoning and the answer of a whole text."""
    parting = Parting()
    parts = [*parting.of(text), parting.rest()]
    thought = "".join(part for part, thinking in parts if thinking)
    return thought.strip(), "".join(part for part, thinking in parts if not thinking).strip()
