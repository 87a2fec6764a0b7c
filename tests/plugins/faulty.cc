// Good at first sight; each component breaks one promise, which its id tells, for `bitfall plugin
// check` to find.
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "bitfall/extensions/guard_ranges.h"
#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

constexpr auto kM = BitClass::kMantissa;
constexpr BitClass kByte[] = {kM, kM, kM, kM, kM, kM, kM, BitClass::kSign};
constexpr BitClass kScale[] = {BitClass::kMetadata, BitClass::kMetadata};

/// Eighths from -16 to 15.875; what makes it faulty stands around it.
class Fixed : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {{"payload", 8, kByte}};
    return kRegisters;
  }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = code(values[i]);
    after_encode(slice, values, codes);
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = value(codes[i]);
    after_decode(codes, values);
  }
  float largest(View<const std::uint32_t>) const override { return 16; }

 protected:
  static std::uint32_t code(float value) {
    const float scaled = std::isnan(value) ? 0 : std::round(value * 8);
    const auto clamped = static_cast<int>(std::fmin(std::fmax(scaled, -128.0F), 127.0F));
    return static_cast<std::uint32_t>(clamped) & 0xff;
  }
  static float value(std::uint32_t code) {
    return static_cast<float>(static_cast<std::int8_t>(code & 0xff)) / 8;
  }
  virtual void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const {}
  virtual void after_decode(View<const std::uint32_t>, View<float>) const {}
};

class RandomOutput final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t> codes) const override {
    static thread_local std::mt19937 generator{std::random_device{}()};
    if (codes.size() > 0) codes[0] = generator() & 0xff;
  }
};
class StateBetweenCalls final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t> codes) const override {
    if (++calls_ % 11 == 0) codes[0] ^= 1;
  }
  mutable std::atomic<int> calls_{0};
};
class BadAfterManyCalls final : public Fixed {
  void after_decode(View<const std::uint32_t>, View<float> values) const override {
    if (++calls_ < 400) return;
    for (float& value : values) value = std::numeric_limits<float>::quiet_NaN();
  }
  mutable std::atomic<int> calls_{0};
};
class OverrunByOne final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t> codes) const override {
    *(codes.data() + codes.size()) = 0;
  }
};
class WritesAhead final : public Fixed {
  void after_decode(View<const std::uint32_t>, View<float> values) const override {
    *(values.data() - 1) = 0;
  }
};
class NanForCodes final : public Fixed {
  void after_decode(View<const std::uint32_t> codes, View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if (codes[i] == 5) values[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
};
class TooLarge final : public Fixed {
  float largest(View<const std::uint32_t>) const override { return 0.5; }
};
class UnwrittenCode final : public Fixed {
 public:
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i + 1 < values.size(); ++i) codes[i] = code(values[i]);
    codes[codes.size() - 1] &= 0xff;
  }
};
class NotIdempotent final : public Fixed {
  void after_decode(View<const std::uint32_t>, View<float> values) const override {
    for (float& value : values) value = value * 0.5F;
  }
};
class OtherEmulate final : public Fixed {
 public:
  void emulate(View<float> values, const Slice&, View<std::uint32_t>) const override {
    for (float& value : values) value = std::round(value * 8) / 8;  // does not saturate
  }
};
/// With a register for the whole tensor.
class Scaled : public Fixed {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {{"payload", 8, kByte}, {"scale", 2, kScale}};
    return kRegisters;
  }
  std::int64_t register_count(int, View<const std::int64_t>) const override { return 1; }
  bool elementwise() const override { return false; }
};
/// Writes its scale where there is a value that is not 0.
class ForgetsZeros final : public Scaled {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Fixed::encode(values, slice, metadata, codes);
    metadata[0] &= 3;
    for (const float value : values) {
      if (value != 0) metadata[0] = 1;
    }
  }
};
class WideMetadata final : public Scaled {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Fixed::encode(values, slice, metadata, codes);
    metadata[0] = 4;
  }
};
/// Says that it has blocks of 4 and scales by the largest of all.
class WrongBlock final : public Fixed {
 public:
  bool elementwise() const override { return false; }
  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    const std::int64_t first = element / 4 * 4, left = element_count(shape) - first;
    return {first, left < 4 ? left : 4, 1};
  }
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    float most = 0;
    for (const float value : values) most = std::fmax(most, std::isfinite(value) ? value : 0);
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = code(most > 3.9F ? 0 : values[i]);
  }
};
class PlaceInSlice final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t> codes) const override {
    codes[0] |= 1;  // the first of what it is given, not of the tensor
  }
};
class ThrowsInAThread final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const override {
    if (std::this_thread::get_id() != maker_) throw std::runtime_error("not on this thread");
  }
  std::thread::id maker_ = std::this_thread::get_id();
};
/// One buffer for all threads.
class SharedBuffer final : public Fixed {
 public:
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) buffer_[i % 8192] = code(values[i]);
    std::this_thread::yield();
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = buffer_[i % 8192];
  }

 private:
  mutable std::atomic<std::uint32_t> buffer_[8192] = {};
};
class Endless final : public Fixed {
  void after_encode(const Slice&, View<const float> values, View<std::uint32_t>) const override {
    for (volatile bool go = values.size() == 7; go;) {
    }
  }
};
class Exits final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const override {
    std::exit(0);
  }
};
class ExitsAtOnce final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const override {
    _exit(0);
  }
};
class ForksAThread final : public Fixed {
  void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const override {
    std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
  }
};
class Prints final : public Fixed {
  void after_decode(View<const std::uint32_t>, View<float>) const override { std::puts("hello"); }
};
class MuchMemory final : public Fixed {
  void after_decode(View<const std::uint32_t>, View<float>) const override {
    const std::vector<char> memory(std::size_t{1} << 42);
  }
};

