"""Messages: hints, and all mistakes at once in the order of their lines."""

from pathlib import Path

from tests.hpsearch.config.test_load import BASE, MISTAKES, edited, refused, study

__all__ = ["study"]


def test_hints_are_never_the_given_word(study: Path) -> None:
    """A parameter is unused because the setting of its name has a value: its own name is no hint."""
    text, _ = edited("  epochs: 50", "  epochs: 50\n  learning_rate: 0.1")
    assert [x for x in refused(study, text) if x.startswith("study.yaml:22: parameters.learning_rate")]
    assert "did you mean 'learning_rate'" not in "".join(refused(study, text))


def test_all_mistakes_at_once(study: Path) -> None:
    """In the order of their lines."""
    text = BASE
    for case in ("key at top", "data set", "activation", "min above max", "one_minus_log of 1", "sampler"):
        old, new, _, _ = MISTAKES[case]
        text = text.replace(old, new)
    text = text.replace("epochs: 50", "epochs: 0").replace("seed: 7", "seed: x")
    lines = refused(study, text)
    numbers = [int(x.split(":")[1]) for x in lines]
    assert numbers == sorted(numbers)
    assert {2, 5, 11, 14, 21, 22, 28, 29} <= set(numbers)


def test_missing_sections(study: Path) -> None:
    text = "\n".join(refused(study, "seed: 1\n"))
    for section in ("name", "data", "parameters", "stages"):
        assert f"study.yaml: {section}: missing" in text
