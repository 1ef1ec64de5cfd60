"""The sandbox of chat templates: what never ends or writes gigabytes ends soon, and what is written stays the same."""

import resource
import time
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from formtune import allowances, rendering
from formtune.allowances import Endless
from formtune.errors import DataError
from formtune.examples import Turn
from formtune.sandbox import environment, rendered
from formtune.templates import ChatTemplate

MESSAGES = [{"role": "user", "content": "Hi <b>\n"}, {"role": "assistant", "content": "Hello, you."}]


def run(source: str, **variables: Any) -> str:
    return rendered(environment().from_string(source), {"messages": MESSAGES, **variables})


GROWS = "{% set ns = namespace(x='ab' * 1000) %}{% for i in range(60) %}{% set ns.x = EXPRESSION %}{% endfor %}"
MANY = "{% set ns = namespace(l=['a' * 1000000] * 1000000) %}"
NESTED = "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
ENDLESS = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops with a condition": "{% for i in range(99999) if false %}{% endfor %}" * 100,
    "loops that write": "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a recursive loop": "{% for i in [[1, 2]] recursive %}{{ loop([[1, 2], [1, 2]]) }}{% endfor %}",
    "a text times a number": "{{ 'a' * 10000000000 }}",
    "a number times a text": "{{ 10000000000 * 'a' }}",
    "a list times a number": "{{ ([0] * 1000000000) | length }}",
    "a high power": "{{ 9 ** 999999999 }}",
    "doubling by +": GROWS.replace("EXPRESSION", "ns.x + ns.x"),
    "doubling by ~": GROWS.replace("EXPRESSION", "ns.x ~ ns.x"),
    "doubling by join": GROWS.replace("EXPRESSION", "[ns.x, ns.x] | join"),
    "doubling by the method join": GROWS.replace("EXPRESSION", "''.join([ns.x, ns.x])"),
    "doubling by replace": GROWS.replace("EXPRESSION", "ns.x | replace('a', 'aa')"),
    "doubling by the method replace": GROWS.replace("EXPRESSION", "ns.x.replace('a', 'aa')"),
    "doubling by format": GROWS.replace("EXPRESSION", "'%s%s' | format(ns.x, ns.x)"),
    "doubling by %": GROWS.replace("EXPRESSION", "'%s%s' % (ns.x, ns.x)"),
    "doubling by the method format": GROWS.replace("EXPRESSION", "'{0}{0}'.format(ns.x)"),
    "doubling by a set block": "{% set ns = namespace(x='ab' * 1000) %}{% for i in range(60) %}"
    "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "copies by slices": "{% set ns = namespace(l=[]) %}{% set x = 'a' * 100000000 %}"
    "{% for i in range(9999) %}{% set ns.l = ns.l + [x[1:]] %}{% endfor %}",
    "much output": "{% set x = 'a' * 1000000 %}{% for i in range(9999) %}{{ x }}{% endfor %}",
    "one long text many times": "{{ (['a' * 1000000] * 1000000) | join }}",
    "a wide text": "{{ 'a' | center(10000000000) }}",
    "a wide method": "{{ 'a'.ljust(10000000000) }}",
    "a wide number": "{{ 1 .to_bytes(10000000000, 'big') }}",
    "a wide field": "{{ '%10000000000d' % 1 }}",
    "a field whose width is given": "{{ '%*d' % (10000000000, 1) }}",
    "a wide field of a format": "{{ '{:10000000000}'.format(1) }}",
    "wide JSON": "{{ [[[1]]] | tojson(indent=10000000000) }}",
    "wide lines": "{{ 'a\n\n' | indent(10000000000, blank=true) }}",
    "a power of ten": "{{ 1.5 | round(1000000000, 'floor') }}",
    "a number times itself": GROWS.replace("'ab' * 1000", "9").replace("EXPRESSION", "ns.x * ns.x"),
    "a long text in a list, many times": MANY + "{{ ns.l }}",
    "the same as JSON": MANY + "{{ ns.l | tojson }}",
    "the same as text": MANY + "{{ ns.l | string | length }}",
    "the same by ~": MANY + "{{ ns.l ~ '' }}",
    "the same by %": MANY + "{{ '%s' % (ns.l,) }}",
    "the same by format": MANY + "{{ '{}'.format(ns.l) }}",
    "the same in a filter of text": MANY + "{{ ns.l | upper }}",
    "a list of the same list of the same list": NESTED + "{{ ns.l }}",
    "the same in JSON": NESTED + "{{ ns.l | tojson }}",
    "the same compared": NESTED + "{% set a = ns.l %}" + NESTED + "{{ a == ns.l }}",
    "the same looked for": NESTED + "{% set a = ns.l %}" + NESTED + "{{ a in [ns.l] }}",
    "the same in a test": NESTED + "{% set a = ns.l %}" + NESTED + "{{ a is eq(ns.l) }}",
    "the same sorted": NESTED + "{{ [ns.l, [ns.l]] | sort | length }}",
    "the same in objects": NESTED.replace("[ns.l, ns.l]", "dict(a=ns.l, b=ns.l)") + "{{ ns.l }}",
    "the same as a key": NESTED.replace("[1]", "(1,)").replace("[ns.l, ns.l]", "(ns.l, ns.l)") + "{{ {ns.l: 1} }}",
    "a value for all that have none": "{% set l = ['a' * 1000000] %}"
    "{{ range(99999) | map(attribute='x', default=l) | join | length }}",
    "deep and wide JSON": "{% set ns = namespace(l=[1] * 10000) %}{% for i in range(400) %}{% set ns.l = [ns.l] %}"
    "{% endfor %}{{ ns.l | tojson(indent=900) | length }}",
    "JSON with a long indent": "{{ [[1]] | tojson(indent='a' * 10000000) }}",
    "JSON with a long separator": "{{ ([1] * 10000) | tojson(separators=('a' * 1000000, ':')) }}",
    "a text in parts": "{{ ('ab ' * 8000000).split() | length }}",
    "a text in lines": "{{ ('a\n' * 8000000).splitlines() | length }}",
    "a text in characters": "{{ ('東' * 20000000) | list | length }}",
    "a text's characters sorted": "{{ ('ba' * 10000000) | sort | length }}",
    "a text's words": "{{ ('a ' * 8000000) | wordcount }}",
    "a text in escapes": "{{ ('<' * 20000000) | e | length }}",
    "a text that grows in capitals": "{{ ('ΐ' * 20000000).upper() | length }}",
    "a text for each letter": "{{ ('a' * 1000000).translate({97: 'b' * 1000000}) | length }}",
    "a word in lines": "{{ ('a' * 1000000) | wordwrap(1) | length }}",
    "long ends of lines": "{{ ('a ' * 10000) | wordwrap(1, wrapstring='b' * 1000000) | length }}",
    "bytes times a number": "{{ 'a'.encode() * 10000000000 }}",
    "doubling bytes": GROWS.replace("'ab' * 1000", "'ab'.encode()").replace("EXPRESSION", "ns.x + ns.x"),
    "doubling bytes by replace": GROWS.replace("'ab' * 1000", "'ab'.encode()").replace(
        "EXPRESSION", "ns.x.replace('a'.encode(), 'aa'.encode())"
    ),
    "many columns": "{{ [1] | batch(10000000000, 0) | list | length }}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_or_writes_gigabytes_ends_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of its own, at a small price in time and memory."""
    monkeypatch.setattr(allowances, "MOST_STEPS", 200_000)
    monkeypatch.setattr(allowances, "MOST_CHARACTERS", 1 << 25)
    before_kb, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises((Endless, RecursionError)):
        run(ENDLESS[name])
    assert time.monotonic() - begun < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 1 << 18  # 256 MiB


