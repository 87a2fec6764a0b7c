// Codes in memory over the words of another format: MSET and CEP (Ahmadilivani et al., "Effective
// and Memory-Efficient Alternatives to ECC for Reliable Large-Scale DNNs", arXiv:2605.07417), one
// parity bit in the lowest one (arXiv:2507.03816), and SECDED by an extended Hamming code. The
// definitions of MSET and CEP are those of the authors' FaultForge.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitfall/extensions/memory_code.h"
#include "bitfall/plugin.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

constexpr OptionSpec kBase{
    "base",
    OptionType::kText,
    "fp32",
    0,
    0,
    nullptr,
    "The format whose words are stored with the code; it encodes each number by itself."};

std::unique_ptr<NumberFormat> base_of(const Options& options) {
  std::unique_ptr<NumberFormat> base(options.host().make_format(options.text("base"), {}));
  if (!base->elementwise()) {
    throw std::invalid_argument("base: '" + std::string(options.text("base")) +
                                "' stores numbers in blocks; choose a format that stores each by "
                                "itself");
  }
  return base;
}

/// What all have in common: the base's registers, and its numbers by way of the stored words.
class Coded : public NumberFormat, public MemoryCode {
 public:
  explicit Coded(std::unique_ptr<NumberFormat> base)
      : base_(std::move(base)), bits_(base_->registers()[0].bits) {}

  View<const Register> registers() const override { return base_->registers(); }
  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    return base_->register_count(index, shape);
  }
  bool calibrated() const override { return base_->calibrated(); }
  const char* refusal(View<const std::int64_t> shape) const override {
    return base_->refusal(shape);
  }
  int range_axis(View<const std::int64_t> shape) const override { return base_->range_axis(shape); }
  void calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                 View<std::uint32_t> metadata) const override {
    base_->calibrate(ranges, shape, metadata);
  }
  BitClass bit_class(std::uint32_t code, int bit) const override {
    return base_->bit_class(code, bit);
  }
  FormatTraits traits() const override {
    FormatTraits traits = base_->traits();
    traits.oracle = "the papers' definitions, bit by bit";
    return traits;
  }
  double metadata_value(int index, std::uint32_t code) const override {
    return base_->metadata_value(index, code);
  }
  float largest(View<const std::uint32_t> metadata) const override {
    return base_->largest(metadata);
  }
  const void* extension(const char* name) const override {
    return std::string_view(name) == kMemoryCode ? static_cast<const MemoryCode*>(this) : nullptr;
  }

 protected:
  std::unique_ptr<NumberFormat> base_;
  int bits_;  // of a word
};

/// Codes that lie within each word, in bits that the base's numbers lose.
class CodedByWord : public Coded {
 public:
  explicit CodedByWord(const Options& options) : Coded(base_of(options)) {
    if (base_->extension(kMemoryCode) == nullptr) return;
    throw std::invalid_argument("base: '" + std::string(options.text("base")) +
                                "' keeps a code of its own in bits of its words, which this one "
                                "would overwrite; choose a format without a code");
  }
  FormatTraits traits() const override {
    FormatTraits traits = Coded::traits();
    if (has_registers()) return traits;
    const float largest = kept(static_cast<float>(traits.largest));
    if (std::isfinite(largest)) traits.largest = largest;
    for (auto tiny = static_cast<float>(traits.smallest); tiny > 0 && tiny < 1; tiny *= 2) {
      traits.smallest = kept(tiny);
      if (traits.smallest > 0) break;
    }
    const float infinity = kept(std::numeric_limits<float>::infinity());
    const float nan = kept(std::numeric_limits<float>::quiet_NaN());
    if (std::isnan(infinity)) traits.overflow = "NaN";
    if (!std::isnan(nan)) traits.nan = std::isinf(nan) ? "Inf" : "a number";
    return traits;
  }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    base_->encode(values, slice, metadata, codes);
    for (std::uint32_t& code : codes) code = stored(code);
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    std::vector<std::uint32_t> words(codes.begin(), codes.end());
    MemoryVerdict ignored;
    for (std::uint32_t& word : words) word = read(word, ignored);
    base_->decode(words, slice, metadata, values);
  }
  MemoryVerdict check(View<const std::uint32_t> codes, const Slice&,
                      View<const std::uint32_t>) const override {
    MemoryVerdict verdict;
    for (const std::uint32_t code : codes) read(code, verdict);
    return verdict;
  }

 protected:
  /// Once a derived class is made. Refuses a base whose largest number, to which others may
  /// saturate, would be NaN without a fault.
  void require_largest() const {
    if (has_registers()) return;
    const float largest = base_->largest({});
    if (std::isfinite(kept(largest))) return;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%g", static_cast<double>(largest));
    throw std::invalid_argument("base: its largest number, " + std::string(text.data()) +
                                ", would be stored as no number: the code takes bits that tell "
                                "them apart");
  }

 private:
  virtual std::uint32_t stored(std::uint32_t code) const = 0;
  virtual std::uint32_t read(std::uint32_t word, MemoryVerdict& verdict) const = 0;

  bool has_registers() const { return base_->registers().size() > 1; }
  /// What a number becomes, of a base without registers.
  float kept(float value) const {
    static constexpr std::int64_t kOne[] = {1};
    const Slice slice{kOne, 0, 1, 0};
    std::uint32_t code = 0;
    encode(View<const float>(&value, 1), slice, {}, View<std::uint32_t>(&code, 1));
    decode(View<const std::uint32_t>(&code, 1), slice, {}, View<float>(&value, 1));
    return value;
  }
};

