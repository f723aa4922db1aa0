"""An upload that cannot work is refused before anything is loaded."""

import pytest

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.hubs.refused import require_upload


def test_an_upload_offline_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentProblem, match="--push_to_hub cannot upload") as refused:
        require_upload()
    assert "HF_HUB_OFFLINE" in refused.value.why and "leave --push_to_hub out" in refused.value.fix


def test_an_upload_without_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model was loaded first, and then the client's traceback was shown."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    with pytest.raises(EnvironmentProblem, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        require_upload()


def test_an_upload_without_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import HfApi, errors

    def nobody(self: HfApi) -> None:
        raise errors.LocalTokenNotFoundError("Token is required")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(HfApi, "whoami", nobody)
    with pytest.raises(EnvironmentProblem, match="--push_to_hub cannot upload") as refused:
        require_upload()
    assert "set HF_TOKEN" in refused.value.fix
