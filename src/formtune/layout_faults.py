"""Faults that only one layout, or a few that are alike, can have: lines of :data:`formtune.faults.FAULTS`.

Each line is a code, a reason, what was expected, and a remedy.
"""

LAYOUT_FAULTS: tuple[tuple[str, str, str, str], ...] = (
    # Messages and roles.
    (
        "FT147",
        "a message with two keys for one thing",
        "one key for the role and one for the content",
        "Keep one of the keys that are told.",
    ),
    ("FT148", "no turns", "a list of turns with at least one", "Fill the list in, or take the row out."),
    ("FT149", "turns that are not a list of texts", "a list of texts, of the user first", "Write each turn as a text."),
    (
        "FT340",
        "a turn that is not a pair of texts, 'human' and 'assistant'",
        "an object with 'human' and 'assistant', both texts",
        "Give each turn both texts; the last answer may be empty.",
    ),
    (
        "FT341",
        "a turn that is not 'input' and 'output', both texts",
        "an object with 'input' and 'output', and 'system' in the first turn",
        "Give each turn both texts.",
    ),
    (
        "FT342",
        "a turn that is not an object of texts",
        "an object with 'Human' and 'MOSS'",
        "Write the turn as an object.",
    ),
    ("FT343", "a turn without 'Human'", "what the user said under 'Human'", "Fill it in, or take the turn out."),
    ("FT344", "no conversation", "turns before the two answers", "Fill 'conversations' in, or take the row out."),
    (
        "FT345",
        "a message without the role 'user' or 'assistant', or without content",
        "the role 'user' or 'assistant' with blocks of content",
        "Name the role, and put a system text under 'system'.",
    ),
    (
        "FT346",
        "content that is not a list of blocks",
        "a list of objects with 'text'",
        'Write it as [{"text": "..."}].',
    ),
    (
        "FT347",
        "a block that is neither text nor media",
        "a block with 'text', 'image', 'video' or 'document'",
        "Name it so.",
    ),
    (
        "FT348",
        "a schemaVersion that is not {version}",
        "the version whose keys are known here",
        "Check the row against that version, and name it.",
    ),
    ("FT349", "no contents", "a list of contents with at least one", "Fill 'contents' in, or take the row out."),
    ("FT440", "a content without parts", "an object with 'parts', a list", "Give the content its parts."),
    ("FT441", "a part that is not an object", "an object with 'text'", 'Write it as {"text": "..."}.'),
    ("FT442", "a content with an unknown role", "the role 'user', 'model' or 'function'", "Write one of these roles."),
    (
        "FT443",
        "a part that is no text, function call, response or file",
        "one of these, each under its own key",
        "Name what the part is by one of these keys.",
    ),
    ("FT444", "a system that is not a text", "a text", "Write the system prompt as one text."),
    ("FT445", "a system instruction that is not text", "a text, or parts of text", "Write it as parts of text."),
    (
        "FT446",
        "a question that is not turns of messages",
        "a list of lists of messages",
        "Write each turn as a list of messages.",
    ),
    ("FT447", "a chat that does not begin with a turn", "USER: at the beginning", "Begin the text with who speaks."),
    (
        "FT448",
        "a text that does not begin with 'Human:' or 'Assistant:'",
        "turns, each behind its speaker's name",
        "Begin the text with who speaks.",
    ),
    ("FT449", "a message with a value that is not a text", "a text under 'value'", "Write the value as a text."),
    # Trees of messages.
    (
        "FT540",
        "a tree without its first message",
        "'prompt', or a message without a parent",
        "Add the root of the tree.",
    ),
    ("FT541", "a message that stands twice", "one message for an id", "Take one of the two out."),
    (
        "FT542",
        "a message without a way to the root of its tree",
        "a parent that is in the file, up to a message without one",
        "Add the messages between, or take this one out.",
    ),
    ("FT543", "a message without a text", "a text", "Fill it in, or take the message and its replies out."),
    ("FT544", "replies that are not a list of messages", "a list of messages", "Write 'replies' as a list."),
    # Tools.
    (
        "FT152",
        "a tool call that is not JSON with a name",
        "JSON with 'name' and 'arguments', or a list of it",
        "Write the call as JSON with its name.",
    ),
    ("FT153", "functions that are not a list", "a list of functions, or its JSON text", "Write them as a list."),
    (
        "FT154",
        "a function call that is no object, or stands beside tool calls",
        "an object with 'name' and 'arguments', and no 'tool_calls' beside it",
        "Keep one of the two ways to call.",
    ),
    ("FT350", "a tool's turn without its name and its observation", "both, as texts", "Give the turn both."),
    ("FT351", "a tool call without a name and arguments", "'name' and 'arguments'", "Give the call both."),
    ("FT352", "a function call without a name", "an object with 'name' and 'args'", "Name the function."),
    (
        "FT353",
        "a function response without a name and an object 'response'",
        "an object with 'name' and an object as 'response'",
        "Give the response both.",
    ),
    ("FT354", "a function call that is not JSON", "JSON behind <functioncall>", "Correct the JSON of the call."),
    (
        "FT355",
        "answers that are not a list of calls",
        "a list of calls, or its JSON text",
        "Write the calls as a list.",
    ),
    (
        "FT450",
        "a ground truth that is not calls with values that count",
        "a list of objects, each a function's name with lists of values for its arguments",
        "Take the ground truth out, and the question stays to be answered.",
    ),
    # What is learned.
    ("FT159", "stretches of text that are given twice", "'train_detail' or parts with 'train'", "Keep one of the two."),
    (
        "FT356",
        "a segment that is not 'text' and a truth value as 'label'",
        "an object with both",
        "Give the segment its text, and say with true or false whether it is learned.",
    ),
    ("FT357", "no segments", "a list of segments with at least one", "Fill 'segments' in, or take the row out."),
    ("FT358", "a mask that is not the name of a speaker", "a name that turns have under 'from'", "Name the speaker."),
    # Judged answers, tasks with instances.
    ("FT360", "no steps", "a list of steps with at least one", "Fill 'completions' in, or take the row out."),
    (
        "FT361",
        "labels that are not a truth value for each step",
        "as many truth values as there are steps",
        "Say of each step whether it is right.",
    ),
    ("FT362", "no judgment", "true or false", "Say whether the answer is good, or take the row out."),
    ("FT363", "answers without text and rank", "objects with 'answer' and 'rank'", "Give each answer both."),
    ("FT364", "no answer that is worse than another", "two different ranks", "Rank the answers, or take the row out."),
    ("FT365", "an input without messages", "'input' with 'messages'", "Put the prompt there as messages."),
    (
        "FT366",
        "a side that is neither a text nor messages",
        "a text, or messages that end with the assistant's",
        "Write the answer in one of these ways.",
    ),
    ("FT367", "a conversation that does not end with an answer", "an assistant's last turn", "Add the answer."),
    ("FT368", "a definition that is not text", "a text, or a list of texts", "Write 'Definition' as text."),
    ("FT369", "no instances", "a list of instances with at least one", "Fill 'Instances' in, or take the task out."),
    ("FT370", "an instance without an input", "a text under 'input'", "Fill it in, or take the instance out."),
    (
        "FT371",
        "an instance with an output that is not text",
        "a text, or a list of texts",
        "Write the outputs as texts.",
    ),
    ("FT372", "a label that is neither 1 nor 0", "1 where the first answer is preferred, else 0", "Write 1 or 0."),
    (
        "FT373",
        "completions without a response and annotations",
        "a list of objects with 'response' and 'annotations'",
        "Give each completion both.",
    ),
    (
        "FT374",
        "a completion without a rating",
        "a number under 'Rating' in one of the annotations; the row's other completions were read",
        "Nothing is to be done: what was not rated is compared with nothing.",
    ),
    # Files that belong together.
    (
        "FT375",
        "an answer without a question of its own",
        "a question with the answer's id, and one answer for it",
        "Give the file of the questions too, or take the answer out.",
    ),
    # Labels of several targets.
    (
        "FT376",
        "labels that are not an object of labels",
        "an object with a label, or a list of labels, for each target",
        "Write 'labels' as an object.",
    ),
    (
        "FT377",
        "messages that are not one text of the user's",
        "one message of the user's, with nothing but text",
        "Put the dialogue into one 'text', or take the row out.",
    ),
)
