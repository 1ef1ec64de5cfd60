"""What the dialects of questions share: names of columns, and the paragraph as the group."""

import hashlib

QUESTIONS = ("question", "query", "problem", "question_text", "问题")
CONTEXTS = ("context", "passage", "paragraph", "support", "background", "article", "document", "上下文")
ANSWERS = ("answer", "answers", "solution", "response", "final_answer", "答案")


def context_group(context: str | None) -> str | None:
    """Name the group of all questions over one paragraph, so that no split parts them: a digest of the paragraph."""
    return None if context is None else hashlib.sha256(context.encode()).hexdigest()[:16]
