"""A record of each sort, small enough to read: what ``formtune formats`` and the docs show each format with."""

from dataclasses import dataclass

from formtune.examples import Task
from formtune.formats.tasks import infer_task
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Preference, Question, Record


@dataclass(frozen=True, slots=True)
class Sample:
    """A record with the task of the data set that it could come from.

    Attributes:
        data: what sort of data it stands for, in a user's words.
        record: the record.
        task: what its data set asks for.
    """

    data: str
    record: Record
    task: Task


def samples() -> list[Sample]:
    """Make a record of each kind, and of questions one of each sort of answer."""
    review = Labelled(id="1", inputs={"text": "A warm and funny film."}, labels=("positive",))
    premise = Labelled(
        id="2",
        inputs={"premise": "Two dogs run on a beach.", "hypothesis": "Animals are outdoors."},
        labels=("entailment",),
    )
    passage = "Barley is a grain. It is brewed into beer."
    yes_no = Question(
        id="3", question="is beer made from barley", context=passage, choices=("no", "yes"), answers=("yes",)
    )
    lettered = Question(
        id="4", question="Where does a bee sleep?", choices=("a hive", "a river", "the moon"), answers=("a hive",)
    )
    other = Question(id="x", question="What is hot?", choices=("ice", "fire"), answers=("fire",))
    free = Question(id="5", question="What is barley brewed into?", context=passage, answers=("beer",))
    pair = Pair(id="6", source="Good morning.", targets=("Guten Morgen.",), source_language="en", target_language="de")
    plain = Plain(id="7", text="The tide comes in twice a day and leaves shells on the sand.")
    said = (Message("user", "Name a warm color."), Message("assistant", "Red."))
    conversation = Conversation(
        id="8", messages=(*said, Message("user", "And a cold one?"), Message("assistant", "Blue."))
    )
    preference = Preference(id="9", prompt=said[:1], chosen=said[1:], rejected=(Message("assistant", "Dog."),))
    rival = Labelled(inputs={"text": "Dull."}, labels=("negative",))
    against = Labelled(inputs={"premise": "A", "hypothesis": "B"}, labels=("not_entailment",))
    return [
        Sample("labelled text", review, infer_task([review, rival])),
        Sample("labelled pair of texts", premise, infer_task([premise, against])),
        Sample("question, the same choices for all", yes_no, infer_task([yes_no])),
        Sample("question, its own choices", lettered, infer_task([lettered, other])),
        Sample("question, free answer", free, infer_task([free])),
        Sample("source and target", pair, infer_task([pair])),
        Sample("plain text", plain, infer_task([plain])),
        Sample("conversation", conversation, infer_task([conversation])),
        Sample("preference", preference, infer_task([preference])),
    ]
