"""Small changes to a module's source: each mutant is the module with exactly one of them.

The operators are the usual ones (comparison, arithmetic, constant, condition, statement, argument) and two of this
pipeline's own: a table or a field in place of its sibling, and an element that is missing from a tuple, list or dict -
a flow, a match, an action.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Edit = Callable[[ast.AST], ast.AST | None]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_SIBLINGS = (("EGRESS", "INGRESS"), ("SOURCE", "DESTINATION"), ("_SRC", "_DST"), ("_SHA", "_THA"), ("_SPA", "_TPA"))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change; ``line`` is where, ``before`` that line, ``change`` what was done to it."""

    path: Path
    line: int
    before: str
    change: str
    number: int
    edit: Edit

    @property
    def module(self) -> str:
        """Dotted name of the module."""
        return ".".join(self.path.with_suffix("").parts)

    def source(self, text: str) -> str:
        """The changed module, of the source ``text`` that the mutant was made from."""
        tree = ast.parse(text)
        _replace(tree, self.number, self.edit)
        return ast.unparse(ast.fix_missing_locations(tree))


def mutants(path: Path, text: str) -> Iterator[Mutant]:
    """Every mutant of the module at ``path`` (relative to the root) with source ``text``."""
    tree = ast.parse(text)
    lines, passed_over = text.splitlines(), _passed_over(tree)
    for number, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", None)
        if line is not None and id(node) not in passed_over:
            for change, edit in _edits(node):
                yield Mutant(path, line, lines[line - 1].strip(), change, number, edit)


def _passed_over(tree: ast.Module) -> set[int]:
    """Nodes whose change changes nothing that runs: annotations, docstrings, decorators, words of errors, imports."""
    found: set[int] = set()
    for node in ast.walk(tree):
        skipped: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            each = [*node.args.args, *node.args.kwonlyargs]
            skipped = [node.returns, *node.decorator_list, *(argument.annotation for argument in each)]
        elif isinstance(node, ast.ClassDef):
            skipped = [*node.decorator_list]
        elif isinstance(node, ast.AnnAssign):
            skipped = [node.annotation]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped = [node]
        elif isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            skipped = [*ast.iter_child_nodes(node)]
        found |= {id(each) for top in skipped if top is not None for each in ast.walk(top)}
    return found


def _replace(tree: ast.Module, number: int, edit: Edit) -> None:
    target = next(node for position, node in enumerate(ast.walk(tree)) if position == number)

    class Replacing(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return edit(node) if node is target else super().generic_visit(node)

    Replacing().visit(tree)


def _edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    if isinstance(node, ast.Compare):
        yield from _of_comparison(node)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        yield from _of_operation(node)
    elif isinstance(node, ast.BoolOp):
        yield "and <-> or", lambda old: _with(old, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
        yield "operator dropped", lambda old: getattr(old, "operand", None)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare):
        yield "condition negated", _negated
    elif isinstance(node, ast.Tuple | ast.List | ast.Set) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        yield from _of_elements(node)
    elif isinstance(node, ast.Dict):
        yield from _of_entries(node)
    elif isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Continue):
        yield "statement dropped", lambda _: ast.Pass()
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield from _of_name(node)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    for name, value in changes.items():
        setattr(node, name, value)
    return node


def _of_comparison(node: ast.Compare) -> Iterator[tuple[str, Edit]]:
    for position, operator in enumerate(node.ops):
        other = _COMPARISONS[type(operator)]
        ops = [*node.ops[:position], other(), *node.ops[position + 1 :]]
        yield f"{type(operator).__name__} -> {other.__name__}", lambda old, ops=ops: _with(old, ops=ops)  # type: ignore[misc]


def _of_operation(node: ast.BinOp) -> Iterator[tuple[str, Edit]]:
    other = _OPERATIONS[type(node.op)]
    yield f"{type(node.op).__name__} -> {other.__name__}", lambda old: _with(old, op=other())


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, Edit]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", lambda _: ast.Constant(not value)
    elif isinstance(value, int):
        yield f"{value} -> {value + 1}", lambda _: ast.Constant(value + 1)
    elif isinstance(value, bytes) and value:
        yield "bytes changed", lambda _: ast.Constant(bytes([value[0] ^ 1]) + value[1:])


def _of_elements(node: ast.Tuple | ast.List | ast.Set) -> Iterator[tuple[str, Edit]]:
    for position, element in enumerate(node.elts):
        rest = [each for place, each in enumerate(node.elts) if place != position]
        if rest or not isinstance(node, ast.Set):
            text = ast.unparse(element)
            yield f"without {text}", lambda old, position=position: _without(old, "elts", position)  # type: ignore[misc]


def _of_entries(node: ast.Dict) -> Iterator[tuple[str, Edit]]:
    for position, key in enumerate(node.keys):
        text = "**" if key is None else ast.unparse(key)

        def edit(old: ast.AST, position: int = position) -> ast.AST:
            return _without(_without(old, "keys", position), "values", position)

        yield f"without entry {text}", edit


def _without(node: ast.AST, name: str, position: int) -> ast.AST:
    del getattr(node, name)[position]
    return node


def _of_call(node: ast.Call) -> Iterator[tuple[str, Edit]]:
    for position, keyword in enumerate(node.keywords):
        if keyword.arg:
            yield (
                f"without argument {keyword.arg}",
                lambda old, position=position: _without(old, "keywords", position),  # type: ignore[misc]
            )
    two = [ast.dump(each) for each in node.args[:2] if not isinstance(each, ast.Starred)]
    if len(two) == 2 and two[0] != two[1]:
        yield f"first two arguments of {ast.unparse(node.func)} swapped", _swapped


def _negated(node: ast.AST) -> ast.AST:
    if not isinstance(node, ast.If | ast.IfExp | ast.While):
        raise TypeError(node)
    return _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _swapped(node: ast.AST) -> ast.AST:
    if not isinstance(node, ast.Call):
        raise TypeError(node)
    first, second, *rest = node.args
    return _with(node, args=[second, first, *rest])


def _of_name(node: ast.Attribute) -> Iterator[tuple[str, Edit]]:
    for pair in _SIBLINGS:
        for one, other in (pair, pair[::-1]):
            # INGRESS is no part of EGRESS, but both end alike.
            if one in node.attr and not (one == "EGRESS" and "INGRESS" in node.attr):
                name = node.attr.replace(one, other)
                yield f"{node.attr} -> {name}", lambda old, name=name: _with(old, attr=name)  # type: ignore[misc]
                return
