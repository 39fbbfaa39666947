"""Small faults of form in an answer, mended by its schema.

A model that is shown no schema writes 'Policy-Inconsistent', "4", a rule with its text, or one
thought where a list of them is due. What it means is plain, so it need not be asked again. Nothing
is made up: what is missing stays missing, and the recipe's bounds are checked afterwards.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aidsafe_dagster.recipe.lenient_json import JSON_IN_STRING, unquoted

LETTER_CASE = "letter case"
NUMBER_SPELLING = "spelling of numbers"

# "4", "4.0", "#4", "[4]", "thought 4", and "4/5" with the highest possible number.
_NUMBER = re.compile(
    r"\s*[\[(#]?(?:thought|agent)?\s?#?(?P<number>\d{1,9})(?:\.0{1,9})?"
    r"(?:\s?(?:/|of|out of)\s?(?P<highest>\d{1,9}))?[\])]?\.?\s*",
    re.IGNORECASE,
)
_BEFORE_ID = re.compile(r"[\W_]*(?:(?:rule|policy)\b[\W_]*)?", re.IGNORECASE)
# Around an id: rule [fraud.3], `fraud.3`.
_CLOSING_SIGNS = " \t\n])>*_`'\"”"
# Between an id and its text. "fraud.3 does not apply" has none of them, and cites no rule.
_SIGNS_BEFORE_TEXT = (":", "(", "[", "–", "—", "- ", ". ")
_LIST_SEPARATOR = re.compile(r"[,;\n]|\band\b")
_ID_IN_BRACKETS = re.compile(r"[\[(]([^\[\]()]{1,80})[\])]\W{0,9}\Z")
_MOST_NAMED_KEYS = 3
_MOST_NAME_CHARS = 200
# More items than any answer may have.
_MOST_ITEMS = 500


class AnswerMender:
    """Fits values to a schema, and collects in `mends` what it changed.

    `ids` are the choices that a prompt shows with a text after them.
    """

    def __init__(self, schema: Mapping[str, Any], ids: Collection[str]) -> None:
        self._schema = schema
        self._ids = frozenset(ids)
        self._mends: dict[str, None] = {}

    @property
    def mends(self) -> tuple[str, ...]:
        return tuple(self._mends)

    def mend(self, value: object) -> Any:
        """Return the answer in the schema's form, as far as its meaning is plain."""
        return self._fit(self._innermost(value), self._schema, "answer")

    def _innermost(self, value: object) -> object:
        """Return the answer itself, if it is the one object of a list or of another object."""
        value = self._only_item(value)
        if not isinstance(value, dict):
            return value
        names = {_plain(name) for name in self._schema["required"]}
        keys = {_plain(str(key)) for key in value}
        inner = list(_objects_in(value))
        # ChoiceAnswer has a field `answer` itself, so a known name need not be the answer's own.
        if len(inner) != 1 or (names & keys and len(value) > 1):
            return value
        inner_keys = {_plain(str(key)) for key in inner[0]}
        if not names & inner_keys:
            return value
        self._note("answer one level down")
        return inner[0]

    def _fit(self, value: object, schema: Mapping[str, Any], field: str) -> Any:
        schema = self._resolved(schema)
        if "properties" in schema:
            return self._fit_object(value, schema)
        if "enum" in schema:
            return self._fit_choice(value, schema["enum"], field)
        match schema.get("type"):
            case "array":
                return self._fit_list(value, schema, field)
            case "integer":
                return self._fit_number(value, schema)
            case "string":
                return self._fit_text(value, schema)
        return value

    def _fit_object(self, value: object, schema: Mapping[str, Any]) -> Any:
        value = self._only_item(value)
        inner = unquoted(value)
        if isinstance(inner, dict):
            self._note(JSON_IN_STRING)
            value = inner
        if not isinstance(value, dict):
            return value
        properties = schema["properties"]
        named = self._with_known_names(value, properties)
        return {key: self._fit(named[key], properties[key], key) for key in named}

    def _object_of_text(self, text: str, properties: Mapping[str, Any]) -> object:
        """Return the object of which a model gave only the text: a thought without rules."""
        texts = [name for name in properties if _is_text(properties[name])]
        lists = [name for name in properties if properties[name].get("type") == "array"]
        if len(texts) != 1 or not lists or unquoted(text):
            return text
        self._note(f"bare string for a {texts[0]}")
        optional: dict[str, object] = {
            name: [] for name in lists if "minItems" not in properties[name]
        }
        return {texts[0]: text} | optional

    def _with_known_names(
        self, value: Mapping[Any, object], properties: Mapping[str, Any]
    ) -> dict[str, object]:
        """Return the items whose keys are fields, under the exact names of these."""
        named = {key: value[key] for key in value if key in properties}
        names = {_plain(name): name for name in properties}
        extra = []
        for key in value:
            if key in properties:
                continue
            name = names.get(_plain(str(key)))
            if name is None or name in named:
                extra.append(str(key))
            else:
                named[name] = value[key]
                self._note("spelling of keys")
        if extra:
            self._note(f"extra keys: {_listing(extra)}")
        # In the order of the schema, which is the order that the recipe shows.
        return {name: named[name] for name in properties if name in named}

    def _fit_list(self, value: object, schema: Mapping[str, Any], field: str) -> Any:
        items = schema["items"]
        if value is None:
            self._note("null for a list")
            return []
        inner = unquoted(value)
        if isinstance(inner, list):
            self._note(JSON_IN_STRING)
            value = inner
        elif isinstance(value, str):
            value = self._list_of_text(value, items)
        elif isinstance(value, dict | int):
            self._note(f"one item for a list: {field}")
            value = [value]
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            return value
        return [self._fit_item(item, items, field) for item in value]

    def _fit_item(self, item: object, schema: Mapping[str, Any], field: str) -> Any:
        schema = self._resolved(schema)
        if isinstance(item, str) and "properties" in schema:
            item = self._object_of_text(item, schema["properties"])
        return self._fit(item, schema, field)

    def _list_of_text(self, text: str, items: Mapping[str, Any]) -> list[object]:
        if "enum" not in items:
            # Numbers may be listed; a text with commas is one text.
            is_numbers = items.get("type") == "integer"
            parts = text.split(",") if is_numbers else [text]
            self._note("bare string for a list")
            return [*parts] if text.strip() else []
        self._note("bare string for a list")
        return self._listed_ids(text, items["enum"])

    def _listed_ids(self, text: str, choices: list[str]) -> list[object]:
        if not _plain(text) or _plain(text) in ("none", "na"):
            return []
        listed: list[object] = []
        is_in_text = False
        for part in _LIST_SEPARATOR.split(text, _MOST_ITEMS):
            choice = self._id_in(part, choices) or self._choice_in(part, choices)
            if choice:
                listed.append(choice)
                is_in_text = ":" in part
            elif part.strip() and not (is_in_text and not _resembles_id(part)):
                # Not an id: pydantic's message names it.
                listed.append(part.strip())
        return listed

    def _fit_choice(self, value: object, choices: list[Any], field: str) -> object:
        if value in choices:
            return value
        if value is None and "none" in choices:
            self._note(f"null for none: {field}")
            return "none"
        value = self._only_item(value)
        if not isinstance(value, str) or value in choices:
            return value
        return self._meant_choice(value, choices, field) or value

    def _meant_choice(self, text: str, choices: list[str], field: str) -> str | None:
        folded = text.strip().casefold()
        for choice in choices:
            if folded == choice.casefold():
                self._note(f"{LETTER_CASE}: {field}")
                return choice
        choice_with_text = self._id_in(text, choices)
        if choice_with_text:
            self._note(f"ids with their text: {field}")
            return choice_with_text
        misspelt_choice = self._choice_in(text, choices)
        if misspelt_choice:
            self._note(f"spelling: {field}")
        return misspelt_choice

    def _id_in(self, text: str, choices: list[str]) -> str | None:
        """Return the id with which a text begins, or that it ends with in brackets."""
        start = _BEFORE_ID.match(text)
        assert start is not None
        begun = text[start.end() :]
        # The longest first: fraud.1 is the beginning of fraud.10.
        for choice in sorted(choices, key=len, reverse=True):
            if choice not in self._ids:
                continue
            is_begun = begun[: len(choice)].casefold() == choice.casefold()
            if is_begun and _is_set_off(begun[len(choice) :]):
                return choice
        bracketed = _ID_IN_BRACKETS.search(text[-100:])
        if bracketed and bracketed[1].strip() in self._ids:
            return self._choice_in(bracketed[1], choices)
        return None

    def _choice_in(self, text: str, choices: list[str]) -> str | None:
        """Return the one choice that differs from the text only in spelling."""
        if len(text) > _MOST_NAME_CHARS:
            return None
        matches = []
        for choice in choices:
            # fraud.11 is not fraud.1.1, but policy_inconsistent may be PolicyInconsistent.
            spelling = _spaced if choice in self._ids else _plain
            if spelling(choice) == spelling(text):
                matches.append(choice)
        return matches[0] if len(matches) == 1 else None

    def _fit_number(self, value: object, schema: Mapping[str, Any]) -> object:
        value = self._only_item(value)
        if isinstance(value, bool):
            # pydantic would read it as 0 or 1.
            return str(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
            self._note(NUMBER_SPELLING)
            return int(value)
        if not isinstance(value, str):
            return value
        number = _NUMBER.fullmatch(value[:60])
        if not number or len(value) > 60:
            return value
        highest = number["highest"]
        if highest and int(highest) != schema.get("maximum"):
            return value
        is_plain = value.strip().replace(".0", "").isdigit()
        self._note(NUMBER_SPELLING if is_plain else "numbers with words")
        return int(number["number"])

    def _fit_text(self, value: object, schema: Mapping[str, Any]) -> object:
        value = self._only_item(value)
        if value is None and "minLength" not in schema:
            self._note("null for a text")
            return ""
        if isinstance(value, dict):
            texts = [value.get(key) for key in ("thought", "text", "content")]
            texts = [text for text in texts if isinstance(text, str)]
            if len(texts) == 1:
                self._note("object for a text")
                return texts[0]
        return value

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        # pydantic puts nested models under "$defs" and refers to them by name.
        if "$ref" not in schema:
            return schema
        definition: Mapping[str, Any] = self._schema["$defs"][
            schema["$ref"].rsplit("/", 1)[-1]
        ]
        return definition

    def _only_item(self, value: object) -> object:
        if isinstance(value, list) and len(value) == 1:
            self._note("list of one")
            return value[0]
        return value

    def _note(self, mend: str) -> None:
        self._mends[mend] = None


def _objects_in(value: Mapping[Any, object]) -> Iterator[dict[Any, object]]:
    for item in value.values():
        inner = unquoted(item) or item
        if isinstance(inner, list) and len(inner) == 1:
            inner = inner[0]
        if isinstance(inner, dict):
            yield inner


def _is_text(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and "enum" not in schema


def _plain(text: str) -> str:
    """Return a name without case and signs: 'Policy-Inconsistent' is 'policyinconsistent'."""
    return re.sub(r"[\W_]+", "", text).casefold()


def _printable(name: str) -> str:
    name = " ".join(name.split())[:30]
    return name.encode("utf-8", "replace").decode()


def _is_set_off(after: str) -> bool:
    """Return True if an id ends here: nothing follows it, or a text that is set off by a sign."""
    text = after.lstrip(_CLOSING_SIGNS)
    closing = after[: len(after) - len(text)]
    is_alone = not text.strip(" .,;\n")
    has_bracket = "]" in closing or ")" in closing
    return is_alone or has_bracket or text.startswith(_SIGNS_BEFORE_TEXT)


def _spaced(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def _resembles_id(text: str) -> bool:
    return re.match(r"\W*[A-Za-z_]\w{0,60}\.\d", text) is not None


def _listing(names: list[str]) -> str:
    """Return the first names, shortened: a model chose them."""
    shown = [_printable(name) for name in names[:_MOST_NAMED_KEYS]]
    more = len(names) - len(shown)
    suffix = f" and {more} more" if more else ""
    return ", ".join(shown) + suffix
