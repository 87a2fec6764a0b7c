#include "training_log.h"

#include <cmath>
#include <sstream>
#include <type_traits>
#include <variant>

#include "error.h"
#include "numbers.h"

namespace bitfall {
namespace {

struct LogField {
  const char* name;
  std::variant<std::int64_t EpochResult::*, double EpochResult::*> member;
};

constexpr LogField kFields[] = {
    {"epoch", &EpochResult::epoch},
    {"step", &EpochResult::step},
    {"learning_rate", &EpochResult::learning_rate},
    {"loss", &EpochResult::loss},
    {"accuracy", &EpochResult::accuracy},
    {"validation_loss", &EpochResult::validation_loss},
    {"validation_accuracy", &EpochResult::validation_accuracy},
    {"seconds", &EpochResult::seconds},
    {"images_per_second", &EpochResult::images_per_second},
    {"waited_seconds", &EpochResult::waited_seconds},
};

std::string header() {
  std::string text;
  for (const LogField& field : kFields) {
    text += (text.empty() ? "" : ",") + std::string(field.name);
  }
  return text;
}

}  // namespace

std::string training_csv(std::span<const EpochResult> epochs) {
  std::string text = header() + "\n";
  for (const EpochResult& row : epochs) {
    std::string line;
    for (const LogField& field : kFields) {
      line += line.empty() ? "" : ",";
      std::visit([&](auto member) { line += exact_text(static_cast<double>(row.*member)); },
                 field.member);
    }
    text += line + "\n";
  }
  return text;
}

std::vector<EpochResult> parse_training_csv(const std::string& csv, const std::string& name) {
  const auto broken = [&] { return Error(ExitCode::kInput, name + ": is not a training log"); };
  std::stringstream lines(csv);
  std::string line;
  if (!std::getline(lines, line) || line != header()) throw broken();
  std::vector<EpochResult> epochs;
  while (std::getline(lines, line)) {
    std::stringstream texts(line);
    EpochResult& row = epochs.emplace_back();
    for (const LogField& field : kFields) {
      std::string text;
      if (!std::getline(texts, text, ',')) throw broken();
      const auto value = parse_number(text);
      if (!value) throw broken();
      std::visit(
          [&](auto member) {
            using Member = std::remove_reference_t<decltype(row.*member)>;
            if constexpr (std::is_integral_v<Member>) {
              constexpr double kMost = 0x1p53;
              if (!(*value >= 0 && *value < kMost) || *value != std::floor(*value)) throw broken();
            }
            row.*member = static_cast<Member>(*value);
          },
          field.member);
    }
  }
  return epochs;
}

}  // namespace bitfall
