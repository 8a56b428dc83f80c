"""docs/simulator.md says what is true: every rule in it is one, every effect, answer, setting and model is in it."""

import json
import re
from pathlib import Path
from typing import get_args

from simulator.catalogue import MODELS
from simulator.problems import Answer
from simulator.rules import RULES, AnyRule
from simulator.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text()
EXAMPLES = [json.loads(line) for line in re.findall(r'^\{"effect".*\}$', PAGE, re.MULTILINE)]


def test_every_rule_of_the_page_is_a_rule():
    assert len(RULES.validate_python({"rules": EXAMPLES}).rules) == len(EXAMPLES) > 20


def test_every_effect_and_answer_is_on_the_page():
    effects = {get_args(kind.model_fields["effect"].annotation)[0] for kind in get_args(get_args(AnyRule)[0])}
    assert effects == {example["effect"] for example in EXAMPLES}
    assert [answer for answer in get_args(Answer) if f"`{answer}`" not in PAGE] == []


def test_every_setting_and_model_is_on_the_page():
    assert [name for name in Settings.model_fields if f"`SIMULATOR_{name.upper()}`" not in PAGE] == []
    assert [name for name in MODELS if f"`{name}`" not in PAGE] == []
