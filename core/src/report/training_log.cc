#include "training_log.h"

#include <charconv>
#include <sstream>

#include "error.h"
#include "exact_text.h"

namespace bitfall {
namespace {

struct Column {
  const char* name;
  double (*get)(const EpochResult&);
  void (*set)(EpochResult&, double);
};

#define BITFALL_COLUMN(field)                                                    \
  {                                                                              \
#field, [](const EpochResult& row) { return static_cast<double>(row.field); }, \
   [](EpochResult& row, double value) { row.field = static_cast<decltype(row.field)>(value); } \
  }

constexpr Column kColumns[] = {
    BITFALL_COLUMN(epoch),
    BITFALL_COLUMN(step),
    BITFALL_COLUMN(learning_rate),
    BITFALL_COLUMN(loss),
    BITFALL_COLUMN(accuracy),
    BITFALL_COLUMN(validation_loss),
    BITFALL_COLUMN(validation_accuracy),
    BITFALL_COLUMN(seconds),
    BITFALL_COLUMN(images_per_second),
    BITFALL_COLUMN(waited_seconds),
};

#undef BITFALL_COLUMN

std::string header() {
  std::string text;
  for (const Column& column : kColumns)
    text += (text.empty() ? "" : ",") + std::string(column.name);
  return text;
}

}  // namespace

std::string training_csv(std::span<const EpochResult> epochs) {
  std::string text = header() + "\n";
  for (const EpochResult& row : epochs) {
    std::string line;
    for (const Column& column : kColumns) {
      line += (line.empty() ? "" : ",") + exact_text(column.get(row));
    }
    text += line + "\n";
  }
  return text;
}

std::vector<EpochResult> parse_training_csv(const std::string& text, const std::string& name) {
  const auto broken = [&] { return Error(ExitCode::kInput, name + ": is no training log"); };
  std::stringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != header()) throw broken();
  std::vector<EpochResult> epochs;
  while (std::getline(lines, line)) {
    std::stringstream fields(line);
    epochs.emplace_back();
    for (const Column& column : kColumns) {
      std::string field;
      double value = 0;
      if (!std::getline(fields, field, ',')) throw broken();
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
      if (error != std::errc() || end != field.data() + field.size()) throw broken();
      column.set(epochs.back(), value);
    }
  }
  return epochs;
}

}  // namespace bitfall
