// What `bitfall head` prints of a head.
#pragma once

#include <string>

#include "head_report.h"

namespace bitfall {

std::string head_report_text(const HeadReport& report);
/// {"schema":"bitfall.head/1", ...}
std::string head_report_json(const HeadReport& report);

}  // namespace bitfall
