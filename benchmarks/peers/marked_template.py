"""SmolLM2's chat template with what the assistant says marked as learned, which peers ask for."""

PLAIN = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
MARKED = (
    "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}"
)


def marked(template: str) -> str:
    """Mark it; the text stays the same.

    >>> marked("{% for message in messages %}" + PLAIN).count("generation")
    2
    """
    assert PLAIN in template
    return template.replace(PLAIN, MARKED)
