#include "convert.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "convert_rows.h"
#include "error.h"
#include "numbers.h"
#include "text_table.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr std::int64_t kPiece = 1 << 15;  // elements converted at once
constexpr std::int64_t kLongestBlock = 1 << 20;
constexpr std::size_t kOutputPiece = 1 << 16;             // bytes
constexpr std::int64_t kEndless = std::int64_t{1} << 40;  // elements of a tensor of unknown length

/// How a stream of elements is cut into pieces that are encoded and decoded alone.
struct Cutting {
  bool elementwise;    // a piece is a run within an endless tensor, else a tensor of its own
  std::int64_t block;  // elements that share metadata
  std::int64_t piece;  // elements; several blocks. 0: everything
};

/// Whether the metadata registers of a tensor are the same whatever its length.
bool fixed_metadata(const NumberFormat& format) {
  const std::int64_t shortest[] = {1}, longest[] = {kEndless};
  if (format.range_axis(shortest) >= 0) return false;
  for (int k = 1; k < static_cast<int>(format.registers().size()); ++k) {
    if (format.register_count(k, shortest) != format.register_count(k, longest)) return false;
  }
  return true;
}

Cutting cutting_of(const NamedFormat& named) {
  const NumberFormat& format = named.format;
  const std::int64_t shape[] = {kEndless};
  if (const char* reason = format.refusal(shape)) {
    throw Error(ExitCode::kUsage, named.id +
                                      " stores no tensor of one dimension, which the "
                                      "numbers are here: " +
                                      reason);
  }
  const bool has_metadata = format.registers().size() > 1;
  if (format.elementwise() && (format.calibrated() || !has_metadata)) {
    return {true, 1, fixed_metadata(format) ? kPiece : 0};
  }
  const ElementRun first = format.block(0, shape);
  if (first.stride != 1 || first.count > kLongestBlock) return {false, first.count, 0};
  const ElementRun second = format.block(first.count, shape);
  if (second.first != first.count || second.count != first.count) return {false, first.count, 0};
  return {false, first.count, std::max(kPiece / first.count, std::int64_t{1}) * first.count};
}

/// The metadata registers of one piece: kind 1, then kind 2, and so on.
class PieceMetadata {
 public:
  explicit PieceMetadata(const NamedFormat& named) : named_(named) {}

  void resize(std::span<const std::int64_t> shape, std::int64_t elements, std::int64_t block) {
    elements_ = elements;
    blocks_ = (elements + block - 1) / block;
    block_ = block;
    starts_.assign(1, 0);
    const auto registers = named_.format.registers();
    for (std::size_t k = 1; k < registers.size(); ++k) {
      const auto count = named_.format.register_count(static_cast<int>(k), shape);
      if (count < 1) {
        throw Error(ExitCode::kPlugin, "format '" + named_.id + "' has no register '" +
                                           registers[k].name + "' for a tensor of one dimension");
      }
      starts_.push_back(starts_.back() + static_cast<std::size_t>(count));
    }
    codes_.assign(starts_.back(), 0);
  }

  std::span<std::uint32_t> codes() { return codes_; }
  /// All registers of kind k + 1.
  std::span<std::uint32_t> of_kind(std::size_t k) {
    return std::span(codes_).subspan(starts_[k], starts_[k + 1] - starts_[k]);
  }
  /// Which register of kind k + 1 holds for an element; the SDK leaves it to the format, but one a
  /// tensor, a block or an element are all there is in one dimension.
  std::size_t place(std::size_t k, std::int64_t element) const {
    const auto count = static_cast<std::int64_t>(starts_[k + 1] - starts_[k]);
    const std::int64_t index = count == blocks_     ? element / block_
                               : count == elements_ ? element
                                                    : 0;
    return starts_[k] + static_cast<std::size_t>(index);
  }

 private:
  const NamedFormat& named_;
  std::vector<std::uint32_t> codes_;
  std::vector<std::size_t> starts_;
  std::int64_t elements_ = 0, blocks_ = 0, block_ = 1;
};

class Converter {
 public:
  Converter(const NamedFormat& named, const ConvertOptions& options, const TextSink& output);

  void convert_arguments();
  void convert_stream(const ByteSource& input, const std::string& name);
  /// Lines that say what the format and its metadata are; after the conversion.
  std::string heading();