/// The second highest bit, which is a float's highest exponent bit, stands in the two lowest ones,
/// too: the majority holds, in all three.
class Mset final : public CodedByWord {
 public:
  explicit Mset(const Options& options) : CodedByWord(options) {
    if (bits_ < 4) throw std::invalid_argument("base: has words of fewer than 4 bits");
    require_largest();
  }

 private:
  std::uint32_t stored(std::uint32_t code) const override {
    const std::uint32_t top = code >> (bits_ - 2) & 1;
    return (code & ~std::uint32_t{3}) | top * 3;
  }
  std::uint32_t read(std::uint32_t word, MemoryVerdict& verdict) const override {
    const std::uint32_t top = word >> (bits_ - 2) & 1;
    const std::uint32_t votes = top + (word & 1) + (word >> 1 & 1);
    verdict.corrected += votes == 1 || votes == 2 ? 1 : 0;
    const std::uint32_t mask = std::uint32_t{1} << (bits_ - 2);
    return votes >= 2 ? word | mask | 3 : word & ~mask & ~std::uint32_t{3};
  }
};

/// The word in chunks from its highest bit on, for each a parity bit among the lowest ones, the
/// highest chunk's the highest. A chunk that does not fit its parity is read as 0, parity bits
/// always are.
class Cep final : public CodedByWord {
 public:
  Cep(const Options& options, std::int64_t data_bits) : CodedByWord(options) {
    const int data = data_bits == 0 ? bits_ - 1 : static_cast<int>(data_bits);
    const int chunks = bits_ / (data + 1);
    if (chunks == 0) {
      throw std::invalid_argument("data_bits: is " + std::to_string(data) +
                                  ", and with its parity more than the word of " +
                                  std::to_string(bits_) + " bits");
    }
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int low = bits_ - (chunk + 1) * data;
      const std::uint32_t ones = data == 32 ? ~0U : (std::uint32_t{1} << data) - 1;
      chunks_.push_back({ones << low, std::uint32_t{1} << (chunks - 1 - chunk)});
    }
    require_largest();
  }

 private:
  struct Chunk {
    std::uint32_t data, parity;  // masks
  };
  std::uint32_t stored(std::uint32_t code) const override {
    for (const Chunk& chunk : chunks_) {
      const bool odd = std::popcount(code & chunk.data) % 2 != 0;
      code = odd ? code | chunk.parity : code & ~chunk.parity;
    }
    return code;
  }
  std::uint32_t read(std::uint32_t word, MemoryVerdict& verdict) const override {
    std::uint32_t code = word;
    bool wrong = false;
    for (const Chunk& chunk : chunks_) {
      code &= ~chunk.parity;
      if (std::popcount(word & (chunk.data | chunk.parity)) % 2 == 0) continue;
      code &= ~chunk.data;
      wrong = true;
    }
    verdict.detected += wrong ? 1 : 0;
    return code;
  }
  std::vector<Chunk> chunks_;
};

