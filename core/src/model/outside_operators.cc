#include "outside_operators.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>

namespace bitfall {
namespace {

constexpr std::array<std::string_view, 2> kOperators = {"aten::save", "aten::from_file"};
// All of a namespace.
constexpr std::array<std::string_view, 5> kNamespaces = {
    "c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "debugprims"};
// As TorchScript prints them, beside torch.NAME of aten and ops.NAMESPACE.NAME.
constexpr std::array<std::string_view, 3> kRemote = {"rpc_async", "rpc_sync", "rpc_remote"};

bool is_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
}

/// "torch.save" as "aten::save", "ops.c10d.send" as "c10d::send"; empty for what is no operator.
std::string operator_of(std::string_view word) {
  const auto without = [&](std::string_view prefix) {
    return std::string(word.substr(prefix.size()));
  };
  if (word.starts_with("torch.")) return "aten::" + without("torch.");
  if (!word.starts_with("ops.")) return "";
  const std::string path = without("ops.");
  const std::size_t dot = path.find('.');
  return dot == path.npos ? "" : path.substr(0, dot) + "::" + path.substr(dot + 1);
}

/// Where a text in quotes that begins at `from` ends.
std::size_t end_of_text(std::string_view code, std::size_t from) {
  const char quote = code[from];
  for (std::size_t at = from + 1; at < code.size(); ++at) {
    if (code[at] == '\\') {
      ++at;
    } else if (code[at] == quote) {
      return at + 1;
    }
  }
  return code.size();
}

}  // namespace

bool acts_outside(std::string_view operation) {
  const std::string_view name = operation.substr(0, operation.find('.'));  // without the overload
  if (std::find(kOperators.begin(), kOperators.end(), name) != kOperators.end()) return true;
  if (name.starts_with("prim::rpc_")) return true;
  const std::size_t colons = name.find("::");
  return colons != name.npos && std::find(kNamespaces.begin(), kNamespaces.end(),
                                          name.substr(0, colons)) != kNamespaces.end();
}

std::string outside_use(std::string_view code) {
  for (std::size_t at = 0; at < code.size();) {
    const char c = code[at];
    if (c == '"' || c == '\'') {
      at = end_of_text(code, at);
    } else if (c == '#') {
      at = std::min(code.find('\n', at), code.size());
    } else if (is_name(c)) {
      std::size_t end = at;
      while (end < code.size() && is_name(code[end])) ++end;
      const std::string_view word = code.substr(at, end - at);
      const bool remote = std::find(kRemote.begin(), kRemote.end(), word) != kRemote.end();
      if (remote || acts_outside(operator_of(word))) {
        const auto line =
            1 + std::count(code.begin(), code.begin() + static_cast<std::ptrdiff_t>(at), '\n');
        return std::string(word) + " in line " + std::to_string(line);
      }
      at = end;
    } else {
      ++at;
    }
  }
  return "";
}

}  // namespace bitfall
