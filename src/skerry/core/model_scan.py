"""Which models Python scripts and configuration files name: by their syntax, never by running them. Pure.

Found in scripts: calls of `load` on whatever is known to be the models of a client (`cw.models`, `cw.mlmodels`,
`skerry.sdk.models`, their aliases, or anything whose attribute is called so), with the id as first argument or `model_id=`.
An id may be a text, a constant, a choice between such, the variable of a loop over a list of them, or all of a list. Comments
and docstrings are no calls. What cannot be known without running the script is reported as such. Of a script that this
Python cannot parse, which the worker's may, only calls with a text are found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from skerry.core.model_configurations import CONFIGURATIONS, scan_configuration
from skerry.core.model_mentions import Found, Scan, Unknown, add

MAX_STEPS = 10_000
"""Of following one id: a script that needs more is written to keep its reader busy."""

MAX_STEPS_IN_ALL = 10 * MAX_STEPS
"""Of one script."""

MAX_NAMED = 1000
"""Places of one script that are told of, and ids of one place."""

MAX_JOINED = 255
"""Characters of an id that is put together: no model has a longer one."""

_NUMBER = 64
"""Bits of a number in an id; Python writes none of many thousands."""

_COLLECTIONS = frozenset({"models", "mlmodels"})
_LOAD = "load"
_KEYWORDS = frozenset({"model_id", "id", "name"})
_ENVIRONMENT = frozenset({"environ.get", "getenv"})
_WRITTEN = re.compile(
    r"""^[^#\n]*\b(?:models|mlmodels)\.load\(\s*(["'])([^"'\n]+)\1""", re.MULTILINE
)

_Side = Literal["keys", "values"]
"""Of a dict: what a loop goes over, or what an index finds."""

_Texts = tuple[list[str], bool]
"""What an expression may be, as far as it is known, and whether these are all."""


def scan_files(files: Iterable[tuple[str, str]]) -> Scan:
    """Scans (name, text) pairs: `*.py` as scripts, CONFIGURATIONS as such, others not at all."""
    scans = [_scan(name, text) for name, text in files]
    return Scan(
        tuple(sorted({each for scan in scans for each in scan.found})),
        tuple(sorted({each for scan in scans for each in scan.unknown})),
    )


