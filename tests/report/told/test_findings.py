from fine_tuning.report.told.findings import finding_cards


def test_findings_of_any_shape_get_a_card() -> None:
    cards = finding_cards(
        {
            "seconds": 0.1,
            "anything_else": True,
            "languages": {"zh": 3, "en": 1},
            "exact_repeats": 1200,
            "kinds": [f"row {i}" for i in range(20)],
            "labels": {},
        }
    )
    assert [(card.title, card.value) for card in cards] == [
        ("Exact repeats", "1,200"),
        ("Likely secrets and personal data", ""),
        ("Writing system of the answers", ""),
        ("Anything else", "yes"),
    ]
    assert cards[2].items == (("zh", "3", 0.75), ("en", "1", 0.25))
    assert (len(cards[1].items), cards[1].more) == (12, 8)


def test_a_length_distribution_is_drawn_with_its_median() -> None:
    bins = [
        {"least": 1, "most": 1, "rows": 0},
        {"least": 2, "most": 3, "rows": 10},
        {"least": 4, "most": 7, "rows": 20},
    ]
    distribution = {"rows": 30, "longest": 7, "percentiles": {"p50": 5}, "histogram": bins}
    assert finding_cards({"answer_chars": distribution})[0].items == (
        ("2 to 3", "10", 0.5),
        ("4 to 7", "20", 1.0),
        ("median", "5", None),
        ("longest", "7", None),
    )
