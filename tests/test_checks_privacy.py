"""Personal data and secrets: what is recognized, what is not, and what is left of the data when they are taken out."""

import json
import random
from pathlib import Path

import pytest

from formtune.checks import CHECKS, Context
from formtune.checks.recognizers import PERSONAL, SECRETS, hits_in
from formtune.checks.redaction import Redactor
from formtune.cli import run
from formtune.dialects import read
from formtune.records import (
    Conversation,
    Labelled,
    Message,
    Origin,
    Pair,
    Plain,
    Preference,
    Question,
    Record,
    Span,
    identified,
)


def kinds(text: str) -> list[str]:
    return [hit.kind for hit in hits_in(text, (*SECRETS, *PERSONAL))]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe+list@mail.uni-bonn.de.", "EMAIL"),
        ("-ann@mail.org", "EMAIL"),
        ("call +44 20 7946 0958 now", "PHONE"),
        ("call (212) 555-0187", "PHONE"),
        ("call 212-555-0187", "PHONE"),
        ("电话13812345678。", "PHONE"),
        ("call 09061701461 from land line", "PHONE"),
        ("IBAN DE89 3704 0044 0532 0130 00, thanks", "IBAN"),
        ("card 4111-1111-1111-1111", "CARD"),
        ("card 378282246310005", "CARD"),
        ("身份证11010519491231002X", "RESIDENT_ID"),
        ("from 8.8.4.4", "IP_ADDRESS"),
        ("from 2606:4700:4700::1111", "IP_ADDRESS"),
        ("ssn 219-09-9999", "SSN"),
        ("key AKIA" + "ABCDEFGHIJKLMNOP", "API_KEY"),
        ("ghp_" + "a1B2" * 9, "API_KEY"),
        ("sk-proj-" + "a1B2_" * 8, "API_KEY"),
        ("hf_" + "aBcDeFgHiJ" * 3 + "aBcD", "API_KEY"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "PRIVATE_KEY"),
        ("password = 'q7Rk2mX9vT4bL8wZ1nC5'", "SECRET"),
    ],
)
def test_what_is_recognized(text: str, kind: str) -> None:
    """Each alone in its text, and nothing else in it."""
    assert kinds(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com", "a @ b", "x@y", "version 1.2.3", "from 192.168.0.1 and 127.0.0.1", "999.1.1.1",
        "4111 1111 1111 1112", "1234567890123456", "DE88 3704 0044 0532 0130 00", "11010519491331002X",
        "2004-2005", "ISBN 978-3-16-148410-0", "2019-03-14 12:30:59", "000-12-3456", "password: correct_horse_battery",
        "0.123456789012", "he has 1,000,000,000 of them", "sk-learn", "pi is 3.14159265358979", "std::vector::at",
    ],
)  # fmt: skip
def test_what_only_looks_alike(text: str) -> None:
    """Wrong checksums, reserved addresses, numbers of other kinds."""
    assert kinds(text) == []


def test_planted_numbers_with_checksums_are_all_found() -> None:
    """A thousand cards and bank accounts, each made valid by its own rule, and none with a digit changed... but by chance."""
    draw = random.Random(0)
    cards, ibans = [], []
    for _ in range(1000):
        body = "4" + "".join(draw.choices("0123456789", k=14))
        total = sum((int(d) * (2 - n % 2) - 9 * (int(d) * (2 - n % 2) > 9)) for n, d in enumerate(reversed(body)))
        cards.append(body + str(-total % 10))
        account = "".join(draw.choices("0123456789", k=18))
        ibans.append(f"DE{98 - int(account + '131400') % 97:02}{account}")
    assert all(kinds(f"pay {card} now") == ["CARD"] for card in cards)
    assert all(kinds(f"pay {iban} now") == ["IBAN"] for iban in ibans)
    wrong = [card[:-1] + str((int(card[-1]) + 1) % 10) for card in cards]
    assert not any(kinds(f"pay {card} now") for card in wrong)