def test_a_rendering_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its steps are."""
    monkeypatch.setattr(allowances, "MOST_S", -1.0)
    with pytest.raises(Endless, match="runs for more than"):
        run("{% for i in range(1000) %}{% endfor %}")


def test_each_rendering_has_an_allowance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one used is not missing in the next."""
    monkeypatch.setattr(allowances, "MOST_STEPS", 3000)
    template = environment().from_string("{% for i in range(2000) %}{{ i if i < 2 }}{% endfor %}")
    assert [rendered(template, {}) for _ in range(5)] == ["01"] * 5


@pytest.mark.parametrize(
    "source", [ENDLESS["nested loops"], ENDLESS["a text times a number"], ENDLESS["doubling by +"]]
)
def test_a_chat_template_that_does_not_end_is_told_once(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not tried again with the conversation handed over in other ways."""
    monkeypatch.setattr(allowances, "MOST_STEPS", 200_000)
    chat = ChatTemplate(source, special_tokens={}, controls={})
    calls = '[{"function": {"name": "f", "arguments": {}}}]'
    with pytest.raises(DataError, match="which no template needs"):
        chat.segments((Turn("user", "Hi"), Turn("assistant", "", weight=1.0, tool_calls=calls, thinking="Hm.")))


def test_a_template_without_end_does_not_take_its_time_with_every_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three it is known; its other conversations are refused at once."""
    runs: list[int] = []
    monkeypatch.setattr(allowances, "MOST_STEPS", 1000)
    monkeypatch.setattr(rendering, "rendered", lambda *given: runs.append(1) or rendered(*given))
    chat = ChatTemplate(ENDLESS["nested loops"], special_tokens={}, controls={})
    for _ in range(10):
        with pytest.raises(DataError, match="which no template needs"):
            chat.render((Turn("user", "Hi"),))
    assert len(runs) == 3


def test_a_template_that_recurs_without_end_is_refused() -> None:
    """Python's own limit is told as the template's fault."""
    chat = ChatTemplate("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", special_tokens={}, controls={})
    with pytest.raises(DataError, match="refuses the conversation"):
        chat.render((Turn("user", "Hi"),))


@pytest.mark.parametrize("source", ["(" * 5000 + "1" + ")" * 5000, "{% for a in b %}" * 60 + "{% endfor %}" * 60])
def test_a_template_that_is_nested_too_deeply_is_refused(source: str) -> None:
    """By the parser or by Python."""
    with pytest.raises(DataError, match="nested too deeply"):
        ChatTemplate(source if "for" in source else "{{ " + source + " }}", special_tokens={}, controls={})


SAME = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m.role + ': ' + m.content }}{{ '' if loop.last else ', ' }}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ m.content | trim }}{% else %}none{% endfor %}",
    "{% for a, b in {'x': 1}.items() %}{{ a ~ b ~ [a, b] ~ none }}{% endfor %}",
    "{% for m in messages[::-1] %}{{ m.content[1:3] }}{{ loop.previtem.role if loop.previtem is defined }}{% endfor %}",
    "{% for m in nothing %}{{ m }}{% else %}empty{% endfor %}",
    "{% for k in [[1, [2, [3]]]] recursive %}{{ loop(k[1]) if k is iterable and k[1] is iterable else k }}{% endfor %}",
    "{% macro m(x, n=2) %}[{{ x * n }}]{% endmacro %}{{ m('ab') }}{{ m('c', n=3) }}",
    "{% set x %}a{{ messages | length }}{% endset %}{{ x | upper }}{% filter title %}all of it{% endfilter %}",
    "{{ '%s-%03d-%.2f' % ('a', 7, 1.5) }}{{ '%(k)s' % {'k': 'v'} }}{{ '%s' | format('x') }}{{ '{} {k}'.format(1, k=2) }}",
    "{{ 'Today: %s 2024, 100%% of 5000' % 'x' }}{{ 'at: {} 2024 {{5000}}'.format(1) }}{{ '%5.1f: 12345' | format(2.5) }}",
    "{{ 'a,b'.split(',') | join('-') }}{{ '+'.join(['a', 'b']) }}{{ messages | map(attribute='role') | join(' ') }}",
    "{{ 'a b' | replace('a', 'bb') }}{{ 'a b'.replace('a', 'bb') }}{{ 'x' | center(9) }}{{ '7'.zfill(3) }}",
    "{{ 'a\nb' | indent(4) }}{{ 2 ** 10 }}{{ 7 % 3 }}{{ [1] + [2] }}{{ (1, 2) + (3,) }}{{ 1 + 2.5 }}{{ [0] * 3 }}",
    "{{ 1 + 2 + 3 }}{{ 1 + 2.5 + 1 }}{{ ('<' | e) + '<' + 'b' }}{{ 'a' + ('b' + 'c') + 'd' }}{{ [1] + [2] + [3] }}",
    "{{ messages[0].role.upper() }}{{ messages[0].missing is defined }}{{ messages[0].items() | list }}{{ messages[0].role.title }}",
    "{{ [messages, messages] == [messages, messages] }}{{ messages[0] in messages }}{{ messages is eq(messages) }}",
    "{% for m in messages %}{% if loop.last %}{{ m.content.split(',')[-1].strip() }}{{ 'x' ~ m.content.rsplit(' ', 1) }}{% endif %}{% endfor %}",
    "{{ {'a': [1, (2, none)]} }}{{ [true, 1.5, 'x'] ~ '' }}{{ 1.256 | round(2) }}{{ 'b a' | list }}{{ ['b', 'a'] | sort }}",
    "{{ 'one two three' | wordwrap(5) }}{{ '<b>' | e }}{{ 'a b' | wordcount }}{{ 'a b' | title }}{{ 'ß'.upper() }}",
    "{{ range(3) | list }}{{ 'abc' | list }}{{ 'abc'[-1] }}{{ ns.x if ns is defined else '?' }}",
    "{% for row in [1, 2, 3] | batch(2, 0) %}{{ row }}{% endfor %}{{ [1, 2, 3] | sum }}{{ {'b': 1, 'a': 2} | dictsort }}",
]


