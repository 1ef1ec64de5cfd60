"""Answers that refuse, or that are the boilerplate of another assistant.

Finds answers with one of the phrases that are listed in :data:`REFUSALS` and :data:`BOILERPLATE`, English and Chinese,
wherever they stand in the first 300 characters of an answer. A refusal may be right: the question decides, and the
check does not read it. Other wordings, and other languages, are not found.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found, place_of, shortened
from formtune.records import Conversation, Pair, Preference, Question, Record, answer_text

REFUSAL = Rule(
    "FT226",
    "note",
    "An answer refuses.",
    "Keep it where a refusal is what you want to be learned; else answer, or remove the record.",
)
SELF = Rule(
    "FT227",
    "warning",
    "An answer speaks of being an AI, or names another maker's assistant.",
    "Rewrite or remove it; the model will say the same of itself.",
)
RULES = (REFUSAL, SELF)
REFUSALS = (
    r"i(?:'m| am) sorry,? (?:but )?(?:i )?(?:can(?:'t|not)|am (?:unable|not able)|won't)",
    r"i (?:can(?:'t|not)|am unable to|am not able to|won't) (?:help|assist|comply|fulfil|provide|answer|do that|create|support)",
    r"i must (?:respectfully )?decline",
    r"it (?:is|would be) (?:not appropriate|inappropriate|unethical) (?:for me )?to",
    r"(?:抱歉|对不起)[,，]?\s*(?:但)?我(?:无法|不能|没有办法)",
    r"我(?:无法|不能)(?:回答|提供|协助|帮助|满足|完成)",
    r"作为.{0,12}(?:模型|人工智能|AI|助手)[,，]?\s*我(?:无法|不能)",
)
BOILERPLATE = (
    r"as an? (?:ai|artificial intelligence|large language model|language model)\b",
    r"i(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|large language model|language model)\b",
    r"(?:developed|created|trained|made) by (?:openai|anthropic|google|deepseek|alibaba|meta ai|mistral ai)",
    r"my (?:knowledge cut-?off|training data (?:ends|only goes|goes up))",
    r"作为(?:一个|一名|一款)?(?:大型)?(?:人工智能|AI|语言模型)",
    r"我是(?:一个|一名|由.{1,12}(?:开发|训练)的)?(?:大型)?(?:人工智能|AI|语言模型)",
    r"我的(?:知识|训练数据)(?:截止|截至)",
)
BEGINNING = 300  # characters; what stands later is about the subject
N_DETAILS = 10
_PHRASES: Mapping[str, re.Pattern[str]] = {
    rule.code: re.compile("|".join(phrases), re.IGNORECASE)
    for rule, phrases in ((REFUSAL, REFUSALS), (SELF, BOILERPLATE))
}


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Read the beginning of every written answer."""
    written = [r for r in records if isinstance(r, Question | Pair | Conversation | Preference)]
    if not written:
        raise NotChecked("no record has a written answer")
    for rule in RULES:
        hits = [(record, hit) for record in written if (hit := _phrase(record, _PHRASES[rule.code]))]
        common = Counter(hit.lower() for _, hit in hits).most_common(3)
        often = ", ".join(f"{shortened(phrase)!r} ({n})" for phrase, n in common)
        verb = "refuses" if rule is REFUSAL else "speaks"
        what = "" if rule is REFUSAL else " of being an AI, or of its maker"
        yield from found(
            rule,
            [record for record, _ in hits],
            f"{counted(len(hits), 'answer', verb)}{what}: {often}.",
            details=[f"{place_of(record)}: {shortened(hit)!r}" for record, hit in hits[:N_DETAILS]],
        )


def _phrase(record: Record, pattern: re.Pattern[str]) -> str | None:
    """Give the first phrase in what a record has as answers, turn by turn."""
    turns = (
        [m.content for m in record.messages if m.role == "assistant"]
        if isinstance(record, Conversation)
        else [answer_text(record)]
    )
    # Typographic apostrophes are apostrophes.
    matches = (pattern.search(turn[:BEGINNING].replace("\u2019", "'")) for turn in turns)
    return next((match[0] for match in matches if match), None)
