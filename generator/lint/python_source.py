"""A Python model's file as it can be read without running it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.util import decode_source
from typing import TYPE_CHECKING

from generator.lint.plain_python import is_plain
from generator.problems import Place

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig
    from generator.lint.model import Model

CLASS = "TritonPythonModel"
_LARGEST_BYTES = 4 << 20
_RUNS = frozenset({"run", "predict", "infer", "forward", "generate", "encode"})
_RUNNERS = frozenset({"model", "net", "network", "session", "engine", "module", "pipeline"})
_RUN_WORDS = tuple(f".{word}".encode() for word in sorted(_RUNS | _RUNNERS))
Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = ast.If | ast.Try | ast.With | ast.For | ast.While | ast.Match | ast.TryStar


@dataclass(frozen=True)
class Mistake:
    """Why a file is no Python; line and column count from 1."""

    message: str
    line: int
    column: int


@dataclass(frozen=True)
class Parsed:
    """What stands in a file. `model_class` is the class that Triton makes instances of, if it is one that can be
    read here; `names_class` says whether something of that name is there at all, or may come with an import. Of one
    that `is_plain` there is nothing more to tell."""

    mistake: Mistake | None = None
    tree: ast.Module | None = None
    model_class: ast.ClassDef | None = None
    names_class: bool = True
    is_plain: bool = False
    text: bytes = field(default=b"", repr=False)

    def method(self, name: str) -> Function | None:
        """A method as the class's own body defines it last; None where it does not, or not by `def`."""
        found = None
        for node in self.model_class.body if self.model_class else ():
            if isinstance(node, Function):
                found = node if node.name == name else found
            elif name in _bound(node):
                found = None
        return found

    def says(self, *words: bytes) -> bool:
        """Whether one of the words stands in the file at all: to look for it in the tree takes longer."""
        return any(word in self.text for word in words)

    def may_have(self, name: str) -> bool:
        """Whether the class may have an attribute: its own, or one that another class or code gives it."""
        if self.is_plain:
            return name == "execute"
        if self.model_class is None:
            return self.names_class
        if not self.is_mixed and not self.says(name.encode(), b"setattr"):
            return False
        if self.is_mixed or any(name in _bound(node) for node in self.model_class.body):
            return True
        return any(_sets_attribute(node, name) for node in ast.walk(self.tree)) if self.tree else False

    @cached_property
    def execute_yields(self) -> bool:
        """Whether `execute` is a generator."""
        method = self.method("execute") if self.says(b"yield") else None
        return method is not None and yields(method)

    @cached_property
    def run_in_loop(self) -> ast.Call | None:
        """Where `execute` runs a model which the instance holds once for each of its requests."""
        method = self.method("execute") if self.says(*_RUN_WORDS) else None
        arguments = [] if method is None else method.args.args
        if method is None or len(arguments) < 2:
            return None
        loops = [
            node for node in own_nodes(method) if isinstance(node, ast.For) and _names(node.iter, arguments[1].arg)
        ]
        inner = (node for loop in loops for statement in loop.body for node in ast.walk(statement))
        return next((node for node in inner if isinstance(node, ast.Call) and _runs(node)), None)

    @cached_property
    def lines(self) -> list[str]:
        """Its lines, decoded as Python does it."""
        return decode_source(self.text).split("\n")

    @property
    def is_mixed(self) -> bool:
        """Whether other classes, a metaclass or a decorator have a say in it."""
        shape = self.model_class
        if shape is None:
            return True
        bases = [base for base in shape.bases if not (isinstance(base, ast.Name) and base.id == "object")]
        return bool(bases or shape.keywords or shape.decorator_list)


@dataclass(frozen=True)
class Source:
    """The file of one version, and where places say that it stands."""

    parsed: Parsed
    file: str
    version: int

    @property
    def may_complete(self) -> bool:
        """Whether the server may find an `auto_complete_config`; its Python may read what this one cannot."""
        if self.parsed.mistake is not None:
            return self.parsed.says(b"auto_complete_config")
        return self.parsed.may_have("auto_complete_config")

    def place(self, node: ast.AST | None) -> Place:
        """Where a node stands; the file where there is none."""
        line = getattr(node, "lineno", 0)
        if not line:
            return Place(self.file)
        # The tree counts bytes of UTF-8, whatever the file's own encoding is.
        before = "".join(self.parsed.lines[line - 1 : line]).encode("utf-8")[: getattr(node, "col_offset", 0)]
        return Place(self.file, line, len(before.decode("utf-8", "ignore")) + 1)


def sources(model: Model, config: ModelConfig) -> list[Source]:
    """The files of the versions that the server would load, the newest first; those that cannot be read are left
    out, another rule tells of them."""
    name = config.default_model_filename or "model.py"
    if name not in model.python_files:
        model.python_files[name] = list(_sources(model, name))
    return model.python_files[name]


def _sources(model: Model, name: str) -> Iterator[Source]:
    for version in model.served:
        place = version.folder.find(name)
        if place is None or not place[0].has_file(place[1]):
            continue
        try:
            data = place[0].read(place[1], _LARGEST_BYTES)
        except OSError:
            continue
        if len(data) == _LARGEST_BYTES:
            continue  # hardly a program, and cut off it would not be one
        yield Source(parse(data), place[0].shown(place[1]), version.number)


