// How the reports lay out text.
#pragma once

#include <string>

#include "report.h"
#include "report_table.h"

namespace bitfall {

/// At most `width` characters, the end of a long name being kept, since it tells more than its
/// start:
/// "...attn/linear#2".
std::string shortened(const std::string& name, std::size_t width);

/// Broken between words into lines of at most `width`; later lines start with `indent`. Ends with a
/// line end.
std::string wrapped(const std::string& text, std::size_t width, const std::string& indent);

/// What trials without an answer raised, a row per message.
ReportTable raised_table(const ReportData& data);

/// With what Markdown would read as markup escaped.
std::string markdown_text(const std::string& text);

}  // namespace bitfall
