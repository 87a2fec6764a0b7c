// Registers well; each component does in a call what no code should.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "bitfall/extensions/edit_condition.h"
#include "echo.h"

namespace bitfall {
namespace {

void overflow_stack(volatile int* depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(*depth);
  *depth = *depth + 1;
  if (*depth > 0) overflow_stack(depth);
  frame[1] = frame[0];
}

enum class Deed {
  kPointer,
  kStack,
  kAbort,
  kExit,
  kExitAtOnce,
  kThread,
  kEndless,
  kRounding,
  kSlow
};

template <Deed kDeed>
void act() {
  if constexpr (kDeed == Deed::kPointer) {
    *static_cast<volatile int*>(nullptr) = 1;
  } else if constexpr (kDeed == Deed::kStack) {
    volatile int depth = 0;
    overflow_stack(&depth);
  } else if constexpr (kDeed == Deed::kAbort) {
    std::abort();
  } else if constexpr (kDeed == Deed::kExit) {
    std::exit(0);
  } else if constexpr (kDeed == Deed::kExitAtOnce) {
    std::_Exit(0);
  } else if constexpr (kDeed == Deed::kThread) {
    std::thread([] { std::abort(); }).join();
  } else if constexpr (kDeed == Deed::kEndless) {
    for (;;) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  } else if constexpr (kDeed == Deed::kRounding) {
    std::fesetround(FE_UPWARD);
  } else {
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
}

constexpr BitClass kClasses[] = {BitClass::kMantissa, BitClass::kMantissa, BitClass::kMantissa,
                                 BitClass::kSign};

/// Four bits of nothing.
class Base : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {{"payload", 4, kClasses}};
    return kRegisters;
  }
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = values[i] > 0 ? 1 : 0;
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = static_cast<float>(codes[i]);
  }
  float largest(View<const std::uint32_t>) const override { return 15; }
};

template <Deed kDeed>
class Format final : public Base {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Base::encode(values, slice, metadata, codes);
    act<kDeed>();
  }
};

/// Not what encode and decode make.
class OtherEmulation final : public Base {
 public:
  void emulate(View<float> values, const Slice&, View<std::uint32_t>) const override {
    for (float& value : values) value = value > 0 ? 2 : 0;
  }
};
/// Of elements that can be stored alone the first of a slice is another.
class FirstOfSlice final : public Base {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Base::encode(values, slice, metadata, codes);
    codes[0] = 3;
  }
};
class FalseExact final : public Base {
 public:
  bool exact() const override { return true; }
};

class WideCodes final : public Base {
 public:
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = 16;
  }
};

/// Has a register of four bits and one of six; both hold 16 after calibrate.
class WideMetadata final : public Base {
 public:
  View<const Register> registers() const override {
    static constexpr BitClass kSix[] = {BitClass::kMetadata, BitClass::kMetadata,
                                        BitClass::kMetadata, BitClass::kMetadata,
                                        BitClass::kMetadata, BitClass::kMetadata};
    static constexpr Register kRegisters[] = {
        {"payload", 4, kClasses}, {"wide", 6, kSix}, {"narrow", 4, View<const BitClass>(kSix, 4)}};
    return kRegisters;
  }
  std::int64_t register_count(int, View<const std::int64_t>) const override { return 2; }
  bool calibrated() const override { return true; }
  void calibrate(View<const Range>, View<const std::int64_t>,
                 View<std::uint32_t> metadata) const override {
    for (std::uint32_t& code : metadata) code = 16;
  }
};

class NoLargest final : public Base {
 public:
  float largest(View<const std::uint32_t>) const override {
    return std::numeric_limits<float>::quiet_NaN();
  }
};

class FarBlock final : public Base {
 public:
  bool elementwise() const override { return false; }
  ElementRun block(std::int64_t element, View<const std::int64_t>) const override {
    return {element, std::int64_t{1} << 40, std::int64_t{1} << 40};
  }
};

