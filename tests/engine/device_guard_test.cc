#include "device_guard.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <random>

#include "bitfall/extensions/guard_ranges.h"
#include "format_fixture.h"

namespace bitfall::device_guard_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::unique_ptr<Protection> make_protection(const std::string& id, FormatOptions options = {}) {
  Diagnostics diagnostics("", "");
  auto made =
      first_party_plugins().make_protection(plugin_choice(id, std::move(options)), diagnostics);
  EXPECT_NE(made, nullptr) << diagnostics.render();
  return made;
}

Site site_of(std::vector<std::int64_t> shape) {
  Site site;
  site.name = site.operation = "relu";
  site.values = element_count(shape);
  site.shape = std::move(shape);
  return site;
}

/// A protection of a site, with any bounds.
struct Place {
  Place(const Protection& protection, std::vector<std::int64_t> shape)
      : site(site_of(std::move(shape))), format(*plain, protection, site, record) {
    const ProtectedSite seen = format.site();
    std::vector<float> state(static_cast<std::size_t>(protection.state_size(seen)));
    std::mt19937 random(7);
    for (std::size_t i = 0; i + 1 < state.size(); i += 2) {
      const auto low = static_cast<float>(static_cast<int>(random() % 40)) / 8 - 3;
      state[i] = low;
      state[i + 1] = low + static_cast<float>(random() % 20) / 8;
      if (random() % 16 == 0) state[i + random() % 2] = kNan;  // a fault's work
      if (random() % 16 == 0) std::swap(state[i], state[i + 1]);
    }
    format.set_state(std::move(state));
    metadata = format.with_state({});
  }
  std::optional<DeviceGuard> guard() const { return DeviceGuard::make(format, metadata); }

  std::unique_ptr<NumberFormat> plain = make_format("fp32");
  Site site;
  GuardRecord record;
  ProtectedFormat format;
  std::vector<std::uint32_t> metadata;
};

void expect_same(const Place& place, const DeviceGuard& guard) {
  std::mt19937 random(3);
  std::vector<std::int64_t> sizes = place.site.shape;
  sizes.insert(sizes.begin(), 5);
  std::vector<float> values;
  const auto some = std::to_array({kNan, -kNan, kInf, -kInf, 0.0F, -0.0F, 1e-40F});
  for (std::int64_t i = 0; i < 5 * place.site.values; ++i) {
    const auto eighths = static_cast<float>(static_cast<int>(random() % 64)) / 8 - 4;
    values.push_back(random() % 5 == 0 ? some[random() % some.size()] : eighths);
  }
  const at::Tensor got = guard(at::tensor(values).view(sizes)).contiguous();
  ASSERT_EQ(got.sizes(), sizes);
  const auto size = static_cast<std::size_t>(place.site.values);
  const std::vector<float> state = place.format.state_in(place.metadata);
  for (std::size_t image = 0; image < 5; ++image) {
    place.format.protection().guard(place.format.site(),
                                    std::span(values).subspan(image * size, size),
                                    {place.site.shape}, state);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i]) && std::isnan(got.const_data_ptr<float>()[i])) continue;
    ASSERT_EQ(bits_of(got.const_data_ptr<float>()[i]), bits_of(values[i])) << i;
  }
}

TEST(DeviceGuard, DoesWhatTheProtectionDoes) {
  const auto word = [](const char* text) { return OptionValue(std::string(text)); };
  for (const char* scope : {"layer", "channel", "neuron"}) {
    for (const char* action : {"clamp", "zero"}) {
      const auto range =
          make_protection("range", {{"scope", word(scope)}, {"action", word(action)}});
      for (const std::vector<std::int64_t>& shape :
           {std::vector<std::int64_t>{6, 5, 4}, {17}, {7, 9}, {1, 3, 3}, {1}}) {
        SCOPED_TRACE(std::string(scope) + " " + action + " " + testing::PrintToString(shape));
        const Place place(*range, shape);
        const auto guard = place.guard();
        ASSERT_TRUE(guard);
        expect_same(place, *guard);
      }
    }
  }
  const auto nan_guard = make_protection("nan_guard");
  const Place place(*nan_guard, {6, 5, 4});
  ASSERT_TRUE(place.guard());
  expect_same(place, *place.guard());
}

/// Says that it clamps, and takes the magnitude.
class Lying final : public Protection {
 public:
  bool wants(const ProtectedSite&) const override { return true; }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float>) const override {
    for (float& value : values) value = std::fabs(value);
    return {};
  }
  const void* extension(const char* name) const override {
    static constexpr GuardRanges kRanges{};
    return std::string_view(name) == kGuardRanges ? &kRanges : nullptr;
  }
};

TEST(DeviceGuard, IsNotMadeOfAWordThatIsNotKept) {
  const Lying lying;
  testing::internal::CaptureStderr();
  EXPECT_FALSE(Place(lying, {4, 3, 3}).guard());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("does not guard as"));
}

TEST(DeviceGuard, IsNotMadeOfWhatSaysNothing) {
  Diagnostics diagnostics("", "");
  const auto duplicate = make_protection("duplicate");
  EXPECT_FALSE(Place(*duplicate, {4, 3, 3}).guard());
}

}  // namespace
}  // namespace bitfall::device_guard_test
