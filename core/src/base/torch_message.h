// What LibTorch's exceptions say, without where in whose code.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace bitfall {

/// One line: what TorchScript puts behind its traces, or else the first line that says something.
inline std::string torch_message(const std::exception& error) {
  const std::string text = error.what();
  const auto line_at = [&](std::size_t start) {
    return text.substr(start, text.find('\n', start) - start);
  };
  const std::string opening = "\nRuntimeError: ";
  if (const auto raised = text.rfind(opening); raised != text.npos) {
    return line_at(raised + opening.size());
  }
  constexpr const char* kBlank = " \t\r\n";
  if (text.starts_with("The following operation failed in the TorchScript interpreter.")) {
    const auto end = text.find_last_not_of(kBlank);  // the model's own exception stands last
    if (end == text.npos) return text;
    std::string last = text.substr(0, end + 1);
    last = last.substr(last.rfind('\n') + 1);
    constexpr std::string_view kBuiltins = "builtins.";
    return last.starts_with(kBuiltins) ? last.substr(kBuiltins.size()) : last;
  }
  const auto first = text.find_first_not_of(kBlank);
  return first == text.npos ? "no reason is given" : line_at(first);
}

}  // namespace bitfall
