#include "python_numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <unordered_map>

namespace bitfall {
namespace {
namespace python {

using Operands = std::vector<c10::IValue>;

[[noreturn]] void fail(const char* what) { throw std::invalid_argument(what); }

const c10::IValue& operand(const Operands& operands, std::size_t i) {
  if (i >= operands.size()) fail("arithmetic on sizes lacks an operand");
  return operands[i];
}

bool is_real(const c10::IValue& value) { return value.isDouble(); }

std::int64_t whole(const c10::IValue& value) {
  if (value.isBool()) return value.toBool() ? 1 : 0;
  if (value.isInt()) return value.toInt();
  fail("arithmetic on sizes has an operand that is no whole number");
}

double real(const c10::IValue& value) {
  return value.isDouble() ? value.toDouble() : static_cast<double>(whole(value));
}

bool truth(const c10::IValue& value) {
  return is_real(value) ? real(value) != 0 : whole(value) != 0;
}

// Both exact: as many bits as either type has.
long double exact(const c10::IValue& value) {
  return is_real(value) ? static_cast<long double>(real(value))
                        : static_cast<long double>(whole(value));
}

std::int64_t whole_of(double value) {
  constexpr double kBeyond = 9223372036854775808.0;  // 2^63
  if (!(value >= -kBeyond && value < kBeyond)) fail("cannot convert float to a 64-bit integer");
  return static_cast<std::int64_t>(value);
}

bool both_whole(const Operands& o) { return !is_real(operand(o, 0)) && !is_real(operand(o, 1)); }

template <typename Whole, typename Real>
c10::IValue arithmetic(const Operands& o, Whole on_whole, Real on_real) {
  if (!both_whole(o)) return on_real(real(o[0]), real(o[1]));
  std::int64_t result = 0;
  if (on_whole(whole(o[0]), whole(o[1]), &result)) fail("a size is beyond 64 bits");
  return result;
}

c10::IValue add(const Operands& o) {
  return arithmetic(
      o,
      [](std::int64_t a, std::int64_t b, std::int64_t* r) {
        return __builtin_add_overflow(a, b, r);
      },
      [](double a, double b) { return a + b; });
}

c10::IValue sub(const Operands& o) {
  return arithmetic(
      o,
      [](std::int64_t a, std::int64_t b, std::int64_t* r) {
        return __builtin_sub_overflow(a, b, r);
      },
      [](double a, double b) { return a - b; });
}

bool multiply(std::int64_t a, std::int64_t b, std::int64_t* r) {
  return __builtin_mul_overflow(a, b, r);
}

c10::IValue mul(const Operands& o) {
  return arithmetic(o, multiply, [](double a, double b) { return a * b; });
}

c10::IValue truediv(const Operands& o) {
  const double a = real(operand(o, 0)), b = real(operand(o, 1));
  if (b == 0) fail("division by zero");
  return a / b;
}

// Towards minus infinity; the remainder has the divisor's sign.
bool floor_divide(std::int64_t a, std::int64_t b, std::int64_t* r) {
  if (b == 0) fail("integer division or modulo by zero");
  if (a == std::numeric_limits<std::int64_t>::min() && b == -1) return true;
  *r = a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
  return false;
}

double remainder(double a, double b) {
  if (b == 0) fail("float modulo");
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

c10::IValue floordiv(const Operands& o) {
  return arithmetic(o, floor_divide, [](double a, double b) {  // as CPython's _float_div_mod
    if (b == 0) fail("float floor division by zero");
    const double rest = std::fmod(a, b);
    double quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return std::copysign(0.0, a / b);
    const double floored = std::floor(quotient);
    return quotient - floored > 0.5 ? floored + 1 : floored;
  });
}

c10::IValue mod(const Operands& o) {
  return arithmetic(
      o,
      [](std::int64_t a, std::int64_t b, std::int64_t* r) {
        if (b == 0) fail("integer division or modulo by zero");
        *r = b == -1 ? 0 : a % b;
        if (*r != 0 && (*r < 0) != (b < 0)) *r += b;
        return false;
      },
      remainder);
}

c10::IValue pow(const Operands& o) {
  if (!both_whole(o) || whole(o[1]) < 0) {
    const double base = real(o[0]), exponent = real(o[1]);
    if (base == 0 && exponent < 0 && std::isfinite(exponent)) {
      fail("0.0 cannot be raised to a negative power");
    }
    const bool finite = std::isfinite(base) && std::isfinite(exponent);
    if (finite && base < 0 && exponent != std::floor(exponent)) fail("a power is a complex number");
    const double result = std::pow(base, exponent);
    if (finite && std::isinf(result)) fail("numerical result out of range");
    return result;
  }
  std::int64_t base = whole(o[0]), result = 1;
  for (std::int64_t left = whole(o[1]); left > 0; left >>= 1) {
    if ((left & 1) != 0 && multiply(result, base, &result)) fail("a size is beyond 64 bits");
    if (left > 1 && multiply(base, base, &base)) fail("a size is beyond 64 bits");
  }
  return result;
}

c10::IValue neg(const Operands& o) {
  if (is_real(operand(o, 0))) return -real(o[0]);
  return sub({std::int64_t{0}, o[0]});
}

c10::IValue pos(const Operands& o) {
  if (is_real(operand(o, 0))) return o[0];
  return whole(o[0]);
}

template <typename Whole>
c10::IValue bitwise(const Operands& o, Whole on_whole) {
  const bool truths = operand(o, 0).isBool() && operand(o, 1).isBool();
  const std::int64_t result = on_whole(whole(o[0]), whole(o[1]));
  if (truths) return result != 0;
  return result;
}

std::int64_t shift_of(const Operands& o) {
  const std::int64_t shift = whole(operand(o, 1));
  if (shift < 0) fail("negative shift count");
  return shift;
}

c10::IValue lshift(const Operands& o) {
  const std::int64_t shift = shift_of(o);
  const std::int64_t value = whole(o[0]);
  if (value == 0) return value;
  const std::int64_t most = shift > 63 ? 0 : std::numeric_limits<std::int64_t>::max() >> shift;
  if (shift > 63 || value > most || value < -most - 1) fail("a size is beyond 64 bits");
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << shift);
}

c10::IValue rshift(const Operands& o) {
  return whole(operand(o, 0)) >> std::min<std::int64_t>(shift_of(o), 63);
}

c10::IValue to_whole(const Operands& o) {
  return is_real(operand(o, 0)) ? whole_of(std::trunc(real(o[0]))) : whole(o[0]);
}

// Python's max(a, b), of one type as torch.sym_max makes them.
c10::IValue larger(const Operands& o) {
  if (both_whole(o)) return exact(o[1]) > exact(o[0]) ? o[1] : o[0];
  return real(o[1]) > real(o[0]) ? real(o[1]) : real(o[0]);
}

c10::IValue smaller(const Operands& o) {
  if (both_whole(o)) return exact(o[1]) < exact(o[0]) ? o[1] : o[0];
  return real(o[1]) < real(o[0]) ? real(o[1]) : real(o[0]);
}

c10::IValue root(const Operands& o) {
  const double value = real(operand(o, 0));
  if (value < 0) fail("math domain error");
  return std::sqrt(value);
}

template <typename Compare>
c10::IValue compare(const Operands& o, Compare holds) {
  return holds(exact(operand(o, 0)), exact(operand(o, 1)));
}

}  // namespace python
}  // namespace

PythonNumber python_number(const std::string& target) {
  using namespace python;
  using Exact = long double;
  static const std::unordered_map<std::string, PythonNumber> kOperations = {
      {"_operator.add", add},
      {"_operator.sub", sub},
      {"_operator.mul", mul},
      {"_operator.truediv", truediv},
      {"_operator.floordiv", floordiv},
      {"_operator.mod", mod},
      {"_operator.pow", pow},
      {"_operator.neg", neg},
      {"_operator.pos", pos},
      {"_operator.lshift", lshift},
      {"_operator.rshift", rshift},
      {"_operator.and_",
       [](const Operands& o) {
         return bitwise(o, [](std::int64_t a, std::int64_t b) { return a & b; });
       }},
      {"_operator.or_",
       [](const Operands& o) {
         return bitwise(o, [](std::int64_t a, std::int64_t b) { return a | b; });
       }},
      {"_operator.eq",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a == b; }); }},
      {"_operator.ne",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a != b; }); }},
      {"_operator.lt",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a < b; }); }},
      {"_operator.le",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a <= b; }); }},
      {"_operator.gt",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a > b; }); }},
      {"_operator.ge",
       [](const Operands& o) { return compare(o, [](Exact a, Exact b) { return a >= b; }); }},
      {"math.trunc", to_whole},
      {"torch.sym_int", to_whole},
      {"torch.sym_float", [](const Operands& o) { return c10::IValue(real(operand(o, 0))); }},
      {"torch.sym_not", [](const Operands& o) { return c10::IValue(!truth(operand(o, 0))); }},
      {"torch.sym_ite",
       [](const Operands& o) {
         const c10::IValue &yes = operand(o, 1), &no = operand(o, 2);
         return truth(o[0]) ? yes : no;
       }},
      {"torch.sym_max", larger},
      {"torch.sym_min", smaller},
      {"torch._sym_sqrt", root}};
  const auto found = kOperations.find(target);
  return found == kOperations.end() ? nullptr : found->second;
}

}  // namespace bitfall
