"""YAML as people write settings in it: read safely, with faults in one sentence."""

from __future__ import annotations

from typing import Any

import yaml

from dlworkflow.errors import ConfigError, first_line


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-3 as a number and refuses a key that stands twice or a value within itself."""

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


def _add_float_resolver() -> None:
    import re

    number = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))


_add_float_resolver()


def load_yaml(text: str, *, where: str) -> Any:
    """Read one value or mapping. Raises ConfigError that says where and, of several lines, in which."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{where}{line}: {error.problem or 'is no YAML'}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no YAML: {first_line(error)}") from None
