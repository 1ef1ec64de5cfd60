"""The demo's data: what is kept of the files inside the wheels."""

import bz2
import json

from formtune.demonstration import QUESTIONS, REVIEWS


def test_both_answers_of_the_questions_are_kept_and_rows_without_one_are_not() -> None:
    """The source holds truth values, and rows that have none."""
    rows = [{"question": q, "passage": "p", "idx": "1", "label": label} for q, label in (("a", True), ("b", False))]
    rows.append({"question": "c", "passage": "p", "idx": "2"})
    member = "\n".join(json.dumps(row) for row in rows).encode()

    kept = [json.loads(line) for line in QUESTIONS.extract(member).splitlines()]

    assert [(row["question"], row["answer"]) for row in kept] == [("a", True), ("b", False)]


def test_plot_summaries_are_no_reviews() -> None:
    """They have no judgement to learn."""
    text = 'category,text,movie_name,x\nplot,A man.,m,True\nfresh,"Good, warm.",m,True\nrotten,Bad.,n,False\n'

    assert REVIEWS.extract(bz2.compress(text.encode())) == 'text,label,film\n"Good, warm.",fresh,m\nBad.,rotten,n\n'
