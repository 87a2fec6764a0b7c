"""Prints arithmetic as Python does it: target, how many operands, the operands, the result or "raises".

usage: make_python_numbers.py
"""

import itertools
import math
import operator
import struct
import warnings

warnings.filterwarnings("ignore")
import torch  # noqa: E402

VALUES = [0, 1, -1, 2, 3, -7, 17, 63, 2**31, -(2**62), 2**63 - 1, -(2**63), True, False,
          0.0, -0.0, 0.5, -2.5, 1e300, -1e-300, 3.0, float("inf"), float("-inf"), float("nan")]  # fmt: skip
TWO = [getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "ne", "lt",
                                            "le", "gt", "ge", "and_", "or_", "lshift", "rshift")]  # fmt: skip
TWO += [torch.sym_max, torch.sym_min]
ONE = [operator.neg, operator.pos, math.trunc, torch.sym_int, torch.sym_float, torch.sym_not, torch.sym_sqrt]


def told(value):
    if isinstance(value, bool):
        return f"b {int(value)}"
    if isinstance(value, int):
        return f"i {value}"
    return f"f {struct.unpack('<q', struct.pack('<d', value))[0]}"


def result(operation, operands):
    try:
        value = operation(*operands)
    except (ArithmeticError, ValueError, TypeError):
        return "raises"
    if not isinstance(value, (bool, int, float)) or (isinstance(value, int) and abs(value) >= 2**63 and value != -(2**63)):
        return "raises"  # complex, or more than 64 bits
    return told(value)


def print_all(operation, operands):
    name = f"{operation.__module__}.{operation.__name__}"
    print(name, len(operands), *map(told, operands), result(operation, operands))


def main():
    for operation, operands in itertools.product(TWO, itertools.product(VALUES, VALUES)):
        a, b = operands
        if operation is operator.pow and isinstance(b, int) and abs(b) > 64:
            continue  # Python would compute all its digits
        if operation is operator.lshift and isinstance(b, int) and b > 64:
            continue
        if operation is operator.rshift and isinstance(b, int) and b > 2**40:
            continue
        print_all(operation, (a, b))
    for operation, value in itertools.product(ONE, VALUES):
        print_all(operation, (value,))
    for condition in (True, False, 0, 2):
        print_all(torch.sym_ite, (bool(condition), 3, 4))


if __name__ == "__main__":
    main()
