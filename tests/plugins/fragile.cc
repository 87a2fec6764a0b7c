// Registers well; each component fails later, in a way of its own.
#include <limits>
#include <stdexcept>
#include <string>

#include "echo.h"

namespace bitfall {
namespace {

// --- create ---

Metric* create_throws(const Options&) { throw std::runtime_error("out of luck"); }
Metric* create_throws_lines(const Options&) {
  throw std::runtime_error("out of\nbitfall: error: \x1b[31m" + std::string(5000, 'x'));
}
Metric* create_throws_other(const Options&) { throw 1; }
Metric* create_makes_nothing(const Options&) { return nullptr; }
Metric* create_asks_undeclared(const Options& options) {
  options.integer("undeclared");
  return new Echo;
}
constexpr OptionSpec kOptions[] = {
    {"integer", OptionType::kInteger, "1", 0, 9, nullptr, "An integer"}};
Metric* create_asks_wrong_type(const Options& options) {
  options.flag("integer");
  return new Echo;
}

// --- what an object says of itself ---

template <int kCase>
class OddMetric final : public Echo {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {
        {"Odd Name", ColumnKind::kEvent, "1", "help"},
        {"twice", ColumnKind::kEvent, "1", "help"},
        {"twice", ColumnKind::kEvent, "1", "help"},
        {"no_unit", ColumnKind::kEvent, nullptr, "help"},
        {"odd_kind", static_cast<ColumnKind>(7), "1", "help"},
    };
    const View<const MetricColumn> all(kColumns);
    switch (kCase) {
      case 0:
        return {};
      case 1:
        return all.subspan(0, 1);
      case 2:
        return all.subspan(1, 2);
      case 3:
        return all.subspan(3, 1);
      default:
        return all.subspan(4, 1);
    }
  }
};

constexpr BitClass kClasses[] = {BitClass::kMantissa, BitClass::kSign, static_cast<BitClass>(77)};

template <int kCase>
class OddFormat final : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {
        {"payload", 3, {kClasses, 2}},
        {"payload", 33, {}},
        {"codes", 2, {kClasses, 2}},
        {"payload", 3, kClasses},
    };
    if (kCase == 0) return {};
    return {&kRegisters[kCase - 1], 1};
  }
  void encode(View<const float>, const Slice&, View<std::uint32_t>,
              View<std::uint32_t>) const override {}
  void decode(View<const std::uint32_t>, const Slice&, View<const std::uint32_t>,
              View<float>) const override {}
  float largest(View<const std::uint32_t>) const override { return 1; }
};

// --- what an object does ---

class ThrowingFormat final : public NumberFormat {
 public:
  View<const Register> registers() const override {
    static constexpr Register kRegisters[] = {{"payload", 2, {kClasses, 2}}};
    return kRegisters;
  }
  std::int64_t register_count(int, View<const std::int64_t>) const override { return -1; }
  void encode(View<const float>, const Slice&, View<std::uint32_t>,
              View<std::uint32_t>) const override {
    throw std::out_of_range("lost count");
  }
  void decode(View<const std::uint32_t>, const Slice&, View<const std::uint32_t>,
              View<float>) const override {
    throw "a literal";
  }
  float largest(View<const std::uint32_t>) const override { return 1; }
};

class ThrowingModel final : public ErrorModel {
 public:
  double population(const SiteView&) const override {
    return std::numeric_limits<double>::quiet_NaN();
  }
  void draw(const SiteView&, RandomStream&, EditSink&) const override {
    throw std::runtime_error("no bit to be had");
  }
};

class ThrowingMetric final : public Echo {
 public:
  void measure(const Observation&, View<double>) const override {
    throw std::domain_error("beyond measure");
  }
};

template <typename Interface, typename Class>
Component<Interface> component(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Interface* { return new Class; }};
}

void register_all(Registrar& registrar) {
  registrar.add(Component<Metric>{"create_throws", "", {}, create_throws});
  registrar.add(Component<Metric>{"create_throws_lines", "", {}, create_throws_lines});
  registrar.add(Component<Metric>{"create_throws_other", "", {}, create_throws_other});
  registrar.add(Component<Metric>{"create_makes_nothing", "", {}, create_makes_nothing});
  registrar.add(Component<Metric>{"create_asks_undeclared", "", {}, create_asks_undeclared});
  registrar.add(Component<Metric>{"create_asks_wrong_type", "", kOptions, create_asks_wrong_type});
  registrar.add(component<Metric, OddMetric<0>>("no_columns"));
  registrar.add(component<Metric, OddMetric<1>>("odd_column_name"));
  registrar.add(component<Metric, OddMetric<2>>("column_twice"));
  registrar.add(component<Metric, OddMetric<3>>("column_without_unit"));
  registrar.add(component<Metric, OddMetric<4>>("odd_column_kind"));
  registrar.add(component<NumberFormat, OddFormat<0>>("no_registers"));
  registrar.add(component<NumberFormat, OddFormat<1>>("class_missing"));
  registrar.add(component<NumberFormat, OddFormat<2>>("too_wide"));
  registrar.add(component<NumberFormat, OddFormat<3>>("no_payload"));
  registrar.add(component<NumberFormat, OddFormat<4>>("odd_class"));
  registrar.add(component<NumberFormat, ThrowingFormat>("throwing"));
  registrar.add(component<ErrorModel, ThrowingModel>("throwing"));
  registrar.add(component<Metric, ThrowingMetric>("throwing"));
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("fragile", "1.0", "fails after registration", bitfall::register_all);