class ManyRegisters final : public Base {
 public:
  std::int64_t register_count(int, View<const std::int64_t>) const override {
    return std::int64_t{1} << 40;
  }
};

class OddBitClass final : public Base {
 public:
  BitClass bit_class(std::uint32_t, int) const override { return static_cast<BitClass>(99); }
};

class EndlessDraw final : public ErrorModel {
 public:
  double population(const SiteView&) const override { return 1; }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    for (;;) edits.add({.element = 0, .mask = 1});
  }
};

class AddsNan final : public ErrorModel {
 public:
  double population(const SiteView&) const override { return 1; }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0,
               .operation = EditOperation::kAdd,
               .value = std::numeric_limits<float>::quiet_NaN()});
  }
};

/// Catches what it is refused.
class Swallows final : public ErrorModel {
 public:
  double population(const SiteView&) const override { return 1; }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1});
    try {
      AddsNan().draw(site, random, edits);
    } catch (...) {
    }
  }
};

/// Reads golden ranges, with or without saying so.
template <bool kSays>
class ByRange final : public ErrorModel {
 public:
  bool needs_golden_range() const override { return kSays; }
  double population(const SiteView&) const override { return 1; }
  void draw(const SiteView& site, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .operation = EditOperation::kAdd, .value = site.golden.absolute()});
  }
};

/// Its condition begins where it itself does not.
class Itself final : public ErrorModel, public EditCondition {
 public:
  double population(const SiteView&) const override { return 1; }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1});
  }
  bool holds(const EditFinds&) const override { return true; }
  const void* extension(const char* name) const override {
    return std::string(name) == kEditCondition ? this : nullptr;
  }
};

template <int kMethod>
class Hangs final : public ErrorModel {
 public:
  Hangs() {
    if (kMethod == 0) hang();
  }
  double population(const SiteView&) const override {
    if (kMethod == 1) hang();
    return 1;
  }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1});
  }

 private:
  static void hang() {
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
};

class ChangingPopulation final : public ErrorModel {
 public:
  double population(const SiteView&) const override { return ++calls_; }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1});
  }

 private:
  mutable double calls_ = 0;
};

/// What these give depends on what they gave before.
std::atomic<std::uint32_t> calls{0};

class Moody final : public Base {
 public:
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = values[i] > 0 ? 8 + mood_ : mood_;
  }

 private:
  const std::uint32_t mood_ = calls++ % 7;  // of each instance
};

class Fickle final : public Base {
 public:
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    const std::uint32_t mood = calls++ % 7;
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = values[i] > 0 ? 8 + mood : mood;
  }
};

/// The last code is what stood there.
class Unwritten final : public Base {
 public:
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    const std::uint32_t before = codes[values.size() - 1];
    Base::encode(values, slice, metadata, codes);
    codes[values.size() - 1] = before & 15;
  }
};

class UnwrittenValue final : public Base {
 public:
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    Base::decode(codes.subspan(1), slice, metadata, values.subspan(1));
  }
};

class UnwrittenMetadata final : public Base {
 public:
  View<const Register> registers() const override {
    static constexpr BitClass kEight[] = {
        BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata,
        BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata, BitClass::kMetadata};
    static constexpr Register kRegisters[] = {{"payload", 4, kClasses}, {"scale", 8, kEight}};
    return kRegisters;
  }
  std::int64_t register_count(int, View<const std::int64_t>) const override { return 1; }
  bool elementwise() const override { return false; }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    Base::encode(values, slice, metadata, codes);
    metadata[0] &= 255;
  }
};

class OwnRandom final : public ErrorModel {
 public:
  double population(const SiteView&) const override { return 4; }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1U << calls++ % 4});
  }
};

class Counting final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"count", ColumnKind::kQuantity, "1", "calls"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override { values[0] = calls++; }
};