constexpr OptionSpec kPower[] = {
    {"power", OptionType::kInteger, "3", 0, 40, nullptr, "Steps of 2^-power."},
};
/// Nobody has tried the end of the range.
class BadAtTheEnd final : public Fixed {
 public:
  explicit BadAtTheEnd(std::int64_t power) : power_(power) {}

 private:
  void after_encode(const Slice&, View<const float>, View<std::uint32_t>) const override {
    if (power_ == 40) std::abort();
  }
  std::int64_t power_;
};

/// One flip of one bit of one value.
class Flip : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    return static_cast<double>(site.registers[0].count) * site.registers[0].bits;
  }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const auto count = static_cast<std::uint64_t>(site.registers[0].count);
    const auto bits = static_cast<std::uint64_t>(site.registers[0].bits);
    Edit edit;
    edit.element = static_cast<std::int64_t>(random.below(count));
    edit.mask = std::uint32_t{1} << random.below(bits);
    change(edit, site);
    edits.add(edit);
  }
  virtual void change(Edit&, const SiteView&) const {}
};
class ElementTooFar final : public Flip {
  void change(Edit& edit, const SiteView&) const override { ++edit.element; }
};
class MaskTooWide final : public Flip {
  void change(Edit& edit, const SiteView&) const override { edit.mask = 0x80000000; }
};
class AddsNan final : public Flip {
  void change(Edit& edit, const SiteView&) const override {
    edit.operation = EditOperation::kAdd;
    edit.value = std::numeric_limits<float>::quiet_NaN();
  }
};
class DrawsNothing final : public Flip {
 public:
  void draw(const SiteView&, RandomStream&, EditSink&) const override {}
};
class TooManyEdits final : public Flip {
 public:
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    for (;;) edits.add({.element = 0, .mask = 1});
  }
};
class OwnRandomness final : public Flip {
  void change(Edit& edit, const SiteView& site) const override {
    edit.element = static_cast<std::int64_t>(std::random_device{}()) % site.registers[0].count;
  }
};
class PopulationChanges final : public Flip {
 public:
  double population(const SiteView& site) const override {
    return Flip::population(site) + static_cast<double>(++calls_);
  }
  mutable std::atomic<int> calls_{0};
};
class PopulationTooSmall final : public Flip {
 public:
  double population(const SiteView& site) const override { return site.registers[0].bits; }
};
class PopulationInfinite final : public Flip {
 public:
  double population(const SiteView&) const override {
    return std::numeric_limits<double>::infinity();
  }
};
class NeverEnoughRandomness final : public Flip {
 public:
  void draw(const SiteView&, RandomStream& random, EditSink& edits) const override {
    while (random.uniform() < 2) {
    }
    edits.add({.element = 0, .mask = 1});
  }
};
class ReadsPastTheShape final : public Flip {
 public:
  double population(const SiteView& site) const override {
    return static_cast<double>(site.shape.data()[site.shape.size()]);
  }
};

enum class Odd { kUnwritten, kHalfEvent, kTooMany, kReadsPast, kRounds, kDrift };
template <Odd kOdd>
class OddMetric final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"odd_event", ColumnKind::kEvent, "1", "one"},
                                                {"odd_number", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation& trial, View<double> values) const override {
    values[0] = kOdd == Odd::kHalfEvent ? 0.5 : 1;
    if (kOdd != Odd::kUnwritten || trial.faulty_loss < 1e9) values[1] = trial.golden_loss;
    if (kOdd == Odd::kTooMany) *(values.data() + values.size()) = 1;
    if (kOdd == Odd::kReadsPast) values[1] = trial.faulty_logits.data()[trial.faulty_logits.size()];
    if (kOdd == Odd::kDrift) values[1] = static_cast<double>(++calls_);
#if defined(__x86_64__)
    if (kOdd == Odd::kRounds) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
  }
  mutable std::atomic<int> calls_{0};
};