@lru_cache(maxsize=16)
def parse(data: bytes) -> Parsed:
    """What a file says; nothing of it is run. Of one that Python itself cannot cope with (too deep), nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(data, "model.py", "exec", dont_inherit=True)
            if not any(word in data for word in _RUN_WORDS) and is_plain(data, code):
                return Parsed(is_plain=True)
            tree = ast.parse(data)
    except SyntaxError as error:
        return Parsed(Mistake(error.msg, error.lineno or 1, error.offset or 1), text=data)
    except ValueError as error:
        return Parsed(Mistake(str(error), 1, 1), text=data)
    except (RecursionError, MemoryError):
        return Parsed()
    if _is_deleted(tree):
        return Parsed(None, tree, None, False, text=data)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == CLASS]
    own = classes[-1] if classes else None
    others = [node for node in tree.body if node is not own and CLASS in _bound(node)]
    if others and (own is None or tree.body.index(others[-1]) > tree.body.index(own)):
        own = None
    return Parsed(None, tree, own, own is not None or bool(others) or _may_bind(tree), text=data)


def _is_deleted(tree: ast.Module) -> bool:
    """Whether the last statement about the class at the file's top takes it away."""
    last = next((node for node in reversed(tree.body) if isinstance(node, ast.Delete) or CLASS in _bound(node)), None)
    targets = last.targets if isinstance(last, ast.Delete) else []
    return any(isinstance(target, ast.Name) and target.id == CLASS for target in targets)


def _may_bind(tree: ast.Module) -> bool:
    """Whether code of the file may make the class in a way that is not seen at its top."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
        if isinstance(node, ast.Name) and node.id in ("globals", "exec", "setattr", "vars", "__getattr__"):
            return True
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            return True
        # What is told the module's name may put anything into the module, as what unpacks a hidden file does.
        if isinstance(node, ast.Call) and any(isinstance(a, ast.Name) and a.id == "__name__" for a in node.args):
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("modules", "__dict__"):
            return True
        if CLASS in _bound_itself(node):
            return True
    return False


def _bound(node: ast.AST) -> set[str]:
    """The names that a statement gives a meaning, with all statements inside it."""
    if isinstance(node, _BLOCKS):
        return {name for inner in ast.walk(node) for name in _bound_itself(inner)}
    return _bound_itself(node)


def _bound_itself(node: ast.AST) -> set[str]:
    """The names that a statement gives a meaning, not those that statements inside it do."""
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Global):
        return set(node.names)
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = [node.target]
    elif isinstance(node, ast.Expr):
        targets = [inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr)]
    return {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}


def _sets_attribute(node: ast.AST, name: str) -> bool:
    """Whether a node assigns `….name = …` or calls `setattr`."""
    if isinstance(node, ast.Attribute):
        return node.attr == name and isinstance(node.ctx, ast.Store)
    return isinstance(node, ast.Name) and node.id == "setattr"


def own_nodes(method: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    left: list[ast.AST] = list(reversed(method.body))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            left.extend(reversed(list(ast.iter_child_nodes(node))))


def yields(method: Function) -> bool:
    """Whether a call gives a generator."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(method))


def returns(method: Function) -> bool:
    """Whether a call can give anything but None."""
    values = (node.value for node in own_nodes(method) if isinstance(node, ast.Return))
    return any(not (value is None or (isinstance(value, ast.Constant) and value.value is None)) for value in values)


def _names(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _runs(call: ast.Call) -> bool:
    """`self.session.run(…)`, `self.model(…)`: a call that runs a model which the instance holds."""
    if not isinstance(call.func, ast.Attribute):
        return False
    function, root = call.func, call.func.value
    while isinstance(root, ast.Attribute):
        root = root.value
    is_self = isinstance(root, ast.Name) and root.id == "self"
    held = isinstance(function.value, ast.Attribute)
    return is_self and ((held and function.attr in _RUNS) or (not held and function.attr in _RUNNERS))


def unbound(method: Function, arguments: int) -> int:
    """How many arguments a method gets that is called with `arguments` on an instance."""
    names = {each.id for each in method.decorator_list if isinstance(each, ast.Name)}
    return arguments if "staticmethod" in names else arguments + 1


def takes(method: Function, count: int) -> bool | None:
    """Whether a function can be called with that many positional arguments; None under a decorator that may change
    that."""
    if any(not isinstance(d, ast.Name) or d.id not in ("staticmethod", "classmethod") for d in method.decorator_list):
        return None
    arguments = method.args
    named = len(arguments.posonlyargs) + len(arguments.args)
    if any(default is None for default in arguments.kw_defaults):
        return False
    return named - len(arguments.defaults) <= count and (count <= named or arguments.vararg is not None)


def certain_calls(method: Function) -> list[tuple[ast.Call, str, list[object]]]:
    """The calls of methods of a function's last argument that happen whenever it is called, in order: the node, the
    method's name and those arguments that are literals or names of literals."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    literals: dict[str, object] = {}
    calls = []
    for statement in method.body if arguments else ():
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(statement, ast.Return | ast.Raise):
            break
        if isinstance(call, ast.Constant):
            continue  # a docstring
        if isinstance(call, ast.Call) and _is_method_of(call, arguments[-1].arg):
            assert isinstance(call.func, ast.Attribute)  # noqa: S101 - for the type checker
            calls.append((call, call.func.attr, [_literal(each, literals) for each in call.args]))
        elif isinstance(statement, ast.Assign) and all(isinstance(each, ast.Name) for each in statement.targets):
            for target in statement.targets:
                literals[getattr(target, "id", "")] = _literal(statement.value, {})
        else:
            literals = {}  # what happens in there may change anything that has a name
    return calls


def _is_method_of(call: ast.Call, name: str) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == name


def _literal(node: ast.expr, literals: dict[str, object]) -> object:
    """The value of an argument; None where it cannot be read."""
    if isinstance(node, ast.Name):
        return literals.get(node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None
