"""Calls of functions that do not agree with the functions that are declared.

Checked of each call: that its function is declared, that its arguments are a JSON object, that the required ones are
there and no undeclared ones, and that each has the type, and is among the values, that its schema names. Of JSON
Schema this is the part ``type``, ``required``, ``enum``, ``const``, ``properties``, ``items``, ``additionalProperties:
false``, ``anyOf`` and ``oneOf``; formats, patterns, bounds and references are not checked. Nor is whether the call was
the right one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found, place_of, shortened
from formtune.records import Conversation, Message, Record

UNKNOWN = Rule(
    "FT220",
    "error",
    "A call names a function that is not declared.",
    "Declare the function among the record's tools, or correct the name.",
)
MISSING = Rule("FT221", "error", "A call lacks an argument that is required.", "Add the argument.")
WRONG_TYPE = Rule(
    "FT222", "error", "An argument of a call has a wrong type or value.", "Correct the value, or the declared schema."
)
UNDECLARED = Rule(
    "FT223", "warning", "A call has an argument that is not declared.", "Declare the argument, or take it out."
)
NOT_JSON = Rule(
    "FT224", "error", "A call, or the declaration of the tools, is no JSON of the usual layout.", "Correct the JSON."
)
NO_TOOLS = Rule(
    "FT225",
    "warning",
    "A conversation calls functions and declares none.",
    "Give the declarations under 'tools'; a model cannot learn which functions it may call.",
)
RULES = (UNKNOWN, MISSING, WRONG_TYPE, UNDECLARED, NOT_JSON, NO_TOOLS)
N_DETAILS = 20
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "object": (dict,),
    "dict": (dict,),
    "null": (type(None),),
}  # with the names that function-calling data sets use beside those of JSON Schema


class Call(NamedTuple):
    """One call: its id where it has one, the function's name, and its arguments as JSON gives them."""

    id: str | None
    name: str
    arguments: Any


class Fault(NamedTuple):
    """What is wrong with a call: the rule, and a phrase."""

    rule: Rule
    what: str


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Hold every call against the declarations of its record."""
    talks = [r for r in records if isinstance(r, Conversation) and (r.tools or any(m.tool_calls for m in r.messages))]
    if not talks:
        raise NotChecked("no record declares or calls functions")
    wrong: dict[str, list[tuple[Record, str]]] = {rule.code: [] for rule in RULES}
    for talk in talks:
        by_rule: dict[str, str] = {}
        for fault in _faults(talk):
            by_rule.setdefault(fault.rule.code, fault.what)
        for code, what in by_rule.items():
            wrong[code].append((talk, what))
    for rule in RULES:
        entries = wrong[rule.code]
        yield from found(
            rule,
            [record for record, _ in entries],
            f"{counted(len(entries), 'conversation')}: {rule.summary[0].lower()}{rule.summary[1:]}",
            details=[f"{place_of(record)}: {what}" for record, what in entries[:N_DETAILS]],
        )


def calls_in(message: Message) -> list[Call]:
    """Give the calls of a message; none where their JSON is not of the usual layout."""
    try:
        return list(_calls(message.tool_calls or "[]"))
    except (msgspec.DecodeError, TypeError, KeyError):
        return []


def _calls(text: str) -> Iterator[Call]:
    for call in msgspec.json.decode(text):
        inner = call["function"] if isinstance(call.get("function"), dict) else call
        arguments = inner.get("arguments", inner.get("parameters", {}))
        yield Call(call.get("id"), str(inner["name"]), arguments)


def _declared(text: str) -> dict[str, Mapping[str, Any]]:
    """Read declarations: a list, or one of them alone, each perhaps under ``function``."""
    value = msgspec.json.decode(text)
    declared = {}
    for one in value if isinstance(value, list) else [value]:
        inner = one["function"] if isinstance(one.get("function"), dict) else one
        declared[str(inner["name"])] = inner.get("parameters") or inner.get("input_schema") or {}
    return declared


def _faults(talk: Conversation) -> Iterator[Fault]:
    try:
        declared = _declared(talk.tools) if talk.tools else None
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
        yield Fault(NOT_JSON, "the declaration of the tools")
        return
    for message in talk.messages:
        if not message.tool_calls:
            continue
        if not declared:
            yield Fault(NO_TOOLS, "no tools are declared")
        try:
            calls = list(_calls(message.tool_calls))
        except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
            yield Fault(NOT_JSON, shortened(message.tool_calls))
            continue
        for call in calls:
            yield from _call_faults(call, declared)


def _call_faults(call: Call, declared: Mapping[str, Mapping[str, Any]] | None) -> Iterator[Fault]:
    try:
        arguments = msgspec.json.decode(call.arguments) if isinstance(call.arguments, str) else call.arguments
    except msgspec.DecodeError:
        yield Fault(NOT_JSON, f"the arguments of {call.name}: {shortened(call.arguments)}")
        return
    if declared and call.name not in declared:
        yield Fault(UNKNOWN, f"{call.name!r}; declared: {', '.join(declared)}")
    elif declared:
        yield from _value_faults(arguments or {}, {**declared[call.name], "type": "object"}, call.name)


def _value_faults(value: object, schema: Mapping[str, Any], place: str) -> Iterator[Fault]:
    """Hold a value against its schema, and what is in it against theirs."""
    for options in (schema.get("anyOf"), schema.get("oneOf")):
        if isinstance(options, list) and not any(_fits(value, option, place) for option in options):
            yield Fault(WRONG_TYPE, f"{place} is {shortened(repr(value), 40)}, which fits none of the choices")
            return
    wanted = schema.get("type")
    names = [str(name) for name in (wanted if isinstance(wanted, list) else [wanted])]
    if all(name in _TYPES for name in names) and not any(_is_of(value, name) for name in names):
        yield Fault(WRONG_TYPE, f"{place} is {shortened(repr(value), 40)}, not {' or '.join(names)}")
        return
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(allowed, list) and value not in allowed:
        yield Fault(WRONG_TYPE, f"{place} is {shortened(repr(value), 40)}, not one of {shortened(repr(allowed))}")
    if isinstance(value, dict):
        yield from _object_faults(value, schema, place)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for n, item in enumerate(value):
            yield from _value_faults(item, schema["items"], f"{place}[{n}]")


def _object_faults(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[Fault]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield Fault(MISSING, f"{place} lacks {name!r}")
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, inner in value.items():
        if isinstance(properties.get(name), dict):
            yield from _value_faults(inner, properties[name], f"{place}.{name}")
        elif name not in properties and schema.get("additionalProperties") in (None, False):
            yield Fault(UNDECLARED, f"{place} has {name!r}; declared: {', '.join(properties)}")


def _fits(value: object, schema: object, place: str) -> bool:
    return not isinstance(schema, dict) or not any(True for _ in _value_faults(value, schema, place))


def _is_of(value: object, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])
