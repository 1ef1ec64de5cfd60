"""The default words of every format, in English and Chinese.

What a user does not say (an instruction, a question, a cloze) is taken from here. All formats of a comparison draw
on the same table, so that none is told more about the task than the others of its class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from formtune.examples import Task
from formtune.records import Pair


@dataclass(frozen=True, slots=True)
class Ask:
    """One task put in three ways: as an order, as a question, as a blank to fill."""

    instruction: str
    question: str
    blank: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the formats say in one language.

    Attributes:
        space: what stands between a colon and the word after it.
        colon: with the blank that belongs to it, before content.
        listing: between the items of a list.
        asks: the default ways to ask, by what is asked for (the keys are the same in every language).
        roles: how the speakers of a conversation are called in plain text.
        unanswerable: what is learned where the context holds no answer.
        if_unanswerable: added to the instruction where some records have no answer.
    """

    space: str
    colon: str
    listing: str
    asks: Mapping[str, Ask]
    roles: Mapping[str, str]
    classify: str
    question: str
    choices: str
    context: str
    answer: str
    label: str
    source: str
    target: str
    translate: str
    ask_translation: str
    response_intro: str
    headings: Mapping[str, str]
    blank: str
    fill_blank: str
    unanswerable: str
    if_unanswerable: str


ENGLISH = Wording(
    space=" ",
    colon=": ",
    listing=", ",
    asks={
        "sentiment": Ask("Judge the sentiment of the text.", "What is the sentiment of the text?", (" It was", ".")),
        "entailment": Ask(
            "Judge how the second text relates to the first.",
            "How does the second text relate to the first?",
            (" Relation:", "."),
        ),
        "category": Ask("Choose the label that fits the text.", "Which label fits the text?", (" Category:", ".")),
        "question": Ask("Answer the question.", "", ("\nAnswer:", ".")),
        "reading": Ask("Answer the question from the text.", "", ("\nAnswer:", ".")),
        "letters": Ask("Answer the question with the letter of the right choice.", "", ("\nAnswer:", ".")),
        "pair": Ask("Write the output that belongs to the input.", "Which output belongs to the input?", ("", "")),
        "plain": Ask("Continue the text.", "How does the text go on?", ("", "")),
        "conversation": Ask("", "", ("", "")),
        "preference": Ask("", "", ("", "")),
    },
    roles={"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"},
    classify="classify",
    question="Question",
    choices="Choices",
    context="Context",
    answer="Answer",
    label="Label",
    source="Input",
    target="Output",
    translate="Translate {source} to {target}.",
    ask_translation="How does the {source} text read in {target}?",
    response_intro="The instruction says what to do with the input. Write the response.\n\n",
    headings={
        "system": "### System:\n",
        "instruction": "### Instruction:\n",
        "input": "### Input:\n",
        "response": "### Response:\n",
    },
    blank="____",
    fill_blank="Missing words:",
    unanswerable="unanswerable",
    if_unanswerable=" If the text does not hold the answer, say 'unanswerable'.",
)

CHINESE = Wording(
    space="",
    colon="：",
    listing="、",
    asks={
        "sentiment": Ask("判断文本的情感倾向。", "这段文本的情感倾向是什么？", (" 情感倾向：", "。")),
        "entailment": Ask(
            "判断第二段文本与第一段文本的关系。", "第二段文本与第一段文本是什么关系？", (" 关系：", "。")
        ),
        "category": Ask("选择适合文本的标签。", "哪个标签适合这段文本？", (" 类别：", "。")),
        "question": Ask("回答问题。", "", ("\n答案：", "。")),
        "reading": Ask("根据文本回答问题。", "", ("\n答案：", "。")),
        "letters": Ask("用正确选项的字母回答问题。", "", ("\n答案：", "。")),
        "pair": Ask("根据输入写出对应的输出。", "与输入对应的输出是什么？", ("", "")),
        "plain": Ask("续写文本。", "这段文本接下来是什么？", ("", "")),
        "conversation": Ask("", "", ("", "")),
        "preference": Ask("", "", ("", "")),
    },
    roles={"system": "系统", "user": "用户", "assistant": "助手", "tool": "工具"},
    classify="分类",
    question="问题",
    choices="选项",
    context="文本",
    answer="答案",
    label="标签",
    source="输入",
    target="输出",
    translate="把{source}翻译成{target}。",
    ask_translation="这段{source}用{target}怎么说？",
    response_intro="指令说明如何处理输入。请写出回答。\n\n",
    headings={
        "system": "### 系统：\n",
        "instruction": "### 指令：\n",
        "input": "### 输入：\n",
        "response": "### 回答：\n",
    },
    blank="____",
    fill_blank="缺少的词：",
    unanswerable="无法回答",
    if_unanswerable="如果文本中没有答案，就说“无法回答”。",
)

WORDINGS: dict[str, Wording] = {"en": ENGLISH, "zh": CHINESE}

