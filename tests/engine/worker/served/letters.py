"""What texts are put together from, where ids by words are compared with those of the library."""

SPECIAL = ["<unk>", "<turn>", "<end>"]
LETTERS = [
    *"abehost 019\n\r\t'_.,!?-/\\[](){}<>=;:\"▁&#",
    *("  ", "   ", " \n", "\n\n", "the", " the", " of", " house", "it's", "a_b", "</b>", "(of"),
    *("<0x0A>", "<0x", "▁▁", " ▁ ", "é", "e\u0301", "ß", "İ", "中", "文", "ひ", "한", "א", "हिन्दी"),
    *("😀", "👩\u200d👧", "\u200b", "\ufeff", "²", "Ⅷ", "٣", "—", "“", "’", "，", "\u3000", "\xa0"),
    *("\x00", "\x1b", "\u0378", "ے۔", "TURN", "<turn", "urn>", "x <end> y", *SPECIAL),
]
