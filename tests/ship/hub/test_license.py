"""The base model's license, what it asks for, and how a derived model may be called."""

import json
from pathlib import Path

import pytest

from fine_tuning.ship.hub.license import License, license_files, license_of


@pytest.mark.parametrize(
    ("name", "title", "asks"),
    [
        ("apache-2.0", None, "the license and notices must be kept"),
        ("other", "llama3.2", "`Built with Llama` must be shown"),
        ("llama2", None, "its acceptable use policy and notice"),
        ("cc-by-nc-4.0", None, "not for commercial use"),
        ("other", "mnpl-0.1", "not for commercial use"),
        ("other", "qwen-research", "not for commercial use"),
        ("other", "tongyi-qianwen", "`Built with Qwen`"),
        ("gemma", None, "prohibited use policy must be passed on"),
        ("unheard-of", None, "its conditions are not known here, read them"),
        (None, None, "neither the base model's card nor its configuration names it"),
    ],
)
def test_what_a_license_asks_for_is_said(name: str | None, title: str | None, asks: str) -> None:
    assert asks in License(name=name, title=title).text


def test_a_name_that_the_license_does_not_allow_is_said() -> None:
    llama3 = License(name="other", title="llama3.2")
    assert "wants a name that begins with Llama: me/mine does not" in llama3.naming("me/mine")
    assert llama3.naming("me/Llama-mine") == ""
    for free in (License(name="llama2"), License(name="mit"), License()):
        assert free.naming("me/mine") == ""


def test_the_license_is_read_from_the_card_or_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"license": "mit"}))
    assert license_of(tmp_path, None, None).name == "mit"
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    for name in ("LICENSE", "NOTICE.txt", "USE_POLICY.md"):
        (tmp_path / name).write_text("text")
    assert license_of(tmp_path, None, None).name == "apache-2.0"
    names = [path.name for path in license_files(tmp_path)]
    assert names == ["LICENSE", "NOTICE.txt", "USE_POLICY.md"]
    assert license_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "card", [b"---\nlicense: [mit\n---\n", b"---\n- mit\n---\n", b"\xff\xfe---", b"no metadata"]
)
def test_a_card_that_cannot_be_read_leaves_what_the_configuration_says(
    card: bytes, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_bytes(card)
    (tmp_path / "config.json").write_text(json.dumps({"license": "mit"}))
    assert license_of(tmp_path, None, None).name == "mit"


def test_a_hub_that_does_not_answer_leaves_it_unknown_and_a_fault_of_ours_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every error was suppressed: a mistake of ours would have read as `unknown`."""
    import huggingface_hub

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert license_of(None, "owner/name", None) == License()
    assert license_of(None, "no/such/name", None) == License()

    def broken(*_: object, **__: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", broken)
    with pytest.raises(TypeError, match="ours"):
        license_of(None, "owner/name", None)