template <int kCase>
class OddMetric final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"odd_event", ColumnKind::kEvent, "1", "an event"},
                                                {"odd_number", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    values[0] = kCase == 0 ? 7.5 : kCase == 1 ? std::numeric_limits<double>::quiet_NaN() : 1;
    if (kCase != 2) values[1] = 0.5;
    if (kCase == 3) *(values.data() + values.size()) = 1;
    if (kCase == 4) act<Deed::kPointer>();
  }
};

/// Has one column more at each call.
class Growing final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    names_.push_back("grown_" + std::to_string(names_.size()));
    columns_.clear();
    for (const std::string& name : names_) {
      columns_.push_back({name.c_str(), ColumnKind::kQuantity, "1", "one more"});
    }
    return columns_;
  }
  void measure(const Observation&, View<double> values) const override {
    for (double& value : values) value = 2;
  }

 private:
  mutable std::vector<std::string> names_;
  mutable std::vector<MetricColumn> columns_;
};

/// Measures well, and does not end so.
template <Deed kDeed>
class EndsBadly final : public Metric {
 public:
  ~EndsBadly() override { act<kDeed>(); }
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"one", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override { values[0] = 1; }
};

class ManyColumns final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static std::vector<std::string>& names = *new std::vector<std::string>;
    static std::vector<MetricColumn>& columns = *new std::vector<MetricColumn>;
    if (names.empty()) {
      for (int i = 0; i < 2500; ++i) names.push_back("column_" + std::to_string(i));
      for (const auto& name : names) {
        columns.push_back({name.c_str(), ColumnKind::kQuantity, "1", "one of many"});
      }
    }
    return columns;
  }
  void measure(const Observation&, View<double> values) const override {
    for (double& value : values) value = 1;
  }
};

/// Asks a program that is not there.
class Forks final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"status", ColumnKind::kQuantity, "1", "its end"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/no/such/program", "program", nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    values[0] = WEXITSTATUS(status);
  }
};

/// Notices values above the largest of training images, and leaves them as they are.
class Watches final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  std::int64_t scratch_size(const ProtectedSite&) const override { return 1; }
  void learn(const ProtectedSite&, int, View<const float> values,
             View<double> scratch) const override {
    for (const float value : values) scratch[0] = value > scratch[0] ? value : scratch[0];
  }
  std::int64_t state_size(const ProtectedSite&) const override { return 1; }
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    state[0] = static_cast<float>(scratch[0]);
  }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float> state) const override {
    Verdict verdict;
    for (const float value : values) verdict.detected += value > state[0];
    return verdict;
  }
};

enum class Ill { kAgain, kTooMany, kLearns, kMoods };

/// What guards may not do.
template <Ill kIll>
class IllGuard final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  std::int64_t state_size(const ProtectedSite&) const override { return 1; }
  void learn(const ProtectedSite&, int, View<const float>, View<double>) const override {
    if (kIll == Ill::kLearns) act<Deed::kPointer>();
  }
  void finish(const ProtectedSite&, View<const double>, View<float> state) const override {
    state[0] = 0;
  }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float>) const override {
    Verdict verdict;
    verdict.again = kIll == Ill::kAgain;
    if (kIll == Ill::kTooMany) verdict.detected = static_cast<std::int64_t>(values.size()) + 1;
    if (kIll == Ill::kMoods) {
      for (float& value : values) value = static_cast<float>(mood_);
      verdict = {static_cast<std::int64_t>(values.size()), static_cast<std::int64_t>(values.size()),
                 false};
    }
    return verdict;
  }

 private:
  const std::uint32_t mood_ = calls++;  // of each instance
};

/// Halves the answer's first number, and says nothing of it.
class Nudges final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation == "answer"; }
  int passes() const override { return 0; }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float>) const override {
    values[0] /= 2;
    return {};
  }
};

template <typename Interface, typename Class>
Component<Interface> component(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Interface* { return new Class; }};
}

