from fine_tuning.engine.defects import DEFECTS, PAGE, page
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import plan


def test_the_page_is_written_from_the_table() -> None:
    """`python -m fine_tuning.engine.defects` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_plan_says_which_it_meets() -> None:
    shown = {it.name: it.value for it in plan(RunSpec(quantization="4bit")).choices}
    assert shown["engine_defects"] == "4-bit weights repacked"
    assert "engine_defects" not in {it.name for it in plan(RunSpec()).choices}


def test_every_defect_names_its_place_and_what_is_done() -> None:
    for defect in DEFECTS:
        assert defect.source.split(",")[0].endswith(".py"), defect.name
        assert defect.consequence.endswith(".") and defect.answer.endswith("."), defect.name
