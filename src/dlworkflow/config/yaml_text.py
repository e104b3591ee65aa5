"""YAML as people write settings in it: read safely, with each error in one sentence."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from dlworkflow.errors import ConfigError, first_line, short

MOST_CHARACTERS = 2**20
_MOST_VALUES = 20_000  # keys and values, each alias counted as all that it stands for
_MOST_DEPTH = 50
_LONGEST_NUMBER = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but that a key is text as written (`no`, `007`), stands once, and no value within itself.

    What a few lines of aliases would grow to, how deep values lie in each other and how long a number is are bounded
    before anything is built.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = self._depth = self._deepest = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # of each node, by id: how many values, how deep

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        before, outside = self._values, self._deepest
        self._depth += 1
        self._deepest = self._depth
        self._check_size(event)
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):  # one within its own anchor has no size yet, and is refused later
            values, height = self._sizes.get(id(node), (1, 1))
            self._values, self._deepest = before + values, self._depth + height - 1
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before, self._deepest - self._depth + 1
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            self._refuse(f"a number of {len(node.value):,} characters", event)
        self._check_size(event)
        self._deepest = max(outside, self._deepest)
        self._depth -= 1
        return node

    def _check_size(self, event: yaml.Event) -> None:
        if self._values > _MOST_VALUES:
            self._refuse(f"more than {_MOST_VALUES:,} keys and values, aliases among them", event)
        if self._deepest > _MOST_DEPTH:
            self._refuse(f"nested more than {_MOST_DEPTH} deep", event)

    def _refuse(self, what: str, event: Any) -> None:
        raise yaml.composer.ComposerError(None, None, what, event.start_mark)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = "tag:yaml.org,2002:str"
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ARG002 - PyYAML's own signature
        found = super().construct_object(node, deep=True)  # at once, which refuses an alias within its own anchor
        if found is not None and not isinstance(found, (bool, int, float, str, list, dict)):
            problem = f"{type(found).__name__} is no kind of value here; put text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return found

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:  # `<<: *base`, beside which a key may stand again
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _use_plain_numbers() -> None:
    """Read numbers as people write them: 1e-3 is one; 007, 12:30 and 2024-01-31 are text, not base 8, 60 or a date."""
    import re

    changed = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in changed]
        for first, found in _Loader.yaml_implicit_resolvers.items()
    }
    whole = r"^[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$"
    point = r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    exponent = r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"
    for kind, pattern in (("int", whole), ("float", point), ("float", exponent)):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), list("-+.0123456789"))


_use_plain_numbers()


def load_yaml(text: str, *, where: str) -> Any:
    """Read one value or mapping. Raises ConfigError that says where and, of several lines, in which."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{where}: has {len(text):,} characters; at most {MOST_CHARACTERS:,} of settings are read")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{where}{line}: {short(error.problem or 'is no YAML')}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no YAML: {first_line(error)}") from None
