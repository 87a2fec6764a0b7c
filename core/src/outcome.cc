#include "outcome.h"

namespace bitfall {

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kMasked:
      return "masked";
    case Outcome::kTop1Same:
      return "top1_same";
    case Outcome::kTop1Changed:
      return "top1_changed";
    case Outcome::kNonfinite:
      return "nonfinite";
  }
  return "unknown";
}

}  // namespace bitfall
