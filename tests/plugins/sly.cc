// Registers well; what its components give for a part is not what they give for the whole, they
// write to what they may only read, or answer otherwise when asked again.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>

#include "bitfall/extensions/bit_faults.h"
#include "bitfall/plugin.h"

namespace bitfall {
namespace {

std::atomic<std::int64_t> calls{0};

constexpr auto kM = BitClass::kMantissa;
constexpr BitClass kEight[] = {kM, kM, kM, kM, kM, kM, kM, BitClass::kSign};

/// Sign and magnitude in steps of 1/16.
class Fixed : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {{"payload", 8, kEight}};
    return kRegisters;
  }
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = code_of(values[i]);
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float magnitude = static_cast<float>(codes[i] & 127) / 16;
      values[i] = (codes[i] & 128) != 0 ? -magnitude : magnitude;
    }
  }
  float largest(View<const std::uint32_t>) const override { return 127.0F / 16; }

 private:
  static std::uint32_t code_of(float value) {
    if (std::isnan(value)) return 0;
    const float magnitude = std::fmin(std::nearbyint(std::fabs(value) * 16), 127);
    const auto code = static_cast<std::uint32_t>(magnitude);
    return code == 0 || value > 0 ? code : code | 128;
  }
};

/// Few values are stored in coarser steps.
class BySize final : public Fixed {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Fixed::encode(values, slice, metadata, codes);
    if (values.size() >= 8) return;
    for (std::uint32_t& code : codes) code &= 0xFCU;
  }
};
class BySizeDecode final : public Fixed {
 public:
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    Fixed::decode(codes, slice, metadata, values);
    if (values.size() >= 8) return;
    for (float& value : values) value = std::trunc(value);
  }
};
class WritesInput final : public Fixed {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    for (const float& value : values) const_cast<float&>(value) = std::nearbyint(value);
    Fixed::encode(values, slice, metadata, codes);
  }
};

/// FP32, but numbers around 0.3 lose their last bits.
class SeldomExact final : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr BitClass kBits[32] = {};
    static constexpr Register kRegisters[] = {{"payload", 32, kBits}};
    return kRegisters;
  }
  bool exact() const override { return true; }
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      codes[i] = std::bit_cast<std::uint32_t>(values[i]);
      if (std::fabs(values[i]) > 0.25F && std::fabs(values[i]) < 0.33F) codes[i] &= 0xFFFF0000U;
    }
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = std::bit_cast<float>(codes[i]);
  }
  float largest(View<const std::uint32_t>) const override { return 3.4028235e38F; }
};

/// Keeps the scale of the tensor that came first.
class FirstScale final : public Fixed {
 public:
  View<const Register> registers() const override {
    static constexpr BitClass kMetadata[8] = {
        BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata,
        BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata};
    static constexpr Register kRegisters[] = {{"payload", 8, kEight}, {"scale", 8, kMetadata}};
    return kRegisters;
  }
  std::int64_t register_count(int, View<const std::int64_t>) const override { return 1; }
  bool calibrated() const override { return true; }
  void calibrate(View<const Range> ranges, View<const std::int64_t>,
                 View<std::uint32_t> metadata) const override {
    std::uint32_t none = 0;
    const float scale = std::fmin((ranges[0].maximum - ranges[0].minimum) * 8, 254);
    kept_.compare_exchange_strong(none, 1 + static_cast<std::uint32_t>(scale));
    metadata[0] = kept_;
  }

 private:
  mutable std::atomic<std::uint32_t> kept_{0};
};

class OneColumn : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"sly", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
};
class WritesLogits final : public OneColumn {
 public:
  void measure(const Observation& observation, View<double> values) const override {
    const_cast<float&>(observation.faulty_logits[0]) = 1e9F;
    values[0] = 1;
  }
};
#if defined(__x86_64__)
/// As Shewchuk's exact predicates set it.
class DoublePrecision final : public OneColumn {
 public:
  void measure(const Observation&, View<double> values) const override {
    std::uint16_t word = 0;
    asm volatile("fnstcw %0" : "=m"(word));
    word = static_cast<std::uint16_t>((word & ~0x300U) | 0x200U);
    asm volatile("fldcw %0" : : "m"(word));
    values[0] = 1;
  }
};
class LeavesMmx final : public OneColumn {
 public:
  void measure(const Observation&, View<double> values) const override {
    asm volatile("pxor %%mm0, %%mm0" ::: "mm0");
    values[0] = 1;
  }
};
#endif

/// Asks for a format once it measures.
class AsksLate final : public OneColumn {
 public:
  explicit AsksLate(const Host& host) : host_(host) {}
  void measure(const Observation&, View<double> values) const override {
    const std::unique_ptr<NumberFormat> format(host_.make_format("fp16", {}));
    values[0] = 1;
  }

 private:
  const Host& host_;
};