@pytest.mark.parametrize("source", SAME)
def test_what_is_written_is_what_jinja_writes(source: str) -> None:
    """The account changes nothing."""
    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    assert run(source) == plain.from_string(source).render(messages=MESSAGES)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ messages + 1 }}", TypeError),
        ("{% for i in 3 %}{% endfor %}", TypeError),
        ("{{ x.y.z }}", jinja2.UndefinedError),
        ("{{ 'a' + 1 + 'b' }}", TypeError),
        ("{{ messages[0].missing + 'a' }}", jinja2.UndefinedError),
        ("{{ messages[0].update({}) }}", jinja2.exceptions.SecurityError),
        ("{{ messages[0].__class__.__mro__ }}", jinja2.exceptions.SecurityError),
        ("{{ ''.format.__globals__.x }}", jinja2.exceptions.SecurityError),
    ],
)
def test_what_fails_in_jinja_fails_the_same(source: str, error: type[Exception]) -> None:
    """With its own error."""
    with pytest.raises(error):
        run(source)


def test_a_template_may_handle_a_long_conversation() -> None:
    """Ten thousand messages of a thousand characters, and loops over loops that real templates have."""
    turns = [{"role": ("user", "assistant")[n % 2], "content": "word " * 200} for n in range(10_000)]
    source = "{% for m in messages %}{{ '<s>' + m.role + '\n' + m.content | trim + '</s>' }}{% endfor %}"
    assert len(run(source, messages=turns)) > 10_000_000
    quadratic = "{% for m in messages %}{% for n in messages[loop.index:] %}{% endfor %}{{ m.role }}{% endfor %}"
    assert run(quadratic, messages=turns[:2000]).startswith("userassistant")


def test_many_turns_are_counted_like_few() -> None:
    """At once or one by one, steps are what they are."""
    allowed = allowances.Allowance()
    for n_steps in (1, 63, 64, 1, 127):
        allowed.step(n_steps)
    assert allowed.steps == allowances.MOST_STEPS - 256
