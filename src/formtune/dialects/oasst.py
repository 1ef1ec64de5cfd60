"""Trees of messages as Open Assistant exports them: whole trees, a root with its replies, or single messages.

Every way from the root to a message without replies is a conversation; the tree is its group, so that no split parts
it. No way is preferred: each message keeps its ``rank`` aside, and messages that several ways share stand in each.
Single messages are put together again by their parents first, from all over the data.

Köpf et al. 2023.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.records import Conversation, LeftOut, Message, Record
from formtune.sources import Row, text_of, value_of

NAME = "oasst"
SUMMARY = "Trees of messages (Open Assistant): a conversation for each way from the root to a last reply."
NEEDS = "'message_tree_id' with 'prompt', or messages with 'message_id', 'text' and the role 'prompter'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"message_tree_id", "prompt", "message_id", "parent_id", "text", "role", "replies"})

_ROLES = {"prompter": "user", "assistant": "assistant"}
_NO_PARENT = ""  # of a root; in a table an empty field says so
_WRITTEN = {role: written for written, role in _ROLES.items()}


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for trees, or for messages of them."""
    return seen(rows, columns, lambda value: _is_message(_root(value)), why="messages of a tree ('prompter')")


def grown(rows: Sequence[Row | LeftOut]) -> list[Row | LeftOut]:
    """Put single messages under their parents; what is a tree already, or no row, stays in its place.

    A message whose parent is not in the data, or that is its own ancestor, is left out.
    """
    nodes: dict[str, Object] = {}
    replies: dict[str, list[Object]] = {}
    firsts: set[int] = set()  # places of the rows that count, where a message stands twice
    for place, row in enumerate(rows):
        single = _single(row)
        if single is not None and str(single["message_id"]) not in nodes:
            firsts.add(place)
            name = str(single["message_id"])
            nodes[name] = {**single, "replies": replies.setdefault(name, [])}
            replies.setdefault(_parent(single), []).append(nodes[name])
    reached = _reached(replies)
    placed = [_placed(row, nodes, reached, is_first=place in firsts) for place, row in enumerate(rows)]
    return [row for row in placed if row is not None]


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a conversation for each way down a tree, in the order of the replies."""
    value = as_object(row)
    root = _root(value)
    if not isinstance(root, dict):
        raise RowFault("a tree without its first message", type(root).__name__)
    tree = value.get("message_tree_id") or root.get("message_id")
    extra = rest(value, {"message_tree_id", "prompt"}) if "prompt" in value else None
    for messages in _ways(root):
        group = tree if isinstance(tree, str) else None
        yield Conversation(messages=messages, group=group, origin=row.origin, extra=extra)


def write(record: Record) -> Object | None:
    """Write a tree of one way (:func:`joined` puts the ways of one tree together); None where there are tools.

    A message without an id is given one, from the tree's and its place.
    """
    if not isinstance(record, Conversation) or record.tools or not record.messages:
        return None
    roles = [message.role for message in record.messages]
    is_bare = not any(message.tool_calls or message.parts for message in record.messages)
    if not is_bare or roles != [("user", "assistant")[place % 2] for place in range(len(roles))]:
        return None
    own = [value_of(message.extra) if message.extra else {} for message in record.messages]
    tree = record.group or own[0].get("message_id") or record.id or "0"
    names = [keys.get("message_id") or (f"{tree}-{place}" if place else tree) for place, keys in enumerate(own)]
    reply: Object | None = None
    for place in reversed(range(len(own))):
        message, parent = record.messages[place], {"parent_id": names[place - 1]} if place else {}
        missing = {key: name for key, name in {"message_id": names[place], **parent}.items() if key not in own[place]}
        said = {"text": message.content, "role": _WRITTEN[message.role], "replies": [reply] if reply else []}
        reply = {**own[place], **missing, **said}
    return with_rest({"message_tree_id": tree, "prompt": reply}, record.extra)


def joined(trees: Sequence[Object]) -> list[Object]:
    """Put the ways of each tree together again: messages of one id, under one parent, are one."""
    found: dict[str, Object] = {}
    for tree in trees:
        key = text_of([tree["message_tree_id"], _name(tree["prompt"])])
        if key in found:
            _merge(found[key]["prompt"], tree["prompt"])
        else:
            found[key] = tree
    return list(found.values())


def _root(value: Object) -> object:
    return value.get("prompt") if "message_tree_id" in value and "prompt" in value else value


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("message_id") not in (None, "")
        and isinstance(value.get("text"), str)
        and isinstance(value.get("role"), str)
        and value["role"] in _ROLES
    )


def _single(row: Row | LeftOut) -> Object | None:
    """Give the message of a row that is one of a tree whose others are rows too; else None."""
    value = row.value if isinstance(row, Row) else None
    is_single = isinstance(value, dict) and _is_message(value) and "parent_id" in value and value.get("replies") is None
    return value if is_single and isinstance(value, dict) else None


def _placed(
    row: Row | LeftOut, nodes: Mapping[str, Object], reached: Collection[str], *, is_first: bool
) -> Row | LeftOut | None:
    """Give what stands for a row: a tree for its root, nothing for the other messages of a tree."""
    single = _single(row)
    if single is None or not isinstance(row, Row):
        return row
    name = str(single["message_id"])
    if not is_first:
        return LeftOut("a message that stands twice", row.origin, detail=name)
    if name not in reached:
        return LeftOut("a message without a way to the root of its tree", row.origin, detail=name)
    return Row(nodes[name], row.origin) if _parent(single) == _NO_PARENT else None


def _parent(node: Object) -> str:
    found = node.get("parent_id")
    return _NO_PARENT if found is None else str(found)


def _reached(replies: Mapping[str, Sequence[Object]]) -> set[str]:
    """Give the messages from which the parents lead to a root."""
    reached: set[str] = set()
    waiting = [_NO_PARENT]
    while waiting:
        below = [str(node["message_id"]) for node in replies.get(waiting.pop(), ())]
        reached.update(below)
        waiting += below
    return reached


def _ways(root: Object) -> Iterator[tuple[Message, ...]]:
    """Walk down a tree, first reply first; no recursion, since threads may be long."""
    waiting: list[tuple[Object, tuple[Message, ...]]] = [(root, ())]
    while waiting:
        node, above = waiting.pop()
        messages = (*above, _message(node))
        replies = node.get("replies") or []
        if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
            raise RowFault("replies that are not a list of messages")
        if not replies:
            yield messages
        waiting += [(reply, messages) for reply in reversed(replies)]


def _message(node: Object) -> Message:
    text, role = node.get("text"), node.get("role")
    if not isinstance(text, str):
        raise RowFault("a message without a text")
    if not isinstance(role, str) or role not in _ROLES:
        raise RowFault("a message with an unknown role", repr(role))
    return Message(_ROLES[role], text, extra=rest(node, {"text", "role", "replies"}))


def _name(node: object) -> object:
    return node.get("message_id") if isinstance(node, dict) else None


def _merge(tree: object, way: object) -> None:
    """Hang what a way has more than a tree below the last message that both have."""
    while isinstance(tree, dict) and isinstance(way, dict) and way["replies"]:
        (reply,) = way["replies"]
        same = next((known for known in tree["replies"] if _name(known) == _name(reply)), None)
        if same is None:
            tree["replies"].append(reply)
            return
        tree, way = same, reply