 private:
  void take(const WordReader& reader, std::string_view word);
  std::uint32_t code_of(const WordReader& reader, std::string_view word) const;
  void include(float value);
  bool needs_range() const;
  /// Converts all pieces that are complete, at the end all there is.
  void drain(bool ended);
  void convert_piece(std::size_t start, std::size_t count);
  void set_metadata(std::span<const std::int64_t> shape);
  void decode_flips(const Slice& slice, std::span<const std::uint32_t> codes);
  void write_rows(std::size_t start, std::size_t count);
  void write_row(const ConvertRow& row);
  void flush();
  std::string metadata_heading(std::size_t kind);

  const NumberFormat& format_;
  const NamedFormat& named_;
  const ConvertOptions& options_;
  const TextSink output_;
  const int bits_;
  const Cutting cutting_;
  const std::vector<BitFlips> flips_;
  std::vector<std::optional<std::uint32_t>> given_;  // by kind of register
  std::optional<float> range_;
  Range seen_;
  ConvertRows rows_;
  PieceMetadata metadata_;
  std::vector<float> values_;         // that wait to be converted
  std::vector<std::uint32_t> codes_;  // the same with options_.codes, else their codes
  std::int64_t done_ = 0;             // elements
  std::vector<float> decoded_;
  std::vector<std::vector<float>> flipped_;                   // decoded, by flip
  std::vector<std::vector<std::uint32_t>> flipped_metadata_;  // by flip
  std::string text_;
};

std::optional<float> parse_range(const NamedFormat& named, const std::string& text) {
  if (text.empty()) return std::nullopt;
  if (!named.format.calibrated()) {
    throw Error(ExitCode::kUsage, "--range: " + named.id +
                                      " has no metadata that is calibrated; only formats such as "
                                      "int8 take a range");
  }
  const auto range = parse_real(text);
  if (!range || !std::isfinite(*range) || *range <= 0) {
    throw Error(ExitCode::kUsage, "--range " + text + ": give a finite number greater than 0");
  }
  return range;
}

Converter::Converter(const NamedFormat& named, const ConvertOptions& options,
                     const TextSink& output)
    : format_(named.format),
      named_(named),
      options_(options),
      output_(output),
      bits_(named.format.registers()[0].bits),
      cutting_(cutting_of(named)),
      flips_(parse_flips(named, options.flips, options.together)),
      given_(parse_metadata(named, options.metadata)),
      range_(parse_range(named, options.range)),
      rows_(named, !options.codes, !flips_.empty()),
      metadata_(named) {
  if (!options.json) text_ = rows_.header();
  const bool computed = !format_.calibrated() && !options.codes;
  if (computed && !options.metadata.empty()) {
    throw Error(ExitCode::kUsage, "--metadata: " + named.id +
                                      " computes its metadata from the values themselves (" +
                                      registers_text(format_, true) +
                                      "); give it with --codes, or damage it with --flip NAME:BIT");
  }
  if (range_) {
    seen_ = {-*range_, *range_};
  } else if (options.codes) {
    for (int k = 1; k < static_cast<int>(given_.size()); ++k) {
      auto& code = given_[static_cast<std::size_t>(k)];
      if (!code) code = metadata_code(format_, k, 1);
      if (code) continue;
      const std::string name = format_.registers()[static_cast<std::size_t>(k)].name;
      throw Error(ExitCode::kUsage, "--codes needs " + named.id + "'s " + name +
                                        ": add --metadata " + name + "=0x...");
    }
  }
}

/// Whether calibration waits for the range of the input.
bool Converter::needs_range() const {
  if (range_ || options_.codes || !format_.calibrated()) return false;
  return std::any_of(given_.begin() + 1, given_.end(), [](const auto& code) { return !code; });
}

void Converter::include(float value) {
  if (!std::isfinite(value)) return;
  seen_.minimum = std::min(seen_.minimum, value);
  seen_.maximum = std::max(seen_.maximum, value);
}

std::uint32_t Converter::code_of(const WordReader& reader, std::string_view word) const {
  const std::uint32_t largest = bits_ == 32 ? ~0u : (1u << bits_) - 1;
  auto code = parse_code(word);
  if (word.starts_with("0b") || word.starts_with("0B")) {
    const auto as_hex = parse_code("0x" + std::string(word));
    if (code && as_hex && *as_hex <= largest) {
      throw reader.refusal("is a binary and a hexadecimal number: give 0x" + std::string(word) +
                           ", or all " + std::to_string(bits_) + " binary digits");
    }
    if (!code) code = as_hex;
  }
  if (!code || *code > largest) {
    throw reader.refusal("is not a code of " + named_.id + ": give 0x0 to " +
                         code_text(largest, bits_) + ", or binary digits after 0b");
  }
  return *code;
}