/// What the first call of the process was given, or the options of the last instance.
template <bool kOptions>
class Static final : public Metric {
 public:
  explicit Static(std::int64_t option = 0) { last() = option; }
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"odd_number", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation& trial, View<double> values) const override {
    static const double first = trial.golden_loss;
    values[0] = kOptions ? static_cast<double>(last()) : first;
  }
  static std::int64_t& last() {
    static std::int64_t value = 0;
    return value;
  }
};

template <int kCase>
class OddHead final : public HeadInit {
 public:
  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    const auto classes = static_cast<std::int64_t>(request.classes.size());
    const std::int64_t rows = kCase == 0 ? classes + 1 : classes;
    std::vector<float> weight(static_cast<std::size_t>(rows * request.features));
    for (float& number : weight) {
      number = kCase == 1 ? static_cast<float>(std::random_device{}())
                          : static_cast<float>(random.uniform());
    }
    if (kCase == 2) weight[0] = std::numeric_limits<float>::infinity();
    layers.linear("linear", rows, request.features, weight, {}, true);
  }
};

/// Brings values back to at most a learned bound.
class Bound : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  std::int64_t scratch_size(const ProtectedSite&) const override { return 1; }
  void learn(const ProtectedSite&, int, View<const float> values,
             View<double> scratch) const override {
    for (const float value : values) scratch[0] = std::fmax(scratch[0], value);
  }
  std::int64_t state_size(const ProtectedSite&) const override { return 1; }
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    state[0] = static_cast<float>(scratch[0]);
  }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice& slice,
                View<const float> state) const override {
    Verdict verdict;
    for (float& value : values) {
      if (!(value > bound(state))) continue;
      value = bound(state);
      ++verdict.detected;
      ++verdict.corrected;
    }
    after_guard(values, slice, verdict);
    return verdict;
  }
  virtual float bound(View<const float> state) const { return state[0]; }
  virtual void after_guard(View<float>, const Slice&, Verdict&) const {}
};
class ChangesGolden final : public Bound {
  float bound(View<const float> state) const override { return state[0] / 2; }
};
class WrongVerdict final : public Bound {
  void after_guard(View<float>, const Slice&, Verdict& verdict) const override {
    verdict.corrected = 0;
  }
};
class GuardsByPart final : public Bound {
  void after_guard(View<float> values, const Slice&, Verdict& verdict) const override {
    if (values[0] == 0 || verdict.detected == 0) return;
    values[0] = 0;
    verdict.corrected = verdict.detected = static_cast<std::int64_t>(values.size());
  }
};
class StateTooSmall final : public Bound {
 public:
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    state.data()[0] = static_cast<float>(scratch[0]);
    state.data()[1] = 0;
  }
};
class FearsAnyState final : public Bound {
  float bound(View<const float> state) const override {
    if (std::isnan(state[0])) throw std::runtime_error("the bound is NaN");
    return state[0];
  }
};

class Remembers final : public Protection {  // in itself, by site
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  void learn(const ProtectedSite& site, int, View<const float> values,
             View<double>) const override {
    float& bound = bounds_[std::string(site.name.data(), site.name.size())];
    for (const float value : values) bound = std::fmax(bound, value);
  }
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice&,
                View<const float>) const override {
    const auto bound = bounds_.find(std::string(site.name.data(), site.name.size()));
    Verdict verdict;
    for (float& value : values) {
      if (bound == bounds_.end() || !(value > bound->second)) continue;
      value = bound->second;
      ++verdict.detected;
      ++verdict.corrected;
    }
    return verdict;
  }

 private:
  mutable std::map<std::string, float> bounds_;
};

class ClaimsRanges final : public Bound {  // and leaves NaN
 public:
  std::int64_t state_size(const ProtectedSite&) const override { return 2; }
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    state[0] = -std::numeric_limits<float>::max();
    state[1] = static_cast<float>(scratch[0]);
  }
  float bound(View<const float> state) const override { return state[1]; }
  const void* extension(const char* name) const override {
    static constexpr GuardRanges kRanges{};
    return std::string_view(name) == kGuardRanges ? &kRanges : nullptr;
  }
};

template <typename Interface, typename Class>
Component<Interface> component(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Interface* { return new Class; }};
}