void register_all(Registrar& registrar) {
  registrar.add(component<NumberFormat, OtherEmulation>("other_emulation"));
  registrar.add(component<NumberFormat, FirstOfSlice>("first_of_slice"));
  registrar.add(component<NumberFormat, FalseExact>("false_exact"));
  registrar.add(component<NumberFormat, Format<Deed::kPointer>>("bad_pointer"));
  registrar.add(component<NumberFormat, Format<Deed::kStack>>("stack_overflow"));
  registrar.add(component<NumberFormat, Format<Deed::kAbort>>("aborts"));
  registrar.add(component<NumberFormat, Format<Deed::kExit>>("exits"));
  registrar.add(component<NumberFormat, Format<Deed::kExitAtOnce>>("exits_at_once"));
  registrar.add(component<NumberFormat, Format<Deed::kThread>>("crashes_aside"));
  registrar.add(component<NumberFormat, Format<Deed::kEndless>>("endless"));
  registrar.add(component<NumberFormat, Format<Deed::kRounding>>("rounds_up"));
  registrar.add(component<NumberFormat, Format<Deed::kSlow>>("slow"));
  registrar.add(component<NumberFormat, WideCodes>("wide_codes"));
  registrar.add(component<NumberFormat, WideMetadata>("wide_metadata"));
  registrar.add(component<NumberFormat, NoLargest>("no_largest"));
  registrar.add(component<NumberFormat, FarBlock>("far_block"));
  registrar.add(component<NumberFormat, ManyRegisters>("many_registers"));
  registrar.add(component<NumberFormat, OddBitClass>("odd_bit_class"));
  registrar.add(component<NumberFormat, Moody>("moody"));
  registrar.add(component<NumberFormat, Fickle>("fickle"));
  registrar.add(component<NumberFormat, Unwritten>("unwritten_code"));
  registrar.add(component<NumberFormat, UnwrittenValue>("unwritten_value"));
  registrar.add(component<NumberFormat, UnwrittenMetadata>("unwritten_metadata"));
  registrar.add(component<Protection, Watches>("watches"));
  registrar.add(component<Protection, Nudges>("nudges"));
  registrar.add(component<Protection, IllGuard<Ill::kAgain>>("again_at_sites"));
  registrar.add(component<Protection, IllGuard<Ill::kTooMany>>("detects_too_many"));
  registrar.add(component<Protection, IllGuard<Ill::kLearns>>("crashes_in_learn"));
  registrar.add(component<Protection, IllGuard<Ill::kMoods>>("moody_guard"));
  registrar.add(component<ErrorModel, OwnRandom>("own_random"));
  registrar.add(component<Metric, Counting>("counting"));
  registrar.add(component<ErrorModel, EndlessDraw>("endless_draw"));
  registrar.add(component<ErrorModel, AddsNan>("adds_nan"));
  registrar.add(component<ErrorModel, ChangingPopulation>("changing_population"));
  registrar.add(component<ErrorModel, Swallows>("swallows"));
  registrar.add(component<ErrorModel, ByRange<false>>("by_range_unsaid"));
  registrar.add(component<ErrorModel, ByRange<true>>("by_range"));
  registrar.add(component<ErrorModel, Itself>("itself"));
  registrar.add(component<ErrorModel, Hangs<0>>("hangs_in_create"));
  registrar.add(component<ErrorModel, Hangs<1>>("hangs_in_population"));
  registrar.add(component<Metric, Growing>("growing"));
  registrar.add(component<Metric, EndsBadly<Deed::kAbort>>("ends_in_abort"));
  registrar.add(component<Metric, EndsBadly<Deed::kEndless>>("ends_never"));
  registrar.add(component<Metric, ManyColumns>("many_columns"));
  registrar.add(component<Metric, Forks>("forks"));
  registrar.add(component<Metric, OddMetric<0>>("half_event"));
  registrar.add(component<Metric, OddMetric<1>>("nan_event"));
  registrar.add(component<Metric, OddMetric<2>>("unwritten"));
  registrar.add(component<Metric, OddMetric<3>>("one_too_many"));
  registrar.add(component<Metric, OddMetric<4>>("bad_pointer"));
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("unruly", "1.0", "does what no code should", bitfall::register_all);