void Converter::take(const WordReader& reader, std::string_view word) {
  if (options_.codes) {
    codes_.push_back(code_of(reader, word));
    return;
  }
  const auto value = parse_real(word);
  if (!value) {
    throw reader.refusal("is not a number; numbers look like 1.5, -2e-3, 0x1.8p3, inf, nan");
  }
  if (!range_) include(*value);
  values_.push_back(*value);
}

void Converter::convert_stream(const ByteSource& input, const std::string& name) {
  WordReader reader(input, name, WordReader::Places::kLines);
  while (reader.read([&](std::string_view word) { take(reader, word); })) drain(false);
  drain(true);
}

void Converter::convert_arguments() {
  for (std::size_t i = 0; i < options_.values.size(); ++i) {
    const std::string name = "argument " + std::to_string(i + 1);
    WordReader reader(text_source(options_.values[i]), name, WordReader::Places::kNone);
    bool empty = true;
    const auto take_word = [&](std::string_view word) {
      take(reader, word);
      empty = false;
    };
    while (reader.read(take_word)) {
    }
    if (empty) throw reader.refusal(options_.codes ? "is not a code" : "is not a number");
  }
  drain(true);
}

void Converter::drain(bool ended) {
  if (!ended && (needs_range() || cutting_.piece == 0)) return;
  const std::size_t pending = options_.codes ? codes_.size() : values_.size();
  const std::size_t piece =
      cutting_.piece == 0 ? pending : static_cast<std::size_t>(cutting_.piece);
  std::size_t at = 0;
  while (at < pending && (ended || cutting_.elementwise || pending - at >= piece)) {
    const std::size_t count = std::min(piece, pending - at);
    convert_piece(at, count);
    at += count;
  }
  const auto erase_front = [at](auto& all) {
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(at, all.size())));
  };
  erase_front(values_);
  if (options_.codes) erase_front(codes_);
  flush();
}

void Converter::set_metadata(std::span<const std::int64_t> shape) {
  if (format_.calibrated() && (range_ || !options_.codes)) {
    const int axis = format_.range_axis(shape);
    const std::vector<Range> ranges(
        axis < 0 ? 1 : static_cast<std::size_t>(shape[static_cast<std::size_t>(axis)]), seen_);
    format_.calibrate(ranges, shape, metadata_.codes());
  }
  for (std::size_t k = 1; k < given_.size(); ++k) {
    if (given_[k]) std::ranges::fill(metadata_.of_kind(k - 1), *given_[k]);
  }
}

void Converter::convert_piece(std::size_t start, std::size_t count) {
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t shape[] = {cutting_.elementwise ? done_ + size : size};
  // Where a piece is a tensor, its place makes a stream of random numbers of its own.
  const Slice slice{shape, cutting_.elementwise ? done_ : 0, 1,
                    cutting_.elementwise ? 0 : static_cast<std::uint64_t>(done_)};
  metadata_.resize(shape, size, cutting_.block);
  set_metadata(shape);
  if (!options_.codes) {
    codes_.resize(count);
    format_.encode(std::span(values_).subspan(start, count), slice, metadata_.codes(), codes_);
  }
  const auto codes = std::span(std::as_const(codes_)).subspan(options_.codes ? start : 0, count);
  decoded_.resize(count);
  format_.decode(codes, slice, metadata_.codes(), decoded_);
  decode_flips(slice, codes);
  write_rows(start, count);
  done_ += size;
}

/// A flip of the payload hits every element, which changes no other; a flip of metadata every
/// register.
void Converter::decode_flips(const Slice& slice, std::span<const std::uint32_t> codes) {
  flipped_.resize(flips_.size());
  flipped_metadata_.resize(flips_.size());
  std::vector<std::uint32_t> damaged(codes.size());
  for (std::size_t f = 0; f < flips_.size(); ++f) {
    const auto& masks = flips_[f].masks;
    for (std::size_t i = 0; i < codes.size(); ++i) damaged[i] = codes[i] ^ masks[0];
    flipped_metadata_[f].clear();
    for (std::size_t k = 1; k < masks.size(); ++k) {
      for (const std::uint32_t code : metadata_.of_kind(k - 1)) {
        flipped_metadata_[f].push_back(code ^ masks[k]);
      }
    }
    flipped_[f].resize(codes.size());
    format_.decode(damaged, slice, flipped_metadata_[f], flipped_[f]);
  }
}