def test_findings_name_lines_and_hide_values() -> None:
    """A report must not carry what it warns of."""
    records = identified(
        [
            Labelled(origin=Origin("a", 1), inputs={"text": "jane.doe@mail.org and joe@mail.org"}, labels=("x",)),
            Conversation(
                origin=Origin("a", 2),
                messages=(Message("user", "hi"), Message("assistant", "", tool_calls='[{"to":"ann@mail.org"}]')),
            ),
            Plain(origin=Origin("a", 3), text="nobody", extra='{"by":"tom@mail.org"}'),
        ]
    )
    (one,) = CHECKS["personal-data"].find(records, Context(parts={"data": records}))
    assert one.problem == "3 records hold an e-mail address, 4 in all."
    assert one.places == ("a:1", "a:2", "a:3")
    assert one.details[0] == "a:1: ja…rg"


def test_what_json_says_is_looked_at_and_not_how_it_is_written() -> None:
    """A line break before a name makes no address, and letters may be written by their numbers."""
    records = identified(
        [Plain(text="x", extra='{"by":"\\n@tom.brown"}'), Plain(text="x", extra='{"by":"ann\\u0040mail.org"}')]
    )
    (one,) = CHECKS["personal-data"].find(records, Context(parts={"data": records}))
    assert one.details == (f"{records[1].id}: an…rg",)


def redacted(*records: Record) -> list[Record]:
    return Redactor().redacted(identified(records))


def test_one_value_has_one_placeholder() -> None:
    """All over the data, so that who speaks with whom stays."""
    a, b, c = redacted(
        Plain(text="ann@mail.org to joe@mail.org"), Plain(text="joe@mail.org to ann@mail.org"), Plain(text="nobody")
    )
    assert (a.text, b.text, c.text) == ("<EMAIL_1> to <EMAIL_2>", "<EMAIL_2> to <EMAIL_1>", "nobody")  # type: ignore[union-attr]


def test_answers_still_stand_in_their_passage() -> None:
    """Before, behind, over and inside what was taken out."""
    context = "Ann wrote to joe@mail.org on Monday, not to sam@mail.org, from Oslo."
    answers = ("Ann", "on Monday", "joe@mail.org", "sam", "Oslo", "wrote to joe")
    starts = tuple(context.index(answer) for answer in answers)
    (one,) = redacted(Question(question="Who?", context=context, answers=answers, starts=starts))
    assert isinstance(one, Question)
    assert one.context == "Ann wrote to <EMAIL_1> on Monday, not to <EMAIL_2>, from Oslo."
    assert one.answers == ("Ann", "on Monday", "<EMAIL_1>", "<EMAIL_2>", "Oslo", "wrote to <EMAIL_1>")
    for answer, start in zip(one.answers, one.starts, strict=True):
        assert one.context.startswith(answer, start)


def test_stretches_with_weights_move_with_their_text() -> None:
    """They cover the same words as before."""
    content = "Ask ann@mail.org, she knows."
    span = Span(content.index("she"), len(content) - 1, 1.0)
    (one,) = redacted(Conversation(messages=(Message("user", "who?"), Message("assistant", content, spans=(span,)))))
    assert isinstance(one, Conversation)
    message = one.messages[1]
    (moved,) = message.spans
    assert message.content[moved.start : moved.end] == "she knows"


def test_json_stays_json_and_untouched_json_stays_as_it_is() -> None:
    """A number that is a telephone's becomes a string."""
    untouched = '{"a": 1,  "b":[true,null]}'
    (one,) = redacted(
        Conversation(
            messages=(Message("assistant", "", tool_calls='[{"to": "ann@mail.org", "tel": 13812345678}]'),),
            tools=untouched,
            extra=untouched,
        )
    )
    assert isinstance(one, Conversation)
    assert json.loads(one.messages[0].tool_calls or "") == [{"to": "<EMAIL_1>", "tel": "<PHONE_1>"}]
    assert (one.tools, one.extra) == (untouched, untouched)


def test_numbers_beside_keep_all_their_digits() -> None:
    """Where JSON is written anew."""
    (one,) = redacted(Plain(text="x", extra='{"by":"ann@mail.org","share":0.1000000000000000055511151231257827}'))
    assert one.extra == '{"by":"<EMAIL_1>","share":0.1000000000000000055511151231257827}'


