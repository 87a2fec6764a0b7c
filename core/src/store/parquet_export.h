// A run as an Apache Parquet table.
#pragma once

#include <iosfwd>

#include "store.h"

namespace bitfall {

/// The rows and columns of export_csv, with types: whole numbers, codes and masks (uint32), values
/// (float32), losses and metrics (float64), `activated` (bool) and texts; a trial that has an
/// answer has the message "". NaN and Inf stay.
void export_parquet(const Store& store, std::ostream& out);

}  // namespace bitfall
