#include "number_cells.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace bitfall {
namespace {

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

bool is_float32(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return (std::isinf(value) || std::abs(value) <= kMost) &&
         same_bits(static_cast<double>(static_cast<float>(value)), value);
}

}  // namespace

void bind_number(Statement& statement, double value, double reference) {
  if (std::isnan(value)) {
    statement.bind_null();
  } else if (same_bits(value, 0)) {
    statement.bind(std::int64_t{0});
  } else if (same_bits(value, reference)) {
    statement.bind_empty_text();
  } else if (same_bits(value, std::abs(reference))) {
    statement.bind_empty_blob();
  } else if (is_float32(value)) {
    statement.bind(std::int64_t{std::bit_cast<std::int32_t>(static_cast<float>(value))});
  } else {
    statement.bind_real(value);
  }
}

std::optional<double> number_in(const Statement& row, int column, double reference) {
  switch (row.cell(column)) {
    case Cell::kNull:
      return kNoReference;
    case Cell::kInteger: {
      const std::int64_t bits = row.integer(column);
      if (bits != static_cast<std::int32_t>(bits)) return std::nullopt;
      return static_cast<double>(std::bit_cast<float>(static_cast<std::int32_t>(bits)));
    }
    case Cell::kReal:
      return row.real(column);
    case Cell::kEmptyText:
      return reference;
    case Cell::kEmptyBlob:
      return std::abs(reference);
    default:
      return std::nullopt;
  }
}

std::string float32_sql(const std::string& bits) {
  const auto part = [&](const char* operation) { return "(" + bits + " " + operation + ")"; };
  // 2^(exponent - 150) is 2^(exponent & 31), times one of eight numbers. Quotients of powers of
  // two are exact in every SQLite; long decimals are not.
  const std::string power = "CASE " + part(">> 28 & 7") +
                            " WHEN 0 THEN 1.0 / (1 << 62) / (1 << 62) / (1 << 26)"
                            " WHEN 1 THEN 1.0 / (1 << 62) / (1 << 56)"
                            " WHEN 2 THEN 1.0 / (1 << 62) / (1 << 24)"
                            " WHEN 3 THEN 1.0 / (1 << 54) WHEN 4 THEN 1.0 / (1 << 22)"
                            " WHEN 5 THEN 1.0 * (1 << 10) WHEN 6 THEN 1.0 * (1 << 42)"
                            " ELSE 1.0 * (1 << 62) * (1 << 12) END";
  return "CASE WHEN " + bits +
         " = 0 THEN 0.0"
         " WHEN " +
         part("& 2147483647") +
         " > 2139095040 THEN NULL"
         " WHEN " +
         part("& 2147483647") +
         " = 2139095040"
         " THEN CASE " +
         part(">> 31 & 1") +
         " WHEN 0 THEN 9e999 ELSE -9e999 END"
         " ELSE CASE " +
         part(">> 31 & 1") +
         " WHEN 0 THEN 1.0 ELSE -1.0 END"
         " * CASE " +
         part(">> 23 & 255") + " WHEN 0 THEN " + part("& 8388607") +
         " * 2"
         " ELSE (" +
         part("& 8388607") + " | 8388608) << " + part(">> 23 & 31") +
         " END"
         " * " +
         power + " END";
}

std::string number_sql(const std::string& cell, const std::string& reference) {
  std::string sql = "CASE typeof(" + cell + ") WHEN 'integer' THEN " + float32_sql(cell);
  if (!reference.empty()) {
    sql += " WHEN 'text' THEN " + reference + " WHEN 'blob' THEN abs(" + reference + ")";
  }
  return sql + " ELSE " + cell + " END";
}

}  // namespace bitfall