SENTIMENT_WORDS = frozenset(
    [
        "positive",
        "negative",
        "neutral",
        "mixed",
        "good",
        "bad",
        "great",
        "terrible",
        "fresh",
        "rotten",
        "favorable",
        "unfavorable",
        "正面",
        "负面",
        "中性",
        "积极",
        "消极",
        "好评",
        "差评",
        "中评",
        "好",
        "坏",
        "差",
        "正向",
        "负向",
    ]
) | {"very positive", "very negative"}
ENTAILMENT_WORDS = frozenset(
    {"entailment", "not entailment", "contradiction", "neutral", "entails", "contradicts", "蕴含", "矛盾", "中立"}
)

# ISO 639 code → its name in English and in Chinese
LANGUAGES: dict[str, tuple[str, str]] = {
    "ar": ("Arabic", "阿拉伯语"),
    "cs": ("Czech", "捷克语"),
    "da": ("Danish", "丹麦语"),
    "de": ("German", "德语"),
    "el": ("Greek", "希腊语"),
    "en": ("English", "英语"),
    "es": ("Spanish", "西班牙语"),
    "fi": ("Finnish", "芬兰语"),
    "fr": ("French", "法语"),
    "hi": ("Hindi", "印地语"),
    "hu": ("Hungarian", "匈牙利语"),
    "id": ("Indonesian", "印尼语"),
    "it": ("Italian", "意大利语"),
    "ja": ("Japanese", "日语"),
    "ko": ("Korean", "韩语"),
    "nl": ("Dutch", "荷兰语"),
    "no": ("Norwegian", "挪威语"),
    "pl": ("Polish", "波兰语"),
    "pt": ("Portuguese", "葡萄牙语"),
    "ro": ("Romanian", "罗马尼亚语"),
    "ru": ("Russian", "俄语"),
    "sv": ("Swedish", "瑞典语"),
    "th": ("Thai", "泰语"),
    "tr": ("Turkish", "土耳其语"),
    "uk": ("Ukrainian", "乌克兰语"),
    "vi": ("Vietnamese", "越南语"),
    "zh": ("Chinese", "中文"),
}

CHINESE_FIELDS: dict[str, str] = {
    "text": "文本",
    "title": "标题",
    "description": "描述",
    "premise": "前提",
    "hypothesis": "假设",
    "sentence1": "句子一",
    "sentence2": "句子二",
    "question": "问题",
    "passage": "文章",
    "context": "文本",
}


def wording(task: Task) -> Wording:
    """Give the words of the task's language; English where there are none of its own."""
    return WORDINGS.get(task.language, ENGLISH)


def ask_for(words: tuple[str, ...]) -> str:
    """Name what a set of label words asks for: ``sentiment``, ``entailment`` or just a ``category``.

    >>> ask_for(("negative", "positive")), ask_for(("entailment", "not entailment")), ask_for(("sports", "world"))
    ('sentiment', 'entailment', 'category')
    """
    lowered = {word.lower() for word in words}
    if lowered <= SENTIMENT_WORDS:
        return "sentiment"
    return "entailment" if lowered <= ENTAILMENT_WORDS else "category"


def blank(task: Task) -> tuple[str, str]:
    """Give the default cloze of a task: what stands before the blank and what stands after it."""
    asked = "question" if task.kind == "question" else ask_for(task.words)
    return wording(task).asks[asked].blank


def field_name(name: str, task: Task) -> str:
    """Show a field's name to the model: ``premise`` → ``Premise``, in Chinese ``前提`` where we know the word.

    >>> field_name("review_text", Task(kind="labelled"))
    'Review text'
    """
    if task.language == "zh" and name.lower() in CHINESE_FIELDS:
        return CHINESE_FIELDS[name.lower()]
    spaced = name.replace("_", " ").strip() or name
    return spaced[:1].upper() + spaced[1:]


def language_name(code: str, task: Task) -> str:
    """Name a language in the language of the wordings; a code we do not know stays as it is.

    >>> language_name("de", Task(kind="pair")), language_name("pt-BR", Task(kind="pair", language="zh"))
    ('German', '葡萄牙语')
    """
    known = LANGUAGES.get(code) or LANGUAGES.get(code.lower().replace("_", "-").split("-")[0])
    return known[task.language == "zh"] if known else code


def translation(record: Pair, task: Task, template: str) -> str:
    """Fill a sentence about translating with the record's two languages; empty where they are not both known."""
    if not record.source_language or not record.target_language:
        return ""
    return template.format(
        source=language_name(record.source_language, task), target=language_name(record.target_language, task)
    )


def pair_instruction(record: Pair, task: Task) -> str:
    """Say what is to be done with a source text: the task's instruction, else what its languages tell."""
    words = wording(task)
    return task.instruction or translation(record, task, words.translate) or words.asks["pair"].instruction


def pair_question(record: Pair, task: Task) -> str:
    """Say the same as a question."""
    words = wording(task)
    return task.question or translation(record, task, words.ask_translation) or words.asks["pair"].question
