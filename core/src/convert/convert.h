// Numbers through a format and back: what becomes of a value, a code, a flipped bit. The heart of
// `bitfall convert`; it knows nothing of the command line and of LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "register_bits.h"
#include "word_reader.h"

namespace bitfall {

/// As given on the command line; convert() checks what it reads of it.
struct ConvertOptions {
  std::string format;                 // id
  std::vector<std::string> set;       // component_choice()
  std::vector<std::string> values;    // numbers or codes; empty or "-" = standard input
  std::filesystem::path file;         // instead of `values`; "-" = standard input
  bool codes = false;                 // the input are codes
  std::vector<std::string> flips;     // parse_flips()
  bool together = false;              // all flips at once
  std::string range;                  // a magnitude that metadata is calibrated to; empty = input's
  std::vector<std::string> metadata;  // parse_metadata()
  bool json = false;                  // JSON lines
};

using TextSink = std::function<void(std::string_view)>;

/// Whether the input is options.values; otherwise it comes from a file or standard input.
bool has_arguments(const ConvertOptions& options);

/// Converts options.values to an aligned table, or else the words of `input`, a tensor of one
/// dimension, to tab-separated rows below a header line; either to JSON lines with options.json.
/// Text goes to `output` in pieces. Memory is bounded, unless a block is the whole tensor or
/// calibration needs the range of all values. `input_name` is for messages. Throws Error(kUsage)
/// for options and arguments, Error(kInput) for words of `input`.
void convert(const NamedFormat& named, const ConvertOptions& options, const ByteSource& input,
             const std::string& input_name, const TextSink& output);

}  // namespace bitfall