def test_every_kind_of_record_is_redacted() -> None:
    """Labels stay, ids are those of what is said now."""
    mail = "ann@mail.org"
    turn = (Message("user", mail, name=mail, thinking=mail),)
    records = redacted(
        Labelled(inputs={"text": mail}, labels=("spam",)),
        Pair(source=mail, targets=(mail, "b")),
        Preference(prompt=turn, chosen=turn, rejected=turn),
        Question(question=mail, choices=(mail, "b"), answers=(mail,)),
        Plain(text="x", group=mail, id=f"by {mail}"),
    )
    assert all(mail not in str(record) for record in records)
    assert records[0].labels == ("spam",)  # type: ignore[union-attr]
    assert records[4].id == "by <EMAIL_1>"
    assert records == identified(records)


def test_the_command_writes_data_that_have_nothing_left_to_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the dialect that they came in."""
    path, out = tmp_path / "a.csv", tmp_path / "b.jsonl"
    path.write_text("text,label\nask ann@mail.org or 212-555-0187,x\nask nobody,y\n")
    assert run(["check", str(path), "--redact", str(out), "--json", "--only", "personal-data"]) == 0
    assert json.loads(capsys.readouterr().out)["redacted"] == {
        "out": str(out),
        "replaced": {"EMAIL": 1, "PHONE": 1},
        "left_out": [],
    }
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"text": "ask <EMAIL_1> or <PHONE_1>", "label": "x"},
        {"text": "ask nobody", "label": "y"},
    ]
    assert run(["check", str(out), "--only", "personal-data", "--fail-on", "note", "--quiet"]) == 0


def test_the_command_says_what_it_replaced_or_that_it_replaced_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In lines of their own, without empty values."""
    path, out = tmp_path / "a.csv", tmp_path / "b.csv"
    for text, replaced in (("ask ann@mail.org", "EMAIL 1"), ("ask nobody", "nothing")):
        path.write_text(f"text,label\n{text},x\nask her,y\n")
        assert run(["check", str(path), "--redact", str(out), "--only", "personal-data"]) == 0
        told = [line.split(maxsplit=1) for line in capsys.readouterr().out.rstrip().splitlines()[-2:]]
        assert [what for what, _ in told] == ["redacted", "replaced"]
        assert told[0][1].split() == ["data", str(out)]
        assert told[1][1].strip() == replaced


def test_files_that_are_split_are_redacted_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where they would go is not clear otherwise."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,x\nb,y\n")
    assert run(["check", "--train", str(path), "--test", str(path), "--redact", "x.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("--redact: One file at a time is written.")


def test_real_passages_keep_their_answers(shared: Path) -> None:
    """XQuAD with an address put into every passage."""
    records = read([str(shared / "qa" / "xquad" / "en.test.json")]).records
    marked = []
    for record in records:
        assert isinstance(record, Question)
        head = "By ann@mail.org: "
        starts = tuple(start + len(head) for start in record.starts)
        marked.append(
            Question(
                question=record.question, context=head + (record.context or ""), answers=record.answers, starts=starts
            )
        )
    for one, record in zip(redacted(*marked), records, strict=True):
        assert isinstance(one, Question)
        assert one.context is not None
        assert one.context.startswith("By <EMAIL_1>: ")
        assert all(one.context.startswith(a, s) for a, s in zip(one.answers, one.starts, strict=True))
        assert len(one.answers) == len(record.answers)  # type: ignore[union-attr]


def test_real_spam_names_telephones_and_real_questions_do_not(shared: Path) -> None:
    """Precision on encyclopedic text, which is full of years and numbers."""
    spam = read([str(shared / "cls_en" / "sms_spam" / "train.tsv")]).records
    found = list(CHECKS["personal-data"].find(spam, Context(parts={"data": spam})))
    assert len(next(one for one in found if one.rule.code == "FT242").places) > 200
    for path in ("qa/xquad/en.train.json", "instruct/dolly_3k_messages/train.jsonl", "text/wikitext2/test.txt"):
        clean = read([str(shared / path)]).records
        for name in ("personal-data", "credentials"):
            assert not list(CHECKS[name].find(clean, Context(parts={"data": clean}))), path
