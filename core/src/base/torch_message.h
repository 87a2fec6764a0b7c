// What LibTorch's exceptions say, without where in whose code.
#pragma once

#include <exception>
#include <string>

namespace bitfall {

/// One line: what TorchScript puts behind its traces, or else the first line.
inline std::string torch_message(const std::exception& error) {
  const std::string text = error.what();
  const std::string opening = "\nRuntimeError: ";
  const auto raised = text.rfind(opening);
  const auto start = raised == text.npos ? 0 : raised + opening.size();
  return text.substr(start, text.find('\n', start) - start);
}

}  // namespace bitfall
