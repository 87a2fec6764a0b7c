// Built with -fsanitize=address, for a program that is not.
#include "echo.h"

namespace {
constexpr bitfall::Component<bitfall::Metric> kEcho{
    "with_asan", "for tests", {}, [](const bitfall::Options&) -> bitfall::Metric* {
      return new bitfall::Echo;
    }};
}  // namespace

BITFALL_PLUGIN("with_asan", "1.0", "needs a runtime that is not there", kEcho);