def scan_script(name: str, text: str) -> Scan:
    """One Python script. A file that is no Python is one Unknown."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return _written(name, text, Unknown(name, error.lineno or 1, f"no Python: {error.msg}"))
    except (ValueError, RecursionError, MemoryError) as error:
        return Scan(unknown=(Unknown(name, 1, f"no Python: {error}"),))
    script = _Script(name)
    try:
        script.read(tree)
    except RecursionError:
        return Scan(unknown=(Unknown(name, 1, "nested too deeply"),))
    return Scan(tuple(script.found), tuple(script.unknown))


def _written(name: str, text: str, unknown: Unknown) -> Scan:
    found: list[Found] = []
    unknowns = [unknown]
    for match in _WRITTEN.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        add(found, unknowns, Found(name, line, match[2]))
    return Scan(tuple(found), tuple(unknowns))


def _scan(name: str, text: str) -> Scan:
    if name.endswith(".py"):
        return scan_script(name, text)
    if name.rpartition("/")[2] in CONFIGURATIONS:
        return scan_configuration(name, text)
    return Scan()


class _Script:
    """One script: first every binding of every name, then the calls. Scopes are not told apart: a superset is fine."""

    def __init__(self, name: str) -> None:
        self.found: list[Found] = []
        self.unknown: list[Unknown] = []
        self._name = name
        self._values: dict[str, list[ast.expr]] = {}
        self._elements: dict[str, list[ast.expr]] = {}
        self._collections = set(_COLLECTIONS)
        self._loads: set[str] = set()
        self._steps = self._steps_in_all = 0

    def read(self, tree: ast.Module) -> None:
        """Fills `found` and `unknown`."""
        nodes = list(ast.walk(tree))
        for node in nodes:
            for target, value in _bindings(node):
                self._bind(target, value)
            for target, values in _iterations(node):
                self._iterate(target, values)
        self._aliases(nodes)
        for node in nodes:
            if isinstance(node, ast.Call) and self._is_load(node.func):
                named = len(self.found) + len(self.unknown)
                if named >= MAX_NAMED or self._steps_in_all > MAX_STEPS_IN_ALL:
                    self._cannot(node, "there is too much before it to look for more")
                    return
                self._call(node)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name | ast.Attribute):
            self._values.setdefault(_key(target), []).append(value)
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            for inner, part in zip(target.elts, value.elts, strict=False):
                self._bind(inner, part)

    def _iterate(self, target: ast.expr, values: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._elements.setdefault(target.id, []).append(values)
        elif isinstance(target, ast.Tuple | ast.List):
            for place, inner in enumerate(target.elts):
                if isinstance(inner, ast.Name):
                    self._elements.setdefault(inner.id, []).append(_Column(values, place))

    def _aliases(self, nodes: list[ast.AST]) -> None:
        """`m = cw.models`, `load = cw.models.load`, `from skerry.sdk import models as m`."""
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                self._import(node)
        for _ in range(3):  # an alias of an alias of an alias
            for key, values in self._values.items():
                if any(self._is_collection(value) for value in values):
                    self._collections.add(key)
                if any(self._is_load(value) for value in values):
                    self._loads.add(key)

    def _import(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            if name.name in _COLLECTIONS and name.asname:
                self._collections.add(name.asname)
            if name.name == _LOAD and (node.module or "").rpartition(".")[2] in _COLLECTIONS:
                self._loads.add(name.asname or name.name)

    def _is_collection(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr in _COLLECTIONS or _key(node) in self._collections
        return isinstance(node, ast.Name) and node.id in self._collections

    def _is_load(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute) and node.attr == _LOAD:
            return self._is_collection(node.value)
        return isinstance(node, ast.Name | ast.Attribute) and _key(node) in self._loads

    def _call(self, call: ast.Call) -> None:
        named = [keyword.value for keyword in call.keywords if keyword.arg in _KEYWORDS]
        self._steps = 0
        argument = call.args[0] if call.args else next(iter(named), None)
        if argument is None:
            self._cannot(call, "it is called without an id")
            return
        texts, complete = self._texts(argument, frozenset())
        ids = list(dict.fromkeys(texts))
        complete = complete and len(ids) <= MAX_NAMED
        for text in ids[:MAX_NAMED]:
            add(self.found, self.unknown, Found(self._name, call.lineno, text))
        if not complete:
            written = ast.unparse(argument)
            self._cannot(call, f"«{written:.80}» cannot be known without running it")

    def _cannot(self, call: ast.Call, cause: str) -> None:
        self.unknown.append(Unknown(self._name, call.lineno, cause))

    def _texts(self, node: ast.expr, seen: frozenset[str]) -> _Texts:
        """Every text that an expression may be, and whether these are all."""
        result: _Texts = [], False
        match node:
            case _ if self._is_spent():
                pass
            case ast.Constant(value=str(text)):
                result = [text], True
            case ast.IfExp(body=first, orelse=second):
                result = self._all([first, second], seen)
            case ast.BoolOp(values=each) | ast.List(elts=each) | ast.Tuple(elts=each):
                result = self._all(each, seen)
            case ast.NamedExpr(value=value):
                result = self._texts(value, seen)
            case ast.JoinedStr() | ast.BinOp(op=ast.Add()):
                result = self._joined(node, seen)
            case ast.Subscript(value=value):
                result = self._items(value, seen, "values")
            case ast.Call(func=function, args=[_, default]) if _dotted(function).endswith(
                tuple(_ENVIRONMENT)
            ):
                result = self._texts(default, seen)[0], False
            case ast.Name() | ast.Attribute():
                result = self._named(node, seen)
            case _:
                pass
        return result

    def _is_spent(self, steps: int = 1) -> bool:
        self._steps += steps
        self._steps_in_all += steps
        return self._steps > MAX_STEPS or self._steps_in_all > MAX_STEPS_IN_ALL

    def _named(self, node: ast.Name | ast.Attribute, seen: frozenset[str]) -> _Texts:
        key = _key(node)
        if key in seen:
            return [], True
        seen |= {key}
        texts, complete = self._all(self._values.get(key, []), seen)
        for values in self._elements.get(key, []):
            more, whole = self._items(values, seen)
            texts, complete = texts + more, complete and whole
        known = key in self._values or key in self._elements
        if not known and key == "value" and isinstance(node, ast.Attribute):
            return self._texts(node.value, seen)  # a member of an enumeration
        return texts, complete and known

    def _items(self, node: ast.expr, seen: frozenset[str], side: _Side = "keys") -> _Texts:
        """Every text among the elements of an expression."""
        result: _Texts = [], False
        match node:
            case _ if self._is_spent():
                pass
            case _Column():
                result = self._column(node, seen)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                result = self._all(items, seen)
            case ast.Dict(keys=keys, values=values):
                wanted = keys if side == "keys" else values
                result = self._all([each for each in wanted if each is not None], seen)
            case ast.Call(
                args=[first, *_], func=ast.Name(id="sorted" | "list" | "tuple" | "set" | "reversed")
            ):
                result = self._items(first, seen)
            case ast.Call(args=[], func=ast.Attribute(value=of, attr="keys" | "values" as view)):
                result = self._items(of, seen, "keys" if view == "keys" else "values")
            case ast.Name() | ast.Attribute() if (
                _key(node) not in seen and _key(node) in self._values
            ):
                key = _key(node)
                parts = [self._items(value, seen | {key}, side) for value in self._values[key]]
                result = [t for texts, _ in parts for t in texts], all(whole for _, whole in parts)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                (one, first_whole), (two, second_whole) = (
                    self._items(each, seen, side) for each in (left, right)
                )
                result = one + two, first_whole and second_whole
            case _:
                pass
        return result

    def _column(self, node: _Column, seen: frozenset[str]) -> _Texts:
        """One place of the tuples that a loop takes apart."""
        values: ast.expr = node.values
        match values:
            case ast.Call(args=[], func=ast.Attribute(value=of, attr="items")) if node.place < 2:
                return self._items(of, seen, "values" if node.place else "keys")
        if isinstance(values, ast.Name) and len(self._values.get(values.id, [])) == 1:
            values = self._values[values.id][0]
        if isinstance(values, ast.List | ast.Tuple) and not self._is_spent(len(values.elts)):
            rows = [row.elts for row in values.elts if isinstance(row, ast.Tuple | ast.List)]
            if len(rows) == len(values.elts) and all(len(row) > node.place for row in rows):
                return self._all([row[node.place] for row in rows], seen)
        return [], False

    def _joined(self, node: ast.expr, seen: frozenset[str]) -> _Texts:
        """A text that is put together: known when each part has exactly one value."""
        parts = node.values if isinstance(node, ast.JoinedStr) else _operands(node)
        whole = ""
        for part in parts:
            value = part
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion != -1:
                    return [], False
                value = part.value
            texts, complete = self._texts(self._as_text(value), seen)
            if not complete or len(set(texts)) != 1:
                return [], False
            whole += texts[0]
            if len(whole) > MAX_JOINED:
                return [], False
        return [whole], True

    def _as_text(self, node: ast.expr) -> ast.expr:
        """A whole number, or the one that a name stands for, as an f-string writes it."""
        bound = self._values.get(node.id, []) if isinstance(node, ast.Name) else []
        match bound[0] if len(bound) == 1 else node:
            case ast.Constant(value=int(number)) if (
                not isinstance(number, bool) and number.bit_length() <= _NUMBER
            ):
                return ast.Constant(str(number))
        return node

    def _all(self, nodes: Iterable[ast.expr], seen: frozenset[str]) -> _Texts:
        results = [self._texts(node, seen) for node in nodes]
        return [text for texts, _ in results for text in texts], all(whole for _, whole in results)


class _Column(ast.expr):
    """Of the tuples in `values`, the part at `place`; no syntax of its own."""

    def __init__(self, values: ast.expr, place: int) -> None:
        super().__init__()
        self.values = values
        self.place = place


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield target, value
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value
        case ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.AugAssign(target=target, op=op, value=value):
            yield target, ast.BinOp(target, op, value)
        case ast.Call(func=ast.Attribute(value=target, attr="append"), args=[item]):
            yield target, ast.List([item])
        case ast.arguments():
            yield from _defaults(node)
        case _:
            return


def _defaults(node: ast.arguments) -> Iterator[tuple[ast.expr, ast.expr]]:
    """A parameter has its default, and whatever its callers give: an unknown value besides."""
    places = [*node.posonlyargs, *node.args]
    given: list[ast.expr | None] = [None] * (len(places) - len(node.defaults))
    for place, default in zip(
        [*places, *node.kwonlyargs], [*given, *node.defaults, *node.kw_defaults], strict=True
    ):
        name = ast.Name(place.arg)
        yield name, ast.Await(name)
        if default is not None:
            yield name, default


def _iterations(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.For(target=target, iter=values) | ast.AsyncFor(target=target, iter=values):
            yield target, values
        case ast.comprehension(target=target, iter=values):
            yield target, values
        case _:
            return


def _operands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_operands(node.left), *_operands(node.right)]
    return [node]


def _dotted(node: ast.expr) -> str:
    """`os.environ.get`; empty for what is no name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
        case _:
            return ""


def _key(node: ast.expr) -> str:
    """`a.b.c`; of `self.MODEL` and `Config.MODEL` the attribute alone, since both mean the class's constant."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case _:
            return ""
