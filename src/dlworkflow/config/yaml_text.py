"""YAML as people write settings in it: read safely, with faults in one sentence."""

from __future__ import annotations

from typing import Any

import yaml

from dlworkflow.errors import ConfigError, first_line


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but that a key is text as written (`no`, `007`), stands once, and no value within itself."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ARG002 - PyYAML's own signature
        return super().construct_object(node, deep=True)  # at once, which refuses an alias within its own anchor

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.append(key)
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
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{where}{line}: {error.problem or 'is no YAML'}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no YAML: {first_line(error)}") from None
