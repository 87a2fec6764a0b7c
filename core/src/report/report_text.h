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

/// All plugins that were loaded; of the program's own only those in use, and hashes cut short,
/// unless `whole`.
ReportTable provenance_table(const RunFacts& facts, bool whole);

/// What trials without an answer raised, a row per message.
ReportTable raised_table(const ReportData& data);

/// Every column of every metric, a row each: over all trials, and by the class of the hit bit,
/// there with its interval where `intervals`.
ReportTable metrics_table(const ReportData& data, bool intervals);
/// The same by layer: a row a layer, a column for each of the metrics'.
ReportTable metrics_by_layer(const ReportData& data);

/// The same for the terminal: metric by metric over all trials, each class of bits and each layer.
ReportTable metrics_in_full(const ReportData& data);

/// With what Markdown would read as markup escaped.
std::string markdown_text(const std::string& text);

}  // namespace bitfall
