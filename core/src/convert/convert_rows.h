// The rows of `bitfall convert` as text: tab-separated or JSON lines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "register_bits.h"

namespace bitfall {

/// One element before or after a flip.
struct ConvertRow {
  float value = 0;                          // the input; none if codes are given
  std::uint32_t stored = 0;                 // the code before the flip
  float golden = 0;                         // what it stood for
  std::uint32_t code = 0;                   // the code
  float decoded = 0;                        // what it stands for
  const BitFlips* flips = nullptr;          // null: before any flip
  std::span<const std::uint32_t> metadata;  // metadata[k]: the element's register of kind k + 1
};

class ConvertRows {
 public:
  /// Borrows `named`. `has_values`: the input were numbers, not codes; `has_flips`: columns for
  /// what a flip does.
  ConvertRows(const NamedFormat& named, bool has_values, bool has_flips);

  /// Column names between tabs: value, flip, class, code, a field a bit class, decoded, error, a
  /// register and its value a kind of metadata, damage, relative.
  std::string header() const;
  /// Appends one row. A row with `flips` needs has_flips.
  void append_tabbed(const ConvertRow& row, std::string& out);
  /// The same as an object; numbers that are none of JSON's are "nan", "inf" and "-inf".
  void append_json(const ConvertRow& row, std::string& out);

 private:
  struct Metadata {
    std::string name;
    int bits;
    std::uint32_t code;  // of which the rest tells
    std::string code_text;
    double value;
    std::string value_text;
  };

  BitClass class_of(std::uint32_t code, int bit) const;
  void find_classes();
  void find_row_classes(std::uint32_t code);
  void append_field(std::uint32_t code, BitClass bit_class, std::string& out) const;
  void append_tabbed_fields(std::uint32_t code, std::string& out);
  void append_json_fields(std::uint32_t code, std::string& out);
  void append_json_metadata(std::span<const std::uint32_t> codes, std::string& out);
  void append_flipped_classes(const ConvertRow& row, std::string& out) const;
  const Metadata& metadata(std::size_t kind, std::uint32_t code);

  const NamedFormat& named_;
  bool has_values_;
  bool has_flips_;
  int bits_;
  std::vector<BitClass> classes_;      // a column each
  bool classes_move_ = false;          // they depend on the code
  std::vector<BitClass> row_classes_;  // of this row's bits
  std::vector<Metadata> metadata_;     // [k]: kind k + 1
};

/// The shortest text of the float32 if it is one, else of the double.
std::string real_text(double value);

}  // namespace bitfall
