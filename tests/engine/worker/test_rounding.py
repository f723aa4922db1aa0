"""Number formats as their definitions have them."""

import pytest

pytestmark = pytest.mark.engine


def test_e4m3_has_three_bits_behind_the_point_and_a_scale_for_each_row() -> None:
    """The largest of a row becomes 448; between powers of two lie eight equal steps."""
    import torch

    from fine_tuning.engine.worker.proving.rounding import in_scaled_e4m3

    kept = torch.tensor([[448.0, 1.0, 1.125, -0.875, 2**-9], [4480.0, 10.0, 11.25, 0, -20.0]])
    assert torch.equal(in_scaled_e4m3(kept), kept)
    between = torch.tensor([[448.0, 1.06, 1.07, 1.19, 2**-10 - 1e-6]])
    assert in_scaled_e4m3(between).tolist() == [[448.0, 1.0, 1.125, 1.25, 0.0]]
    torch.manual_seed(0)
    numbers = torch.rand(64, 256) + 0.01  # all within what E4M3 has in full precision
    apart = (in_scaled_e4m3(numbers) / numbers - 1).abs()
    assert 2**-5 < apart.max() <= 2**-4
    assert torch.equal(in_scaled_e4m3(torch.zeros(2, 4)), torch.zeros(2, 4))
