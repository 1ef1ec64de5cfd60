"""What came back of a record, and what did not."""

from formtune.carrying import lost, paired, says
from formtune.records import Conversation, Labelled, Message, Plain, Question

ASKED = Conversation(messages=(Message("user", "Hi", name="Ann"), Message("assistant", "Hello")), extra='{"n":[1]}')


def test_each_key_that_is_lost_has_a_name() -> None:
    """Of messages, of unknown keys, of the record itself."""
    again = Conversation(messages=(Message("user", "Hi"), Message("assistant", "Hello")), extra='{"n":[2]}')
    assert lost(ASKED, again) == {"messages[].name": ["Ann", None], "extra.n": [1]}
    assert lost(ASKED, ASKED) == {}
    assert lost(ASKED, None)["record"]["extra"] == '{"n":[1]}'
    assert lost(Plain(text="a"), Question(question="a")) == {"text": "a", "kind": "plain"}


def test_an_id_that_was_given_is_lost_where_it_does_not_come_back() -> None:
    """One that a record got from what it says is no loss."""
    assert lost(Plain(id="own", text="a"), Plain(text="a")) == {"id": "own"}
    assert lost(Plain(id="own", text="a"), Plain(text="a", extra='{"id":"own"}')) == {}
    assert lost(Plain(id="own", text="a"), Plain(id="own", text="a")) == {}


def test_records_find_what_became_of_them() -> None:
    """In another order, by what they say; one that says something else takes what is left, if there is as much."""
    a, b, c, d = (Plain(text=text) for text in "abcd")
    assert list(paired([a, b], [b, a])) == [(a, a), (b, b)]
    assert list(paired([a, b], [c, a])) == [(a, a), (b, c)]
    assert list(paired([a, b], [c, d])) == [(a, c), (b, d)]
    assert list(paired([a, b], [a])) == [(a, a), (b, None)]
    assert list(paired([a, b, b], [a, c])) == [(a, a), (b, None), (b, None)]


def test_inputs_say_the_same_in_any_order() -> None:
    """A table has one order of columns for all rows."""
    one, other = {"premise": "p", "hypothesis": "h"}, {"hypothesis": "h", "premise": "p"}
    assert says(Labelled(inputs=one, labels=("x",))) == says(Labelled(inputs=other, labels=("x",)))
