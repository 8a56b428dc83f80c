import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.strict_json import read_object

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    members=st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), values, min_size=1),
    indent=st.sampled_from([None, 1]),
)
def test_the_source_of_every_member_is_found_as_it_was_written(members, indent):
    text = json.dumps(members, indent=indent, ensure_ascii=False)
    if "\\u0000" in text:
        return
    document = read_object(text.encode())
    assert document.members == members
    for name, value in members.items():
        assert json.loads(document.source(name)) == value
        assert document.source(name) in text