void register_formats(Registrar& registrar) {
  const auto add = [&]<typename Class>(const char* id, Class*) {
    registrar.add(component<NumberFormat, Class>(id));
  };
  add("good_format", static_cast<Fixed*>(nullptr));
  add("random_output", static_cast<RandomOutput*>(nullptr));
  add("state_between_calls", static_cast<StateBetweenCalls*>(nullptr));
  add("bad_after_many_calls", static_cast<BadAfterManyCalls*>(nullptr));
  add("overrun_by_one", static_cast<OverrunByOne*>(nullptr));
  add("writes_ahead", static_cast<WritesAhead*>(nullptr));
  add("nan_for_codes", static_cast<NanForCodes*>(nullptr));
  add("too_large", static_cast<TooLarge*>(nullptr));
  add("unwritten_code", static_cast<UnwrittenCode*>(nullptr));
  add("not_idempotent", static_cast<NotIdempotent*>(nullptr));
  add("other_emulate", static_cast<OtherEmulate*>(nullptr));
  add("forgets_zeros", static_cast<ForgetsZeros*>(nullptr));
  add("wide_metadata", static_cast<WideMetadata*>(nullptr));
  add("wrong_block", static_cast<WrongBlock*>(nullptr));
  add("place_in_slice", static_cast<PlaceInSlice*>(nullptr));
  add("throws_in_a_thread", static_cast<ThrowsInAThread*>(nullptr));
  add("shared_buffer", static_cast<SharedBuffer*>(nullptr));
  add("endless", static_cast<Endless*>(nullptr));
  add("exits", static_cast<Exits*>(nullptr));
  add("exits_at_once", static_cast<ExitsAtOnce*>(nullptr));
  add("dies_in_a_thread", static_cast<ForksAThread*>(nullptr));
  add("prints", static_cast<Prints*>(nullptr));
  add("much_memory", static_cast<MuchMemory*>(nullptr));
  registrar.add(Component<NumberFormat>{"bad_at_the_end", "for tests", kPower,
                                        [](const Options& options) -> NumberFormat* {
                                          return new BadAtTheEnd(options.integer("power"));
                                        }});
}

void register_others(Registrar& registrar) {
  const auto model = [&]<typename Class>(const char* id, Class*) {
    registrar.add(component<ErrorModel, Class>(id));
  };
  model("good_model", static_cast<Flip*>(nullptr));
  model("element_too_far", static_cast<ElementTooFar*>(nullptr));
  model("mask_too_wide", static_cast<MaskTooWide*>(nullptr));
  model("adds_nan", static_cast<AddsNan*>(nullptr));
  model("draws_nothing", static_cast<DrawsNothing*>(nullptr));
  model("too_many_edits", static_cast<TooManyEdits*>(nullptr));
  model("own_randomness", static_cast<OwnRandomness*>(nullptr));
  model("population_changes", static_cast<PopulationChanges*>(nullptr));
  model("population_infinite", static_cast<PopulationInfinite*>(nullptr));
  model("population_too_small", static_cast<PopulationTooSmall*>(nullptr));
  model("never_enough_randomness", static_cast<NeverEnoughRandomness*>(nullptr));
  model("reads_past_the_shape", static_cast<ReadsPastTheShape*>(nullptr));
  registrar.add(component<Metric, OddMetric<Odd::kUnwritten>>("unwritten_column"));
  registrar.add(component<Metric, OddMetric<Odd::kHalfEvent>>("half_event"));
  registrar.add(component<Metric, OddMetric<Odd::kTooMany>>("column_too_many"));
  registrar.add(component<Metric, OddMetric<Odd::kReadsPast>>("reads_past_the_logits"));
  registrar.add(component<Metric, OddMetric<Odd::kRounds>>("changes_rounding"));
  registrar.add(component<Metric, OddMetric<Odd::kDrift>>("drifts"));
  registrar.add(component<Metric, Static<false>>("keeps_the_first"));
  registrar.add(Component<Metric>{"of_the_last_made", "for tests", kPower,
                                  [](const Options& options) -> Metric* {
                                    return new Static<true>(options.integer("power"));
                                  }});
  registrar.add(component<HeadInit, OddHead<0>>("class_too_many"));
  registrar.add(component<HeadInit, OddHead<1>>("own_seed"));
  registrar.add(component<HeadInit, OddHead<2>>("infinite_weight"));
  const auto guard = [&]<typename Class>(const char* id, Class*) {
    registrar.add(component<Protection, Class>(id));
  };
  guard("good_guard", static_cast<Bound*>(nullptr));
  guard("changes_golden", static_cast<ChangesGolden*>(nullptr));
  guard("wrong_verdict", static_cast<WrongVerdict*>(nullptr));
  guard("guards_by_part", static_cast<GuardsByPart*>(nullptr));
  guard("state_too_small", static_cast<StateTooSmall*>(nullptr));
  guard("fears_any_state", static_cast<FearsAnyState*>(nullptr));
  guard("remembers", static_cast<Remembers*>(nullptr));
  guard("claims_ranges", static_cast<ClaimsRanges*>(nullptr));
}

}  // namespace

BITFALL_PLUGIN("faulty", "1.0", "breaks promises one by one", register_formats, register_others);
