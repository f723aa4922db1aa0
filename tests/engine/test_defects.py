from fine_tuning.engine.defects import DEFECTS, PAGE, page


def test_the_page_is_written_from_the_table() -> None:
    """`python -m fine_tuning.engine.defects` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_defect_names_its_place_and_what_is_done() -> None:
    for defect in DEFECTS:
        assert defect.source.split(",")[0].endswith(".py"), defect.name
        assert defect.consequence.endswith(".") and defect.answer.endswith("."), defect.name
