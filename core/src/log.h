// Messages for people, on stderr. spdlog stays behind this header (it cannot share a file with LibTorch).
#pragma once

#include <string>

namespace bitfall {

void log_info(const std::string& message);
void log_warning(const std::string& message);
/// Quiet: warnings only.
void set_quiet(bool quiet);

}  // namespace bitfall