/// An extended Hamming code over so many data bits: data lie at the places that are no power of
/// two, check bit i at place 2^i, and one more is the parity of all.
class Hamming {
 public:
  explicit Hamming(int data) : data_(data) {
    while ((1 << checks_) < data + checks_ + 1) ++checks_;
    for (int place = 1; static_cast<int>(places_.size()) < data; ++place) {
      if (!std::has_single_bit(static_cast<unsigned>(place))) places_.push_back(place);
    }
  }
  int check_bits() const { return checks_ + 1; }

  std::uint32_t check_of(std::uint64_t data) const {
    std::uint32_t syndrome = 0;
    for (int i = 0; i < data_; ++i) {
      if (data >> i & 1)
        syndrome ^= static_cast<std::uint32_t>(places_[static_cast<std::size_t>(i)]);
    }
    const bool odd = (std::popcount(data) + std::popcount(syndrome)) % 2 != 0;
    return syndrome | static_cast<std::uint32_t>(odd) << checks_;
  }

  enum class Reading { kClean, kCorrected, kDetected };
  /// Corrects one wrong bit; two are noticed.
  Reading read(std::uint64_t& data, std::uint32_t check) const {
    const std::uint32_t mask = (1U << checks_) - 1;
    const std::uint32_t syndrome = (check_of(data) ^ check) & mask;
    const bool odd = (std::popcount(data) + std::popcount(check)) % 2 != 0;
    if (syndrome == 0) return odd ? Reading::kCorrected : Reading::kClean;  // the last check bit
    if (!odd) return Reading::kDetected;
    if (std::has_single_bit(syndrome)) return Reading::kCorrected;  // a check bit
    const auto place = std::find(places_.begin(), places_.end(), static_cast<int>(syndrome));
    if (place == places_.end()) return Reading::kDetected;  // three or more wrong bits
    data ^= std::uint64_t{1} << (place - places_.begin());
    return Reading::kCorrected;
  }

 private:
  int data_;
  int checks_ = 0;
  std::vector<int> places_;  // of the data bits
};

constexpr std::array<BitClass, 8> kCheckClasses = {
    BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata,
    BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata};

class Secded final : public Coded {
 public:
  explicit Secded(const Options& options)
      : Coded(base_of(options)),
        word_(static_cast<int>(options.text("word") == "64" ? 64 : 32)),
        zero_(options.text("on_detected") == "zero"),
        code_(word_) {
    if (word_ % bits_ != 0) {
      throw std::invalid_argument("base: words of " + std::to_string(bits_) +
                                  " bits do not fill memory words of " + std::to_string(word_));
    }
    const auto own = base_->registers();
    registers_.assign(own.begin(), own.end());
    registers_.push_back(
        {"check", code_.check_bits(),
         View<const BitClass>(kCheckClasses).first(static_cast<std::size_t>(code_.check_bits()))});
  }

