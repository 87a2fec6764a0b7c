// Numbers of trials as cells of a row, in as few bytes as hold all their bits. Of a cell's type:
//   NULL      NaN
//   INTEGER   the bits of a float32, as a signed number: 1 to 4 bytes, none for 0
//   REAL      a double that is no float32: 8 bytes
//   TEXT ''   the number that it is told by, as its column says: no byte
//   BLOB x''  the magnitude of that number: no byte
#pragma once

#include <limits>
#include <optional>
#include <string>

#include "sqlite.h"

namespace bitfall {

inline constexpr double kNoReference = std::numeric_limits<double>::quiet_NaN();

/// Binds the next parameter. `reference`: what the number may be told by.
void bind_number(Statement& statement, double value, double reference = kNoReference);

/// The number; nothing where the cell holds none.
std::optional<double> number_in(const Statement& row, int column, double reference = kNoReference);

/// The same in SQL, without functions of our own: an expression of the cell, with `reference` as
/// one; "" if the column has none.
std::string number_sql(const std::string& cell, const std::string& reference = "");

/// The float32 of 32 bits that an integer holds, in SQL; NULL where it is NaN.
std::string float32_sql(const std::string& bits);

}  // namespace bitfall
