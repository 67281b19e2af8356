"""Python models in which there is nothing to find, told by what Python's compiler makes of them.

To read a syntax tree takes longer than to compile the file, and of most models the rules want to know no more than
that they are what they seem. A model that is not plain may be right all the same: its tree is looked at.
"""

from __future__ import annotations

import dis
import inspect
import re
from types import CodeType

_CLASS = "TritonPythonModel"
_AS_USUAL = re.compile(rb"^class TritonPythonModel(?:\(object\))?:", re.MULTILINE)
_DECORATED = re.compile(rb"^\s*@", re.MULTILINE)
# What its own code could give the class, or the rules look for in the tree.
_UNUSUAL = (b"setattr", b"auto_complete_config")
_ARGUMENTS = {"execute": 2, "initialize": 2, "finalize": 1}
_OTHER_KINDS = (
    inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)  # fmt: skip
_OF_EVERY_CLASS = ("__name__", "__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__")
_STORE_NAME = dis.opmap["STORE_NAME"]
_BINDING = (_STORE_NAME, dis.opmap["DELETE_NAME"])


def is_plain(data: bytes, code: CodeType) -> bool:
    """Whether a file that compiles to `code` has one class TritonPythonModel, without bases and decorators, with an
    `execute` of the usual arguments, and no attributes that come another way."""
    if data.count(_CLASS.encode()) != 1 or not _AS_USUAL.search(data) or _DECORATED.search(data):
        return False
    if any(word in data for word in _UNUSUAL):
        return False
    classes = [each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == _CLASS]
    if len(classes) != 1 or any(
        name.startswith("__") and name not in _OF_EVERY_CLASS for name in classes[0].co_names
    ):
        return False
    methods = [each for each in classes[0].co_consts if isinstance(each, CodeType) and each.co_name in _ARGUMENTS]
    names = [method.co_name for method in methods]
    return "execute" in names and all(
        names.count(method.co_name) == 1
        and method.co_argcount == _ARGUMENTS[method.co_name]
        and method.co_kwonlyargcount == 0
        and not method.co_flags & _OTHER_KINDS
        and _is_bound_once(classes[0], method.co_name)
        for method in methods
    )


def _is_bound_once(code: CodeType, name: str) -> bool:
    """Whether a class's body gives a name one meaning and does not take it away."""
    number = code.co_names.index(name)
    steps = zip(code.co_code[::2], code.co_code[1::2], strict=True)
    return number < 256 and [step for step, of in steps if of == number and step in _BINDING] == [_STORE_NAME]
