"""A Jinja template with a learned part, rendered to pieces that know where they come from.

Jinja knows text of the template from values of the record only while it renders. So each value is put between marks
on its way out (Jinja's ``finalize``), the tags below put marks around what they hold, and the rendered text is cut
at the marks. A mark holds thirty random digits, drawn anew for each rendering: no text of a user can hold it.

Tags: ``{% learn %}...{% endlearn %}`` around what is learned, ``{% mask %}...{% endmask %}`` around a blank of an
encoder, ``{% head %}`` for a class head. As in Hugging Face's chat templates, the line break after a tag and the
blanks before a tag that begins its line are dropped.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.environment import Template
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from formtune.errors import SettingError

Tag = Literal["learn", "mask", "head"]
Origin = Literal["template", "value"]

NONCE = "the nonce"  # no name in a template can hold a blank, so no template can print it
N_DIGITS = 30
BEGIN, END = "\ue000", "\ue001"
# Digits, because filters that change letters (upper, title) must leave marks as they are.
OPEN = {"value": "0", "learn": "1", "mask": "2", "head": "3"}
CLOSE = {"value": "4", "learn": "5", "mask": "6", "head": "7"}
OPENED = {code: name for name, code in OPEN.items()}
CLOSED = {code: name for name, code in CLOSE.items()}
TAGS: dict[str, Tag] = {"learn": "learn", "mask": "mask", "head": "head"}

RANDOM_FILTERS = ("random",)
RANDOM_GLOBALS = ("lipsum",)


class Mark(str):
    """Text that goes out as it is, not as a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of rendered text.

    Attributes:
        text: the characters.
        origin: the template's own wording or a value of the record.
        tag: the tag it stands in, if any.
    """

    text: str
    origin: Origin
    tag: Tag | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Markup:
    """A compiled template.

    Attributes:
        name: how errors call it.
        tags: the tags it holds.
        fields: the fields it asks for, each with the first line it stands on.
        has_wording: True where its own text holds a letter.
        learned: the learned part as a template of its own, where it needs nothing but the answer and what is the
            same for all records, and nothing before it needs the answer; else None.
    """

    name: str
    tags: frozenset[str]
    fields: Mapping[str, int]
    has_wording: bool
    template: Template
    learned: "Markup | None" = None

    def render(self, fields: Mapping[str, object]) -> list[Piece]:
        """Fill in the fields of one record.

        Raises:
            SettingError: a field that does not exist was asked for, or the template does what cannot be done.
        """
        nonce = f"{secrets.randbelow(10**N_DIGITS):0{N_DIGITS}d}"
        try:
            text = self.template.render({**fields, NONCE: nonce})
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise self._failed(error) from error
        return list(self._cut(text, nonce))

    def _failed(self, error: Exception) -> SettingError:
        return SettingError(
            f"The template cannot be filled in: {str(error).rstrip('.')}.",
            "Use fields that every record has, or ask first with {% if ... is defined %}.",
            at=f"{self.name}:{_line(error)}",
        )

    def _cut(self, text: str, nonce: str) -> Iterator[Piece]:
        stack: list[str] = []
        before, *marked = text.split(BEGIN + nonce)
        yield from self._pieces(before, stack)
        for part in marked:
            code, end, after = part[:1], part[1:2], part[2:]
            if end != END or not self._step(code, stack):
                raise self._torn()
            yield from self._pieces(after, stack)
        if stack:
            raise self._torn()

    def _step(self, code: str, stack: list[str]) -> bool:
        if code not in OPENED:
            return bool(stack) and stack.pop() == CLOSED.get(code)
        name = OPENED[code]
        if name in TAGS and any(other in TAGS for other in stack):
            raise SettingError(
                f"{{% {name} %}} stands inside another learned part.", "Close the first one before it.", at=self.name
            )
        stack.append(name)
        return True

    def _pieces(self, text: str, stack: list[str]) -> Iterator[Piece]:
        if not stack and (BEGIN in text or END in text):
            raise self._torn()
        if text:
            tag = next((TAGS[name] for name in stack if name in TAGS), None)
            yield Piece(text, "value" if "value" in stack else "template", tag)

    def _torn(self) -> SettingError:
        return SettingError(
            "A filter over a whole block cut or changed what the template marks, so its parts cannot be told apart.",
            "Put the filter on the values inside the block: {{ text | truncate(200) }}.",
            at=self.name,
        )


def compile_markup(
    text: str, name: str, *, constant: Collection[str], answers: Collection[str] = frozenset()
) -> Markup:
    """Compile a template in Jinja's immutable sandbox.

    Args:
        text: the template.
        name: what errors call it, as in ``name:line``.
        constant: fields that are the same for every record; expressions over them alone are the template's wording.
        answers: fields that hold the answer.

    Raises:
        SettingError: the template is not valid, or wants another file.
    """
    environment = _environment()
    try:
        tree = environment.parse(text)
        _refuse_files(tree, name)
        tags = frozenset(_tags(tree))
        fields = _fields(tree, environment)
        if any(BEGIN in data.data or END in data.data for data in tree.find_all(nodes.TemplateData)):
            raise SettingError(
                f"The template holds one of the private characters {BEGIN!a} and {END!a}.",
                "Take it out.",
                at=name,
            )
        has_wording = any(any(map(str.isalpha, data.data)) for data in tree.find_all(nodes.TemplateData))
        _as_wording(tree, constant)
        template = environment.from_string(tree)
        alone = _learned_alone(tree, environment, constant=constant, answers=answers)
    except TemplateSyntaxError as error:
        raise SettingError(
            f"The template is not valid: {str(error.message).rstrip('.')}.",
            "Correct it; {{ ... }} holds a field, {% ... %} a tag.",
            at=f"{name}:{error.lineno}",
        ) from error
    markup = Markup(name=name, tags=tags, fields=fields, has_wording=has_wording, template=template)
    return markup if alone is None else replace(markup, learned=replace(markup, template=alone))


def _learned_alone(
    tree: nodes.Template,
    environment: ImmutableSandboxedEnvironment,
    *,
    constant: Collection[str],
    answers: Collection[str],
) -> Template | None:
    scopes = list(tree.find_all(nodes.Scope))
    if len(scopes) != 1 or any(tree.find_all((nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.CallBlock))):
        return None
    alone = nodes.Template(scopes, lineno=1)
    alone.set_environment(environment)
    wanted = find_undeclared_variables(alone)
    inside = Counter(node.name for node in scopes[0].find_all(nodes.Name))
    everywhere = Counter(node.name for node in tree.find_all(nodes.Name))
    if wanted - {*answers, *constant} or any(everywhere[name] > inside[name] for name in answers):
        return None
    return environment.from_string(alone)


class Tags(Extension):
    """Adds the tags ``learn``, ``mask`` and ``head`` to Jinja."""

    tags = {"learn", "mask", "head"}  # noqa: RUF012 - Jinja's own way to declare it

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Put marks around what a tag holds."""
        token = next(parser.stream)
        opening, closing = (self._marking(codes[token.value], token) for codes in (OPEN, CLOSE))
        if token.value == "head":
            return [opening, closing]
        body = parser.parse_statements((f"name:end{token.value}",), drop_needle=True)
        return nodes.Scope([opening, *body, closing], lineno=token.lineno)

    def _marking(self, code: str, token: Any) -> nodes.Node:
        call = self.call_method("mark", [nodes.ContextReference(), nodes.Const(code)], lineno=token.lineno)
        return nodes.Output([call], lineno=token.lineno)

    def mark(self, context: Context, code: str) -> Mark:
        """Make the mark with this code for the rendering that the context belongs to."""
        return _mark(context, code)

    def wording(self, value: object) -> Mark:
        """Let a value that is the same for all records go out as the template's own wording."""
        return Mark(str(value))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, extensions=[Tags], finalize=_between_marks, trim_blocks=True, lstrip_blocks=True
    )
    # The same record must look the same whenever it is presented.
    for name in RANDOM_FILTERS:
        del environment.filters[name]
    for name in RANDOM_GLOBALS:
        del environment.globals[name]
    return environment


