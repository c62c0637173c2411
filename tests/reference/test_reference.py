import pytest

NAMES = ["losses", "teaching", "gru", "training", "carried", "pooled", "joint_losses"]


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_still_makes_what_is_stored(name):
    pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
    from make_reference import REFERENCES, check

    assert list(REFERENCES) == NAMES
    check(name)
