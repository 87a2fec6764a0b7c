"""Mends torch.jit.script in a process that also defines operators.

PyTorch knows its builtin operators by the addresses of their Python objects. When a library defines
an operator that PyTorch has handed out before, as torch.export's first use does, the older object is
freed and its address stays in the table: whatever Python puts there next, such as a method of a
network, is taken for that operator, and scripting ends with "builtin cannot be used as a value".
"""

from torch.jit import _builtins

_kept = []


def keep_builtins() -> None:
    """From now on no object that PyTorch knows by its address is freed."""
    register = _builtins._register_builtin

    def register_and_keep(function, name: str) -> None:
        _kept.append(function)
        register(function, name)

    _builtins._register_builtin = register_and_keep
