// Whether a run that finished is still as it was then.
#pragma once

#include <optional>
#include <string>

#include "sqlite.h"

namespace bitfall {

/// What is stored when a run finishes, and checked by whoever reads it. It finds damage and slips,
/// and is no signature: who changes a file on purpose can seal it again.
struct Seal {
  std::string trials;       // the digest that `bitfall status` prints
  std::string remarks;      // of messages and classes of bits
  std::string description;  // of every other table
  bool operator==(const Seal&) const = default;
};

/// Of a run without one (not finished, or by an earlier version): nothing.
std::optional<Seal> read_seal(Database& database);

/// Adds it to the facts, within the open transaction.
void write_seal(Database& database, const Seal& seal);

void remove_seal(Database& database);

/// SHA-256 (hex) over every row of the tables that hold no trials, in the order of their keys;
/// facts without the seal itself.
std::string description_digest(Database& database);

/// The same words for all that checks one.
[[noreturn]] void refuse_changed(const Database& database, const std::string& what);

}  // namespace bitfall
