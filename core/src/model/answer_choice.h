// Which of a network's results is its answer. No LibTorch type is needed to include this.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bitfall {

/// Which result of forward is the answer.
struct AnswerChoice {
  std::string output;        // its name or number; "1.logits" within another; empty: by what fits
  std::int64_t classes = 0;  // its width; 0 = not known
  std::int64_t labels = 0;   // its width at least
  bool any = false;          // take the first that can be where several can
};

/// Which of a network's results was taken as its answer.
struct AnswerTaken {
  std::string name;                  // "" where forward returns one tensor
  std::vector<std::string> results;  // all, with their shapes
};

}  // namespace bitfall