  View<const Register> registers() const override { return registers_; }
  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    if (index + 1 != static_cast<int>(registers_.size()))
      return base_->register_count(index, shape);
    return (element_count(shape) + numbers() - 1) / numbers();
  }
  bool elementwise() const override { return false; }
  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    const std::int64_t first = element / numbers() * numbers();
    return {first, std::min(numbers(), element_count(shape) - first), 1};
  }
  void calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                 View<std::uint32_t> metadata) const override {
    if (base_->calibrated()) base_->calibrate(ranges, shape, own(shape, metadata));
  }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    base_->encode(values, slice, own(slice.shape, metadata), codes);
    const View<std::uint32_t> checks = checks_of(slice, metadata);
    for (std::size_t word = 0; word < words(codes.size()); ++word) {
      checks[word] = code_.check_of(packed(codes, word));
    }
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    std::vector<std::uint32_t> numbers(codes.begin(), codes.end());
    read(numbers, checks_of(slice, metadata));
    base_->decode(numbers, slice, own(slice.shape, metadata), values);
  }
  MemoryVerdict check(View<const std::uint32_t> codes, const Slice& slice,
                      View<const std::uint32_t> metadata) const override {
    std::vector<std::uint32_t> numbers(codes.begin(), codes.end());
    return read(numbers, checks_of(slice, metadata));
  }
  double metadata_value(int index, std::uint32_t code) const override {
    const bool check = index + 1 == static_cast<int>(registers_.size());
    return check ? code : base_->metadata_value(index, code);
  }
  float largest(View<const std::uint32_t> metadata) const override {
    // Registers of the base stand first; it has none but calibrated ones.
    return base_->largest(metadata.first(base_->calibrated() ? metadata.size() : 0));
  }

 private:
  std::int64_t numbers() const { return word_ / bits_; }  // of a memory word
  std::size_t words(std::size_t codes) const {
    const auto each = static_cast<std::size_t>(numbers());
    return (codes + each - 1) / each;
  }
  // The base's part of the metadata.
  template <typename Word>
  View<Word> own(View<const std::int64_t> shape, View<Word> metadata) const {
    return metadata.first(static_cast<std::size_t>(metadata_size(*base_, shape)));
  }
  // The check registers of a slice, which begins with a memory word.
  template <typename Word>
  View<Word> checks_of(const Slice& slice, View<Word> metadata) const {
    const auto before = static_cast<std::size_t>(metadata_size(*base_, slice.shape));
    return metadata.subspan(before + static_cast<std::size_t>(slice.first / numbers()));
  }
  std::uint64_t packed(View<const std::uint32_t> codes, std::size_t word) const {
    std::uint64_t data = 0;
    const auto each = static_cast<std::size_t>(numbers());
    for (std::size_t i = 0; i < each && word * each + i < codes.size(); ++i) {
      data |= static_cast<std::uint64_t>(codes[word * each + i]) << (static_cast<int>(i) * bits_);
    }
    return data;
  }
  MemoryVerdict read(std::vector<std::uint32_t>& codes, View<const std::uint32_t> checks) const {
    MemoryVerdict verdict;
    const auto each = static_cast<std::size_t>(numbers());
    const std::uint32_t ones = bits_ == 32 ? ~0U : (std::uint32_t{1} << bits_) - 1;
    for (std::size_t word = 0; word < words(codes.size()); ++word) {
      std::uint64_t data = packed(codes, word);
      const Hamming::Reading reading = code_.read(data, checks[word]);
      if (reading == Hamming::Reading::kClean) continue;
      const bool detected = reading == Hamming::Reading::kDetected;
      ++(detected ? verdict.detected : verdict.corrected);
      if (detected && !zero_) continue;
      if (detected) data = 0;
      for (std::size_t i = 0; i < each && word * each + i < codes.size(); ++i) {
        codes[word * each + i] =
            static_cast<std::uint32_t>(data >> (static_cast<int>(i) * bits_)) & ones;
      }
    }
    return verdict;
  }

  int word_;
  bool zero_;
  Hamming code_;
  std::vector<Register> registers_;
};

constexpr OptionSpec kMsetOptions[] = {kBase};
constexpr OptionSpec kCepOptions[] = {
    kBase,
    {"data_bits", OptionType::kInteger, "3", 1, 31, nullptr,
     "Bits for each parity bit; 3, 7 and 15 in the paper."},
};
constexpr OptionSpec kSecdedOptions[] = {
    kBase,
    {"word", OptionType::kText, "64", 0, 0, "32|64",
     "Data bits of a memory word: 64 has 8 check bits, 32 has 7."},
    {"on_detected", OptionType::kText, "keep", 0, 0, "keep|zero",
     "What becomes of a word with two wrong bits: it is read as it is, or its numbers as code 0."},
};

constexpr Component<NumberFormat> kFormats[] = {
    {"mset", "Another format with its highest exponent bit three times in the word", kMsetOptions,
     [](const Options& options) -> NumberFormat* { return new Mset(options); }},
    {"cep", "Another format with parity bits of chunks in the word; a wrong chunk is read as 0",
     kCepOptions,
     [](const Options& options) -> NumberFormat* {
       return new Cep(options, options.integer("data_bits"));
     }},
    {"parity",
     "Another format with the parity of the word in its lowest bit; a wrong word is read as 0",
     kMsetOptions, [](const Options& options) -> NumberFormat* { return new Cep(options, 0); }},
    {"secded",
     "Another format in memory words with check bits: one wrong bit is corrected, two are noticed",
     kSecdedOptions, [](const Options& options) -> NumberFormat* { return new Secded(options); }},
};

}  // namespace
}  // namespace bitfall_plugins

BITFALL_PLUGIN("formats_coded", "1.0", "Codes in memory over another format",
               bitfall_plugins::kFormats);
