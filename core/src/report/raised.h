// What was raised by trials that gave no answer, counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.h"

namespace bitfall {

/// Trials of one outcome whose messages differ in numbers alone.
struct Raised {
  Outcome outcome = Outcome::kCrashed;
  std::string message;  // of the example
  std::int64_t trials = 0;
  std::int64_t example = 0;  // the first of these trials
};

/// The message with # for each number after the name of the step: "2/table: index # is out of
/// bounds for dimension # with size #". Digits within a word stay ("int64_t", "conv#1").
std::string without_numbers(std::string_view message);

class RaisedCount {
 public:
  void add(const TrialResult& trial);
  /// Those of the most trials first, at most `most` of them.
  std::vector<Raised> commonest(std::size_t most) const;
  std::int64_t kinds() const { return static_cast<std::int64_t>(kinds_.size()); }

 private:
  std::map<std::pair<Outcome, std::string>, Raised> kinds_;  // by the message without numbers
};

}  // namespace bitfall
