"""Keys, tokens and passwords in the text of records.

Keys are known by the prefixes that their makers give them (AWS, GitHub, GitLab, OpenAI, Anthropic, Google, Slack,
Stripe, Hugging Face, npm, PyPI, SendGrid, JSON web tokens), private keys by their header, and others by standing
behind ``password=``, ``api_key:`` and the like with the mix of characters of a random string. Passwords that are
words, and keys without prefix or name, are not found; a made-up key in an example looks like a real one.
"""

from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule
from formtune.checks.personal_data import recognized
from formtune.checks.recognizers import SECRETS
from formtune.records import Record

_REMEDY = "Withdraw it where it was issued, then take it out (--redact OUT); a model can repeat it word for word."
API_KEY = Rule("FT251", "error", "A record holds an API key or token.", _REMEDY)
PRIVATE_KEY = Rule("FT252", "error", "A record holds a private key.", _REMEDY)
ASSIGNED = Rule("FT253", "warning", "A record holds what looks like a password or a secret.", _REMEDY)
RULES = (API_KEY, PRIVATE_KEY, ASSIGNED)


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Go through every text."""
    yield from recognized(records, SECRETS, {one.kind: rule for one, rule in zip(SECRETS, RULES, strict=True)})
