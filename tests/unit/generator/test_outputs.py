"""What a prediction's output holds."""

import base64

import orjson
import pytest

from generator.outputs import Inline, Linked, UnusableOutput, Value, collect


def test_files_are_found_in_strings_lists_and_nested_objects_in_their_order() -> None:
    output = {
        "images": ["https://a/1.png", ["http://a/2.png"]],
        "video": {"url": "https://a/3.mp4"},
        "inline": "data:image/png;base64,AA==",
    }
    assert collect("https://a/1.png") == [Linked("https://a/1.png")]
    assert collect(output) == [
        Linked("https://a/1.png"),
        Linked("http://a/2.png"),
        Linked("https://a/3.mp4"),
        Inline("data:image/png;base64,AA=="),
    ]


def test_what_stands_beside_files_is_kept_as_a_value_after_them() -> None:
    *files, value = collect({"image": "https://a/1.png", "caption": "a cat", "score": 0.5})
    assert files == [Linked("https://a/1.png")]
    assert isinstance(value, Value)
    assert orjson.loads(value.json) == {"image": None, "caption": "a cat", "score": 0.5}


def test_text_that_was_streamed_in_pieces_is_joined() -> None:
    assert collect(["Once", " upon", " a time"]) == [Value('"Once upon a time"', "text/plain")]


@pytest.mark.parametrize(
    "output", ["ftp://a/1.png", "see https://a/1.png for more", "javascript:alert(1)", "https://a b", "data:nothing"]
)
def test_a_string_that_is_no_url_is_a_value(output: str) -> None:
    assert collect(output) == [Value(orjson.dumps(output).decode(), "text/plain")]


@pytest.mark.parametrize("output", [42, 0, False, {"a": [1, 2]}, [1, "two"]])
def test_json_without_files_is_a_value(output: object) -> None:
    assert collect(output) == [Value(orjson.dumps(output).decode(), "application/json")]


@pytest.mark.parametrize("output", [None, [], {}])
def test_a_success_without_output_is_a_failure_with_its_own_code(output: object) -> None:
    with pytest.raises(UnusableOutput) as refused:
        collect(output)
    assert refused.value.code == "output_missing"


def test_an_endless_list_of_files_is_refused() -> None:
    with pytest.raises(UnusableOutput) as refused:
        collect([f"https://a/{n}" for n in range(300)])
    assert refused.value.code == "output_too_large"


def test_a_file_given_in_place_is_decoded() -> None:
    body = bytes(range(256))
    assert Inline("data:image/png;base64," + base64.b64encode(body).decode()).decode() == body
    assert Inline("data:text/plain,a%20b").decode() == b"a b"
    with pytest.raises(UnusableOutput):
        Inline("data:image/png;base64,A").decode()
