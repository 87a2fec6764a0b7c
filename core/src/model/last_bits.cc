#include "last_bits.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace bitfall {

bool varies_by_place(const std::string& function, std::int64_t values) {
  static const std::set<std::string_view> kFunctions = {
      "acos",          "acosh",        "asin",
      "asinh",         "atan",         "atan2",
      "atanh",         "celu",         "cos",
      "cosh",          "digamma",      "elu",
      "erf",           "erfc",         "erfinv",
      "exp",           "exp2",         "expm1",
      "float_power",   "gelu",         "glu",
      "hypot",         "i0",           "lgamma",
      "log",           "log10",        "log1p",
      "log2",          "log_sigmoid",  "logaddexp",
      "logaddexp2",    "logit",        "mish",
      "pow",           "selu",         "sigmoid",
      "silu",          "sin",          "sinc",
      "sinh",          "softplus",     "special_erfcx",
      "special_expit", "special_ndtr", "special_xlog1py",
      "tan",           "tanh",         "xlogy"};
  std::string_view name = function;
  name.remove_prefix(std::min(name.size(), name.find("::") + 2));
  if (name.ends_with('_')) name.remove_suffix(1);
  if (kFunctions.count(name) == 0) return false;
  constexpr std::int64_t kVectors = 64;   // float16 of two vectors of 512 bits
  constexpr std::int64_t kPart = 32'768;  // values that are worth a thread
  const std::int64_t most = std::max<std::int64_t>((values + kPart - 1) / kPart, 1);
  const std::int64_t parts = std::clamp<std::int64_t>(at::get_num_threads(), 1, most);
  return values % kVectors != 0 || (values + parts - 1) / parts % kVectors != 0;
}

}  // namespace bitfall
