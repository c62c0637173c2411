import pytest

from ifusion.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("patience", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("input_noise", -0.1, "at least 0"),
        ("input_noise", float("nan"), "at least 0"),
        ("delay_scoring", "late", "'original' or 'shifted'"),
    ],
)
def test_options_that_cannot_train_are_refused(option, value, expected):
    sentence = f"training.{option} is {value!r}; expected {expected}"
    with pytest.raises(ValueError, match=sentence):
        TrainingOptions(**{option: value})
