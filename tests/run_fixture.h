// A small run with every kind of number in it, for the tests of store and report.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <random>
#include <string>

#include "store.h"

namespace bitfall {

/// A folder of the test's own that does not exist yet.
inline std::filesystem::path fresh_directory(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) /
      ("bitfall_" + std::string(test->test_suite_name()) + "_" + test->name() + "_" + name);
  std::filesystem::remove_all(path);
  return path;
}

/// Three sites, five images, three classes, FP16 with a made-up 8-bit scale, two metric columns.
inline RunDescription small_run(std::int64_t trials) {
  RunDescription run;
  run.facts = {{"seed", "1"}, {"confidence", "0.95"}, {"clip", "2.5"}, {"format", "fp16"}};
  run.campaign_text = "# a campaign\n[model]\npath = \"m.pt\"\r\n";
  run.campaign_file = "some where/campaign.toml";
  run.classes = {"cat", "dog, large", "\"eel\""};
  run.image_names = {"cat/0.png", "dog, large/1.png", "\"eel\"/2.png", "cat/3.png", "cat/4.png"};
  run.labels = {0, 1, 2, 0, 0};
  run.sites = {
      {"conv1", {"stem"}, Target::kActivation, "conv", {4, 3, 3}, 36, ""},
      {"layer/linear#2", {}, Target::kActivation, "linear", {10}, 10, ""},
      {"fc.weight", {}, Target::kWeight, "linear", {10, 3}, 30, "its reader is not known"}};
  run.profiles = {{{-0.0f, 3.5f}, {7, 0xFFFFFFFFu}},
                  {{-std::numeric_limits<float>::infinity(), 1e-45f}, {0, 1}},
                  {{0, 0}, {}}};
  run.strata = {{0, 0, 36.0 * 16 * 5, trials / 2},
                {0, 1, 0x1p70, trials / 4},
                {1, 1, 160, trials - trials / 2 - trials / 4}};
  run.metric_columns = {{"delta_loss", "delta_loss", ColumnKind::kQuantity, "nats"},
                        {"odd \"name\"", "other", ColumnKind::kEvent, "1"}};
  run.formats = {{"fp16",
                  "",
                  {{"payload", 16, std::vector<BitClass>(16, BitClass::kMantissa)},
                   {"scale", 8, std::vector<BitClass>(8, BitClass::kMetadata)}}}};
  auto& classes = run.formats[0].registers[0].bit_classes;
  for (std::size_t bit = 10; bit < 15; ++bit) classes[bit] = BitClass::kExponent;
  classes[15] = BitClass::kSign;
  run.site_formats.assign(run.sites.size(), 0);
  run.trials = trials;
  return run;
}

/// A loss that is often ordinary and sometimes as bad as a double can be.
inline double wild_loss(std::mt19937_64& random) {
  switch (random() % 12) {
    case 0:
      return std::numeric_limits<double>::infinity();
    case 1:
      return std::numeric_limits<double>::quiet_NaN();
    case 2:
      return -0.0;
    case 3:
      return 5e-324;
    case 4:
      return 3.4e38 * 1e10;
    default:
      return static_cast<double>(random() % 1'000'000) * 1e-5;
  }
}

/// Trial `id` of small_run(trials): the same numbers at every call.
inline TrialResult wild_trial(std::int64_t id, std::int64_t trials) {
  std::mt19937_64 random(static_cast<std::uint64_t>(id) + 17);
  TrialResult result;
  result.trial = id;
  result.entry = id >= trials / 2 + trials / 4 ? 1 : 0;
  result.site = id < trials / 2 ? 0 : 1;
  result.image = static_cast<std::int32_t>(random() % 5);
  result.outcome = static_cast<Outcome>(random() % 4);
  result.activated = result.outcome != Outcome::kMasked || random() % 2;
  result.golden_loss = random() % 20 == 0 ? wild_loss(random) : 0.25;
  result.faulty_loss = result.outcome == Outcome::kMasked ? result.golden_loss : wild_loss(random);
  result.golden_top1 = static_cast<std::int32_t>(random() % 3);
  result.faulty_top1 = result.outcome == Outcome::kTop1Changed ? (result.golden_top1 + 1) % 3
                       : result.outcome == Outcome::kNonfinite
                           ? static_cast<std::int32_t>(random() % 3)
                           : result.golden_top1;
  result.metrics = {std::abs(result.faulty_loss - result.golden_loss),
                    random() % 7 == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0};
  const std::size_t edits = random() % 4 == 0 ? 3 : 1;
  for (std::size_t i = 0; i < edits; ++i) {
    EditRecord record;
    record.edit.element = static_cast<std::int64_t>(random() % 10);
    record.edit.register_index = random() % 5 == 0 ? 1 : 0;
    record.edit.operation = static_cast<EditOperation>(random() % 5);
    record.edit.mask = 1u << random() % (record.edit.register_index == 1 ? 8 : 16);
    record.code_before = static_cast<std::uint32_t>(random() % 256);
    record.code_after = static_cast<std::uint32_t>(random() % 256);
    if (record.edit.operation == EditOperation::kValue) record.edit.value = -0.1f;
    const int bit = static_cast<int>(std::bit_width(edited_bits(record))) - 1;
    const BitClass of_payload = bit == 15   ? BitClass::kSign
                                : bit >= 10 ? BitClass::kExponent
                                            : BitClass::kMantissa;
    const bool scale = record.edit.register_index == 1;
    if (bit >= 0)
      record.bit_class = static_cast<std::int8_t>(scale ? BitClass::kMetadata : of_payload);
    record.value_before = random() % 3 ? 0.1f : -0.0f;
    record.value_after = random() % 3 ? 1e-45f : -std::numeric_limits<float>::infinity();
    result.edits.push_back(record);
  }
  return result;
}

/// A finished small_run in `directory`.
inline std::unique_ptr<Store> wild_store(const std::filesystem::path& directory,
                                         std::int64_t trials) {
  auto store = Store::create(directory, small_run(trials), 64);
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, 0.25, image % 3, 0.5f, 0.24, image % 2});
  }
  for (std::int64_t id = 0; id < trials; ++id) store->trial(wild_trial(id, trials));
  store->commit();
  return store;
}

}  // namespace bitfall
