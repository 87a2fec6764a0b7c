// make_big_run TRIALS FOLDER [SEED]: a finished run of that many trials, written by the store
// alone, with numbers like those of a small FP16 network with all first-party metrics. Run by
// hand, where a campaign would take hours.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "error.h"
#include "store.h"

namespace {

using namespace bitfall;

constexpr std::int32_t kImages = 1000, kSites = 20, kClasses = 10;

RunDescription described(std::int64_t trials, std::uint64_t seed) {
  RunDescription run;
  run.facts.seed = seed;
  run.facts.format = "fp16";
  run.facts.data_digest = "made";
  run.facts.model_sha256 = "made";
  run.campaign_text = "# made by make_big_run\n";
  run.campaign_file = "made.toml";
  for (int i = 0; i < kClasses; ++i) run.classes.push_back("class" + std::to_string(i));
  for (int i = 0; i < kImages; ++i) {
    run.image_names.push_back("image" + std::to_string(i));
    run.labels.push_back(i % kClasses);
  }
  std::vector<BitClass> bits(16, BitClass::kMantissa);
  for (std::size_t bit = 10; bit < 15; ++bit) bits[bit] = BitClass::kExponent;
  bits[15] = BitClass::kSign;
  run.formats = {{"fp16", "", {{"payload", 16, bits}}}};
  for (std::int32_t i = 0; i < kSites; ++i) {
    run.sites.push_back(
        {"layer" + std::to_string(i), {}, Target::kActivation, "conv", {64, 16, 16}, 16384, ""});
    run.strata.push_back({0, i, 16384.0 * 16 * kImages, trials / kSites});
  }
  run.strata.back().trials += trials % kSites;
  run.site_formats.assign(kSites, 0);
  for (const char* name : {"delta_loss", "delta_loss_signed", "mismatch", "misclassified",
                           "top2diff_golden", "top2diff_faulty", "top2diff_change",
                           "output_error_max", "output_error_mean", "nonfinite"}) {
    const bool event = std::string(name) == "mismatch" || std::string(name) == "misclassified" ||
                       std::string(name) == "nonfinite";
    run.metric_columns.push_back(
        {name, name, event ? ColumnKind::kEvent : ColumnKind::kQuantity, "1"});
  }
  run.trials = trials;
  return run;
}

TrialResult made_trial(std::int64_t id, std::int64_t trials, std::mt19937_64& random) {
  const auto real = [&] { return static_cast<float>(std::exp(-double(random() % 4096) / 400)); };
  TrialResult trial;
  trial.trial = id;
  trial.site =
      static_cast<std::int32_t>(std::min<std::int64_t>(id / (trials / kSites), kSites - 1));
  trial.image = static_cast<std::int32_t>(random() % kImages);
  trial.activated = true;
  trial.golden_loss = 2.0 + trial.image * 1e-4;
  trial.golden_top1 = trial.image % kClasses;
  trial.faulty_top1 = trial.golden_top1;
  trial.faulty_loss = trial.golden_loss;
  const double margin = 0.01 + trial.image * 1e-4 / 3;  // no float32, as of a network
  trial.metrics = {0, 0, 0, 0, margin, margin, 0, 0, 0, 0};
  if (random() % 100 >= 53) {
    const bool changed = random() % 20 == 0;
    trial.outcome = changed ? Outcome::kTop1Changed : Outcome::kTop1Same;
    if (changed) trial.faulty_top1 = (trial.golden_top1 + 1) % kClasses;
    trial.faulty_loss = trial.golden_loss + (double(random() % 2001) - 1000) / 7919;
    const double change = trial.faulty_loss - trial.golden_loss;
    const double other = margin * double(real()) / 3;
    trial.metrics = {std::abs(change),
                     change,
                     double(changed),
                     double(changed),
                     margin,
                     other,
                     std::abs(other - margin),
                     real(),
                     double(real()) / 10,
                     0};
  }
  EditRecord record;
  record.edit.element = static_cast<std::int64_t>(random() % 16384);
  record.edit.mask = 1u << random() % 16;
  record.code_before = static_cast<std::uint32_t>(random() % 31744);
  record.code_after = record.code_before ^ record.edit.mask;
  record.value_before = real();
  record.value_after = real();
  record.bit_class = record.edit.mask >> 15 ? 0 : record.edit.mask >> 10 ? 1 : 2;
  trial.edits = {record};
  return trial;
}

void make(std::int64_t trials, const char* folder, std::uint64_t seed) {
  const RunDescription run = described(trials, seed);
  RunFacts facts = run.facts;
  facts.finished = "2026-01-01T00:00:00Z";
  facts.wall_s = 1;
  std::mt19937_64 random(seed);
  Store::create_complete(folder, run, Store::Existing::kRefuse, facts, [&](Store& store) {
    for (std::int32_t image = 0; image < kImages; ++image) {
      store.golden({image, 2.0 + image * 1e-4, image % kClasses,
                    0.01f + static_cast<float>(image) * 1e-4f, 2.0, image % kClasses});
    }
    for (std::int64_t id = 0; id < trials; ++id) store.trial(made_trial(id, trials, random));
  });
}

}  // namespace

int main(int count, char** arguments) {
  const std::int64_t trials = count > 2 ? std::atoll(arguments[1]) : 0;
  if (trials < kSites) {
    std::fprintf(stderr, "usage: make_big_run TRIALS FOLDER [SEED]\n");
    return 2;
  }
  try {
    make(trials, arguments[2], count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_big_run: %s\n", error.what());
    return 1;
  }
  return 0;
}
