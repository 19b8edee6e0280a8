"""Read YAML the way Kubernetes does: fast, without YAML 1.1's surprises, errors with line numbers."""

import re
from typing import Any, Final

import yaml

from betelgeuse.errors import UsageError


class _Loader(yaml.CSafeLoader):
    """The C loader with the core types only: no dates, no sexagesimal numbers, no `on`/`yes` booleans."""


_INT: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_RESOLVERS: Final = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    # 0644 is octal, as Go reads file modes.
    (_INT, r"^[-+]?(?:0|[1-9][0-9]*|0o?[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (_FLOAT, r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"^(?:<<)$", "<"),
)

_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if digits.startswith("0x"):
        return sign * int(digits, 16)
    if len(digits) > 1 and digits.startswith("0"):
        return sign * int(digits.removeprefix("0o"), 8)
    return sign * int(digits)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)))


_Loader.add_constructor(_INT, _integer)
_Loader.add_constructor(_FLOAT, _number)


def parse(text: str, where: str) -> list[Any]:
    """Return the documents of a YAML stream; raise UsageError with `where:line` when it is malformed."""
    try:
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        # A tag may be the beginning of a password that lacks its quotes.
        problem = re.sub(r" for the tag .*", " for a tag; a text that begins with '!' needs quotes", str(error.problem))
        message = f"{where}{line}: not valid YAML: {problem if error.problem else error.context}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"{where}: not valid YAML: {' '.join(str(error).split())[:200] or 'nested too deep'}"
    raise UsageError(message)


class _Dumper(yaml.CSafeDumper):
    """The C dumper, with text of several lines as a block, and no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write equal parts in full: people read this, and diffs compare it line by line."""
        return True


_LAYOUT: Final = dict.fromkeys(map(ord, "\n\t"), " ")


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # What is not printable is written, or at the latest shown, as an escape: that means the same in double quotes only.
    odd = not text.translate(_LAYOUT).isprintable()
    style = '"' if odd else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
# What kubectl's reader takes for a number or a switch, although neither ours nor PyYAML's does: it drops underscores
# first. Only the dumper is told, and only to quote.
_Dumper.add_implicit_resolver(
    _FLOAT,
    re.compile(r"^[-+]?(?:_*0_*[bBoOxX][0-9a-fA-F_]*|[0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9_]*)?)$"),
    list("-+._0123456789"),
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
for _tag, _pattern, _first in _RESOLVERS:
    # Text that our reader would take for a number is quoted, like what older readers mistake for one.
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def dump(documents: list[Any]) -> str:
    """Return a YAML stream with keys in their own order."""
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))