def _mark(context: Context, code: str) -> Mark:
    return Mark(f"{BEGIN}{context.resolve(NONCE)}{code}{END}")


@pass_context
def _between_marks(context: Context, value: object) -> str:
    if isinstance(value, Mark):
        return value
    if value is None:
        return ""
    return _mark(context, OPEN["value"]) + str(value) + _mark(context, CLOSE["value"])


def _refuse_files(tree: nodes.Template, name: str) -> None:
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise SettingError(
            "The template asks for another file, and a presentation is one file.",
            "Copy what it needs into the template.",
            at=f"{name}:{node.lineno}",
        )


def _tags(tree: nodes.Template) -> Iterator[str]:
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.ExtensionAttribute):
            code = call.args[1]
            if isinstance(code, nodes.Const) and code.value in OPENED:
                yield OPENED[code.value]


def _fields(tree: nodes.Template, environment: ImmutableSandboxedEnvironment) -> dict[str, int]:
    wanted = find_undeclared_variables(tree) - set(environment.globals)
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in wanted:
            lines.setdefault(node.name, node.lineno)
    return lines


def _as_wording(tree: nodes.Template, constant: Collection[str]) -> None:
    """Send expressions over constant fields alone past the marks."""
    changed = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    names = frozenset(constant) - changed
    for output in tree.find_all(nodes.Output):
        output.nodes = [_wording(child) if _is_constant(child, names) else child for child in output.nodes]


def _is_constant(node: nodes.Expr, constant: Collection[str]) -> bool:
    found = {node.name} if isinstance(node, nodes.Name) else {name.name for name in node.find_all(nodes.Name)}
    return bool(found) and found <= set(constant)


def _wording(node: nodes.Expr) -> nodes.Expr:
    attribute = nodes.ExtensionAttribute(Tags.identifier, "wording")
    return nodes.Call(attribute, [node], [], None, None, lineno=node.lineno)


def _line(error: BaseException) -> int:
    """Find the line of the template that an error comes from: Jinja's own frames carry template lines."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
