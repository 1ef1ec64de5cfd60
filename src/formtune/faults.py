"""The faults that data can have: a stable code for each, what was expected, and how to mend it.

A row is left out with a *reason*, a short phrase that all rows of one cause share; the table gives every reason its
code. A code never changes its meaning and is never used again. The tens say what the fault is about:

======  ============================================  ======  ============================================
FT10x   bytes and archives                            FT15x   tools (0 to 4), what is learned (5 to 9)
FT11x   JSON                                          FT16x   labels and answers
FT12x   tables                                        FT17x   questions, choices, pairs
FT13x   rows and keys                                 FT18x   splits and scoring
FT14x   messages and roles                            FT19x   formats, lengths, dialects to write
======  ============================================  ======  ============================================

A group that is full goes on two hundred higher, and then by hundreds (FT34x and FT44x are about messages too): FT2xx are the
codes of checks.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from formtune.layout_faults import LAYOUT_FAULTS


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        code: ``FT`` and three digits.
        reason: the phrase with which rows are left out; what differs from row to row is a name in braces.
        expected: what stands in data that have not got this fault.
        remedy: how to mend it; a full sentence.
    """

    code: str
    reason: str
    expected: str
    remedy: str


FAULTS: tuple[Fault, ...] = (
    # Bytes and archives.
    Fault(
        "FT101",
        "the end of the archive is missing",
        "an archive with its end, which holds its checksum; the rows before the break are kept, unchecked",
        "Copy or make the archive again.",
    ),
    Fault("FT102", "a zero byte", "text", "Remove the zero bytes; a file that was being written in a crash has them."),
    Fault(
        "FT103",
        "bytes that are not UTF-8",
        "text in UTF-8; a file with many such rows is in another encoding, and is refused until it is named",
        "Save the row as UTF-8; it was put in from a text in another encoding, or was damaged.",
    ),
    # JSON.
    Fault("FT111", "not valid JSON", "one JSON value in a line", "Correct the line at the column that is told."),
    Fault(
        "FT112",
        "neither a JSON object nor a text",
        "an object, or a string, as a row",
        "Put the value under a key, or take it out.",
    ),
    Fault(
        "FT113",
        "NaN or Infinity, which JSON has not",
        "a number, or null",
        "Write null (in pandas: to_json; in Python: allow_nan=False finds them).",
    ),
    Fault(
        "FT114",
        "half of a surrogate pair",
        "both halves of an escaped character, as in \\ud83d\\ude00",
        "Write the character itself, or take it out; a text was cut between its halves.",
    ),
    Fault(
        "FT115",
        "nested too deeply",
        "some hundreds of levels of lists and objects at the most",
        "Put the inner levels into a text.",
    ),
    Fault(
        "FT116",
        "a key that stands twice in one object",
        "each key once; the last value was kept, as most readers do, and the others are told here",
        "Remove or rename one of the two.",
    ),
    Fault(
        "FT118",
        "a number out of range",
        "a number up to about 1.8e308, of up to 4300 digits",
        "Write it as a text, or correct it.",
    ),
    # Tables.
    Fault(
        "FT121",
        "another number of fields than the header",
        "as many fields as columns",
        "Quote fields that hold the delimiter or a line break.",
    ),
    Fault(
        "FT122",
        "a quote or line break inside an unquoted field",
        "quotes around the whole field, and doubled inside it",
        "Quote the whole field, and double the quotes inside.",
    ),
    # Rows and keys.
    Fault(
        "FT131",
        "no text in column {name}",
        "a text, a number, or a list of texts",
        "Fill the field in, or name another column.",
    ),
    Fault(
        "FT132",
        "a text where an object was expected",
        "an object with the keys of the dialect",
        "Write rows of one kind into one file.",
    ),
    Fault("FT133", "no text", "a line that is not blank", "Fill the line in, or take it out."),
    Fault(
        "FT134",
        "an instance that is not an object",
        "'instances' as a list of objects with 'input' and 'output'",
        "Write each instance as an object.",
    ),
    Fault(
        "FT135",
        "an empty line on the source's side",
        "a text in every line of both files",
        "Take the line out of both.",
    ),
    Fault(
        "FT136",
        "an empty line on the target's side",
        "a text in every line of both files",
        "Take the line out of both.",
    ),
    # Messages and roles.
    Fault(
        "FT140",
        "no messages",
        "a list of messages with at least one",
        "Put them under the key that is told in the place, or take the row out.",
    ),
    Fault(
        "FT141",
        "a message with an unknown role",
        "system, developer, user, assistant, tool or function; or the layout's names for them, as human and gpt",
        "Write one of the known roles; the nearest is told.",
    ),
    Fault("FT142", "a message that is not an object", "an object with 'role' and 'content'", "Write it as an object."),
    Fault(
        "FT143",
        "a message with content that is neither text nor parts of a type",
        "a text, null, or a list of objects with 'type'",
        "Write the content as a text.",
    ),
    Fault(
        "FT144",
        "a prompt or completion that is neither a text nor messages",
        "a text, or a list of objects with 'role' and 'content'",
        "Write it in one of the two ways.",
    ),
    Fault("FT145", "no prompt", "a prompt that is not empty", "Fill the prompt in, or take the row out."),
    Fault(
        "FT146",
        "a history that is not a list of pairs of texts",
        "'history' as [[asked, answered], ...]",
        "Write each earlier turn as two texts.",
    ),
    # Tools, and what is learned.
    Fault("FT151", "{what} that are not JSON", "a list, or its JSON text", "Correct the JSON text at the place told."),
    Fault(
        "FT155",
        "a message weight that is not a number",
        "a number, true or false",
        "Write 0 for what is not learned and 1 for what is.",
    ),
    Fault("FT156", "a message with two weights", "one weight for a message", "Keep one of the keys that are told."),
    Fault(
        "FT157",
        "stretches of text that are not in the content, in order and apart",
        "'train_detail' with offsets inside the content, ascending",
        "Correct the offsets; the end of a stretch is its last character.",
    ),
    Fault(
        "FT158",
        "a stretch of text without its two offsets and 'train'",
        "'begin_offset', 'end_offset' and 'train' (true or false)",
        "Give the stretch all three.",
    ),
    # Labels and answers.
    Fault("FT161", "a label that is not a text or a number", "a text, a number or a list of them", "Write its name."),
    Fault("FT162", "answers that are not a list", "'answers' as a list of objects", "Write them as a list."),
    Fault("FT163", "an answer that is not a text", "a text", "Write the answer as a text."),
    Fault("FT164", "an empty answer", "an answer that is not blank", "Fill it in, or mark the question impossible."),
    Fault(
        "FT165",
        "an answer_start that is not a whole number",
        "the offset of the answer's first character",
        "Give the offset, counted from 0.",
    ),
    Fault(
        "FT166",
        "answers without texts and starts",
        "'answers' as an object with 'text' and 'answer_start'",
        "Write them so.",
    ),
    Fault("FT167", "not as many starts as answers", "one start for each text", "Make the two lists equally long."),
    Fault(
        "FT168",
        "a line that does not begin with a label",
        "a label, white space, the text",
        "Put the label in front, or name another dialect.",
    ),
    Fault(
        "FT169",
        "an answer that is none of the choices",
        "a choice's label, its text, or its place counted from 0",
        "Correct the answer or the choices.",
    ),
    # Questions, choices, pairs.
    Fault(
        "FT171",
        "a paragraph or article without questions",
        "'paragraphs' or 'qas' as a list of objects",
        "Add the questions, or take it out.",
    ),
    Fault("FT172", "a question without a context", "a paragraph around the question", "Give 'context' a text."),
    Fault("FT173", "no question", "a question that is not blank", "Fill it in, or take it out."),
    Fault("FT174", "no question or no context", "both, and neither blank", "Fill them in, or take the row out."),
    Fault("FT175", "fewer than two choices, or an empty one", "two choices or more, none blank", "Fill them in."),
    Fault("FT176", "a choice that is not a text", "a text or a number", "Write the choice as a text."),
    Fault("FT178", "no source", "a source that is not blank", "Fill it in, or take the row out."),
    Fault(
        "FT179",
        "a translation that has not two languages",
        "'translation' with one text for each of two languages",
        "Give it both, or take the row out.",
    ),
    # Splits and scoring.
    Fault("FT181", "no answer", "an answer to learn", "Give the record its answer; without one it can be predicted."),
    Fault(
        "FT182",
        "its {what} also stands in {part}",
        "no text, and no group, in two of train, dev and test",
        "Nothing is to be done: left in, it would be learned and tested on.",
    ),
    Fault(
        "FT183",
        "not drawn: fewer records are asked for",
        "",
        "Nothing is to be done; ask for more with --n-train, --n-dev and --n-test.",
    ),
    Fault("FT184", "no answer to score against", "an answer in what is evaluated", "Give the record its answer."),
    # Formats, lengths, dialects to write.
    Fault(
        "FT190",
        "{sentence}.",
        "what the sentence says: a format, a chat template or a tokenizer cannot take the record",
        "Do as the sentence says, or choose another format.",
    ),
    Fault(
        "FT191",
        "longer than the model, even without content that may be cut",
        "an answer and a scaffold that fit into the model's tokens",
        "Raise model.max_length, or take the record out.",
    ),
    Fault(
        "FT192",
        "the model has no room for an answer behind it, even without content that may be cut",
        "room for the answer behind what is asked",
        "Lower comparison.max_new_tokens, or raise model.max_length.",
    ),
    Fault("FT193", "nothing in it is learned", "a token with a loss weight above 0", "Raise a weight, or take it out."),
    Fault(
        "FT195",
        "cannot be written as {dialect}",
        "a record that the dialect has a place for",
        "Write it in another dialect, or to another kind of file.",
    ),
    *(Fault(*line) for line in LAYOUT_FAULTS),
)


@lru_cache(maxsize=1024)
def fault_of(reason: str) -> Fault | None:
    """Find the fault that a reason tells of; None where the table has no line for it.

    >>> fault_of("no text in column 'title'").code
    'FT131'
    """
    return next((fault for pattern, fault in _patterns() if pattern.fullmatch(reason)), None)


def shape_of(reason: str) -> str:
    """Give a reason without the names of what differs from row to row, so that two ways of naming them are one.

    >>> shape_of("its {what} also stands in {part}")
    'its {} also stands in {}'
    """
    return re.sub(r"\{[^{}]*\}", "{}", reason)


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], Fault]]:
    """Compile the reasons, those that say most first: a sentence of a format is what nothing else is."""
    ordered = sorted(FAULTS, key=lambda fault: -len(shape_of(fault.reason)))
    return [
        (re.compile(re.escape(shape_of(fault.reason)).replace(r"\{\}", ".+"), re.DOTALL), fault) for fault in ordered
    ]
