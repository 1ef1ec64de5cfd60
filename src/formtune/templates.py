"""A model's chat template: conversations to text, with what is learned and which tokens are control tokens."""

from collections.abc import Mapping

from tokenizers import AddedToken

DEFAULT_TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {{- message.content + '\\n\\n' }}
    {%- elif message.role == 'user' %}
        {{- 'User: ' + message.content + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- 'Assistant: ' + message.content }}{{ eos_token }}{{ '\\n' }}
    {%- else %}
        {{- raise_exception('The plain template has no place for the role ' + message.role + '.') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
"""


class ChatTemplate:
    """A Jinja chat template.

    Attributes:
        source: the template.
        is_default: True where the model brings none and formtune's plain one stands in.
        controls: the model's control tokens by their text.
        stop: text of the control token that ends an assistant's turn, or None.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str],
        controls: Mapping[str, AddedToken],
        is_default: bool = False,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.source, self.is_default, self.controls = source, is_default, controls
        self.special_tokens, self.options = special_tokens, options
        self.stop: str | None = None
