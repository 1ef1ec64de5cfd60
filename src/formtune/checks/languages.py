"""Records in another script or language than nearly all others.

The script is that of most letters. Of Latin script English, German, French, Spanish, Italian, Portuguese and Dutch are
told apart by thirty small words each, where at least three different ones stand in the text and one language has
clearly more than the next. Short texts, other languages in Latin script, languages that share a script (Russian and
Ukrainian, Chinese in two forms), and a text in two languages are not told apart.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, finding, place_of, shortened
from formtune.records import Record, input_text

MIXED = Rule(
    "FT265",
    "note",
    "A few records are in another language than nearly all others.",
    "Keep them where they are meant to be there; else remove or translate them.",
)
RULES = (MIXED,)
SCRIPTS: Mapping[str, str] = {
    "Latin": "A-Za-z\u00c0-\u024f",
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Tamil": "\u0b80-\u0bff",
    "Thai": "\u0e00-\u0e7f",
    "Korean": "\u1100-\u11ff\uac00-\ud7af",
    "Japanese": "\u3040-\u30ff",
    "Chinese": "\u3400-\u9fff",
}
_SMALL_WORDS: Mapping[str, str] = {
    "English": "the and of to is in that it for was with on are this be by not from have you he they his which or but what i do we if my can"
    " will your there all how would has",
    "German": "der die das und ist nicht ein eine zu den von mit sich des auf dem für im auch es wird sind dass wie bei nach oder aus ich",
    "French": "le la les des est et une dans pour que qui sur pas plus par avec ce il elle sont aux du au nous vous cette mais ou être",
    "Spanish": "el los las del y que una por con para es su se lo como más pero sus este ha fue son entre cuando muy sin sobre también esta",
    "Italian": "il di che è la per un una non con sono del della si da le dei nel alla anche più ma gli questo ha dal delle essere tra",
    "Portuguese": "os que da em um uma para com não é por mais dos das se na ao foi como mas seu sua são também pelo pela isso você muito",
    "Dutch": "de het een van en dat niet op te zijn met voor die er aan ook als bij maar om door naar wordt dan nog uit hij wat over",
}
LEAST_LETTERS = 20
NEARLY_ALL, FEW = 0.9, 0.05
_SMALL = {name: frozenset(words.split()) for name, words in _SMALL_WORDS.items()}
_LETTERS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Name the language of every text that is long enough, and report the rare ones."""
    spoken = [(record, language) for record in records if (language := language_of(input_text(record)))]
    if not spoken:
        raise NotChecked("no text is long enough to tell its language")
    counts = Counter(language for _, language in spoken)
    main, most = counts.most_common(1)[0]
    if most < NEARLY_ALL * len(spoken):
        return
    for language, n in counts.most_common():
        if language != main and n <= FEW * len(spoken):
            strange = [record for record, name in spoken if name == language]
            yield finding(
                MIXED,
                strange,
                f"{counted(n, 'record', 'is')} in {language}, and {most:,} of {len(spoken):,} are in {main}.",
                details=[f"{place_of(record)}: {shortened(input_text(record))!r}" for record in strange[:5]],
            )


def language_of(text: str) -> str | None:
    """Name the language, or the script, of a text; None where it cannot be told.

    >>> language_of("The end of the film is not what it seems to be."), language_of("这部电影的结局出人意料，演员的表演也非常出色，值得一看。")
    ('English', 'Chinese')
    """
    head = text[:2000]
    letters = {name: len(pattern.findall(head)) for name, pattern in _LETTERS.items()}
    for name in ("Chinese", "Japanese", "Korean"):  # whose sentences say as much in half the characters
        letters[name] *= 2
    if sum(letters.values()) < LEAST_LETTERS:
        return None
    if letters["Japanese"] * 5 > letters["Chinese"] + letters["Japanese"] > letters["Latin"]:
        return "Japanese"
    script = max(letters, key=letters.__getitem__)
    if script != "Latin":
        return script
    words = set(re.findall(rf"[{SCRIPTS['Latin']}]+", head.lower()))
    hits = Counter({name: len(words & small) for name, small in _SMALL.items()})
    (best, n), (_, second) = hits.most_common(2)
    return best if n >= 3 and n >= 1.5 * second else None