/// Brings values back below the largest of training images.
class Bounds : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  std::int64_t scratch_size(const ProtectedSite&) const override { return 1; }
  void learn(const ProtectedSite&, int, View<const float> values,
             View<double> scratch) const override {
    for (const float value : values) scratch[0] = std::fmax(scratch[0], value);
  }
  std::int64_t state_size(const ProtectedSite&) const override { return 1; }
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    for (float& number : state) number = static_cast<float>(scratch[0]);
  }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float> state) const override {
    Verdict verdict;
    for (float& value : values) {
      if (value <= state[0]) continue;
      value = state[0];
      ++verdict.detected;
      ++verdict.corrected;
    }
    return verdict;
  }
};
class BoundsFirst final : public Bounds {
 public:
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    return slice.first == 0 ? Bounds::guard(site, values, slice, state) : Verdict{};
  }
};
class BoundsMany final : public Bounds {
 public:
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    return values.size() >= 16 ? Bounds::guard(site, values, slice, state) : Verdict{};
  }
};
/// Leaves all where more than a twentieth is beyond.
class BoundsFew final : public Bounds {
 public:
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    std::size_t beyond = 0;
    for (const float value : values) beyond += value > state[0] ? 1 : 0;
    if (beyond * 20 > values.size()) return {};
    return Bounds::guard(site, values, slice, state);
  }
};
/// Counts what it found in a slice once more for each slice.
class CountsSlices final : public Bounds {
 public:
  Verdict guard(const ProtectedSite&, View<float>, const Slice&, View<const float>) const override {
    return {1, 0, false};
  }
};
class WritesState final : public Bounds {
 public:
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    const Verdict verdict = Bounds::guard(site, values, slice, state);
    const_cast<float&>(state[0]) *= 0.9F;
    return verdict;
  }
};

enum class Asked { kState, kScratch, kWants, kTwice, kPasses };
template <Asked kAsked>
class SaysOtherwise final : public Bounds {
 public:
  bool wants(const ProtectedSite& site) const override {
    if (!Bounds::wants(site)) return false;
    return kAsked != Asked::kWants || ++calls % 2 != 0;
  }
  int passes() const override { return kAsked == Asked::kPasses ? 1 + ++calls % 2 : 1; }
  std::int64_t scratch_size(const ProtectedSite&) const override {
    return kAsked == Asked::kScratch ? ++calls : 1;
  }
  std::int64_t state_size(const ProtectedSite&) const override {
    return kAsked == Asked::kState ? ++calls : 1;
  }
  bool computed_twice(const ProtectedSite&) const override {
    return kAsked == Asked::kTwice && ++calls % 2 != 0;
  }
};

class Flips : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    return static_cast<double>(site.registers[0].count * site.registers[0].bits);
  }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    edits.add({.element = any(site, random), .mask = 1});
  }
  static std::int64_t any(const SiteView& site, RandomStream& random) {
    return static_cast<std::int64_t>(
        random.below(static_cast<std::uint64_t>(site.registers[0].count)));
  }
};
/// Draws two numbers at a time, and keeps the second for the next fault.
class Pairs final : public Flips {
 public:
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const bool second = calls_++ % 2 != 0;
    edits.add({.element = any(site, random), .mask = second ? kept_.load() : 1});
    if (!second) kept_ = 2 + random.next() % 2;
  }

 private:
  mutable std::atomic<std::uint32_t> calls_{0}, kept_{0};
};
class TwoBits final : public Flips {
 public:
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    edits.add({.element = any(site, random), .mask = 3});
  }
  const void* extension(const char* name) const override {
    return Text(name) == kBitFaults ? &kOneBitEach : nullptr;
  }
};

template <typename Interface, typename Class>
constexpr Component<Interface> component(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Interface* { return new Class; }};
}

constexpr void register_all(Registrar& registrar) {
  registrar.add(component<NumberFormat, BySize>("by_size"));
  registrar.add(component<NumberFormat, BySizeDecode>("by_size_decode"));
  registrar.add(component<NumberFormat, WritesInput>("writes_input"));
  registrar.add(component<NumberFormat, SeldomExact>("seldom_exact"));
  registrar.add(component<NumberFormat, FirstScale>("first_scale"));
  registrar.add(component<Metric, WritesLogits>("writes_logits"));
#if defined(__x86_64__)
  registrar.add(component<Metric, DoublePrecision>("double_precision"));
  registrar.add(component<Metric, LeavesMmx>("leaves_mmx"));
#endif
  registrar.add(
      Component<Metric>{"asks_late", "for tests", {}, [](const Options& options) -> Metric* {
                          return new AsksLate(options.host());
                        }});
  registrar.add(component<Protection, Bounds>("bounds"));
  registrar.add(component<Protection, BoundsFirst>("bounds_first"));
  registrar.add(component<Protection, BoundsMany>("bounds_many"));
  registrar.add(component<Protection, BoundsFew>("bounds_few"));
  registrar.add(component<Protection, CountsSlices>("counts_slices"));
  registrar.add(component<Protection, WritesState>("writes_state"));
  registrar.add(component<Protection, SaysOtherwise<Asked::kState>>("other_state"));
  registrar.add(component<Protection, SaysOtherwise<Asked::kScratch>>("other_scratch"));
  registrar.add(component<Protection, SaysOtherwise<Asked::kWants>>("other_wants"));
  registrar.add(component<Protection, SaysOtherwise<Asked::kTwice>>("other_twice"));
  registrar.add(component<Protection, SaysOtherwise<Asked::kPasses>>("other_passes"));
  registrar.add(component<ErrorModel, Pairs>("pairs"));
  registrar.add(component<ErrorModel, TwoBits>("two_bits"));
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("sly", "1.0", "parts are not what the whole is", bitfall::register_all);