void Converter::write_rows(std::size_t start, std::size_t count) {
  std::vector<std::uint32_t> registers(given_.size() - 1);
  const auto pick = [&](std::span<const std::uint32_t> codes, std::size_t i) {
    for (std::size_t k = 0; k < registers.size(); ++k) {
      registers[k] = codes[metadata_.place(k, static_cast<std::int64_t>(i))];
    }
  };
  const std::uint32_t* codes = codes_.data() + (options_.codes ? start : 0);
  ConvertRow row;
  row.metadata = registers;
  for (std::size_t i = 0; i < count; ++i) {
    if (!options_.codes) row.value = values_[start + i];
    row.stored = row.code = codes[i];
    row.golden = row.decoded = decoded_[i];
    row.flips = nullptr;
    pick(metadata_.codes(), i);
    write_row(row);
    for (std::size_t f = 0; f < flips_.size(); ++f) {
      row.flips = &flips_[f];
      row.code = codes[i] ^ flips_[f].masks[0];
      row.decoded = flipped_[f][i];
      pick(flipped_metadata_[f], i);
      write_row(row);
    }
  }
}

void Converter::write_row(const ConvertRow& row) {
  if (options_.json) {
    rows_.append_json(row, text_);
  } else {
    rows_.append_tabbed(row, text_);
  }
  if (text_.size() >= kOutputPiece) flush();
}

void Converter::flush() {
  if (!text_.empty()) output_(text_);
  text_.clear();
}

/// "scale (32 bits): 0x3c010204 = 0.007874016, calibrated to 1".
std::string Converter::metadata_heading(std::size_t kind) {
  const Register& described = format_.registers()[kind];
  std::string text = std::string(described.name) + " (" + std::to_string(described.bits) +
                     (described.bits == 1 ? " bit)" : " bits)");
  if (!format_.calibrated() && !options_.codes) {
    if (metadata_.of_kind(kind - 1).size() == 1 && cutting_.piece == 0) {
      return text + ": one for all values\n";
    }
    return text + ": one for " + std::to_string(cutting_.block) + " values\n";
  }
  const std::uint32_t code = metadata_.of_kind(kind - 1)[0];
  text += ": " + code_text(code, described.bits) + " = " +
          real_text(format_.metadata_value(static_cast<int>(kind), code));
  const bool given = std::any_of(options_.metadata.begin(), options_.metadata.end(),
                                 [&](const std::string& option) {
                                   return option.starts_with(std::string(described.name) + "=");
                                 });
  if (given) return text + ", as given\n";
  if (options_.codes && !range_) return text + ", as --metadata gives none\n";
  return text + ", calibrated to " + exact_text(seen_.absolute()) + "\n";
}

std::string Converter::heading() {
  std::string text = named_.id + ", " + std::to_string(bits_) + " bits: " + named_.summary + "\n";
  for (std::size_t k = 1; k < format_.registers().size(); ++k) text += metadata_heading(k);
  return text;
}

/// Tab-separated lines, of which the first is the header, as an aligned table.
std::string aligned(std::string_view tabbed) {
  std::vector<std::string> lines = split(tabbed, '\n');
  lines.pop_back();  // behind the last line's end
  std::vector<TextTable::Column> columns;
  for (std::string& title : split(lines.front(), '\t')) {
    const bool number = title == "value" || title == "decoded" || title == "error" ||
                        title == "damage" || title == "relative" || title.ends_with("_value");
    columns.push_back({std::move(title), number ? TextTable::kRight : TextTable::kLeft});
  }
  TextTable table(std::move(columns));
  for (std::size_t i = 1; i < lines.size(); ++i) table.add(split(lines[i], '\t'));
  return table.render();
}

}  // namespace

bool has_arguments(const ConvertOptions& options) {
  return !options.values.empty() && options.values != std::vector<std::string>{"-"};
}

void convert(const NamedFormat& named, const ConvertOptions& options, const ByteSource& input,
             const std::string& input_name, const TextSink& output) {
  if (!has_arguments(options) || options.json) {
    Converter converter(named, options, output);
    if (has_arguments(options)) {
      converter.convert_arguments();
    } else {
      converter.convert_stream(input, input_name);
    }
    return;
  }
  std::string tabbed;
  Converter converter(named, options, [&](std::string_view text) { tabbed += text; });
  converter.convert_arguments();
  output(converter.heading() + "\n" + aligned(tabbed));
}

}  // namespace bitfall
