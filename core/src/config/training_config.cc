#include "training_config.h"

#include <toml++/toml.h>

#include <algorithm>

#include "error.h"
#include "key_table.h"
#include "toml_file.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

void read_training(const Section& section, Training& training) {
  auto seed = static_cast<std::int64_t>(training.seed);
  section.read("seed", seed);
  training.seed = static_cast<std::uint64_t>(seed);
  section.read("output", training.output);
  section.read("epochs", training.epochs);
  section.read("batch", training.batch);
  section.read("accumulate", training.accumulate);
  section.read("label_smoothing", training.label_smoothing);
  section.read("ema", training.ema);
  section.read("ema_every", training.ema_every);
  section.read("ema_after", training.ema_after);
  const auto needs_average = [&](const char* name, bool is_default) {
    if (training.ema > 0 || is_default || !section.has(name)) return;
    section.report(section.where(name), name, "is read only with an average of the weights",
                   "set ema, such as ema = 0.999");
  };
  needs_average("ema_every", training.ema_every == Training{}.ema_every);
  needs_average("ema_after", training.ema_after == Training{}.ema_after);
  section.read("checkpoint_minutes", training.checkpoint_minutes);
}

/// A key that another choice of `kind` reads is a mistake, not a wish.
template <typename Kind>
void refuse_others(const Section& section, Kind kind,
                   std::initializer_list<std::pair<const char*, Kind>> of) {
  for (const auto& [name, wanted] : of) {
    if (kind == wanted || !section.has(name)) continue;
    section.report(section.where(name), name,
                   "is read only with kind = \"" +
                       section.choices("kind")[static_cast<std::size_t>(wanted)] + "\"");
  }
}

void read_optimizer(const Section& section, OptimizerConfig& optimizer) {
  using enum OptimizerKind;
  section.read_choice("kind", optimizer.kind);
  section.read("learning_rate", optimizer.learning_rate);
  section.read("weight_decay", optimizer.weight_decay);
  section.read("decay_vectors", optimizer.decay_vectors);
  std::vector<SourceRange> places;
  section.read("no_decay", optimizer.no_decay, places);
  section.read("clip_norm", optimizer.clip_norm);
  section.read("momentum", optimizer.momentum);
  section.read("nesterov", optimizer.nesterov);
  section.read("beta1", optimizer.beta1);
  section.read("beta2", optimizer.beta2);
  section.read("epsilon", optimizer.epsilon);
  refuse_others(section, optimizer.kind,
                {{"momentum", kSgd},
                 {"nesterov", kSgd},
                 {"beta1", kAdamW},
                 {"beta2", kAdamW},
                 {"epsilon", kAdamW}});
  if (optimizer.nesterov && optimizer.momentum == 0) {
    section.report(section.where("nesterov"), "nesterov", "needs a momentum above 0");
  }
}

/// Two numbers, the first no larger; reports anything else.
void read_range(const Section& section, const char* name, std::vector<double>& range) {
  section.read(name, range);
  if (!section.has(name) || (range.size() == 2 && range[0] <= range[1])) return;
  section.report(section.where(name), name, "must be two numbers, the smaller first",
                 std::string("such as ") + name + " = [0.5, 1.0]");
  range = {1, 1};
}

void read_augmentation(const Section& section, AugmentationConfig& augmentation) {
  section.read("shift", augmentation.shift);
  section.read("flip", augmentation.flip);
  section.read("random_crop", augmentation.random_crop);
  read_range(section, "crop_scale", augmentation.crop_scale);
  read_range(section, "crop_ratio", augmentation.crop_ratio);
  const AugmentationConfig silent;
  const bool same =
      augmentation.crop_scale == silent.crop_scale && augmentation.crop_ratio == silent.crop_ratio;
  for (const char* name : {"crop_scale", "crop_ratio"}) {
    if (!section.has(name) || augmentation.random_crop || same) continue;
    section.report(section.where(name), name, "is read only with random_crop = true",
                   "set it, or leave this out");
  }
  section.read("trivial_augment", augmentation.trivial_augment);
  section.read("erase", augmentation.erase);
  section.read("mixup", augmentation.mixup);
  section.read("cutmix", augmentation.cutmix);
}

void read_schedule(const Section& section, ScheduleConfig& schedule) {
  using enum ScheduleKind;
  section.read_choice("kind", schedule.kind);
  section.read("warmup_epochs", schedule.warmup_epochs);
  section.read("warmup_factor", schedule.warmup_factor);
  section.read("step_epochs", schedule.step_epochs);
  section.read("gamma", schedule.gamma);
  section.read("minimum", schedule.minimum);
  section.read("rise", schedule.rise);
  section.read("start_factor", schedule.start_factor);
  section.read("end_factor", schedule.end_factor);
  refuse_others(section, schedule.kind,
                {{"step_epochs", kStep},
                 {"gamma", kStep},
                 {"minimum", kCosine},
                 {"rise", kOneCycle},
                 {"start_factor", kOneCycle},
                 {"end_factor", kOneCycle}});
  if (schedule.kind == kOneCycle && section.has("warmup_epochs")) {
    section.report(section.where("warmup_epochs"), "warmup_epochs",
                   "cannot be used with kind = \"one_cycle\", which rises by itself (`rise`)");
  }
}

void read_run(const Section& section, Training& training) {
  read_device(section, training.device);
  section.read("tf32", training.tf32);
  section.read("threads", training.threads);
  section.read("workers", training.workers);
}

class TrainingReader {
 public:
  TrainingReader(Training& training, const toml::table& root, Diagnostics& diagnostics)
      : training_(training), root_(root), diagnostics_(diagnostics) {}

  void read() {
    check_sections(training_keys(), root_, diagnostics_);
    if (const auto section = find("training")) read_training(*section, training_);
    if (const auto section = find("model")) section->read("path", training_.model);
    training_.data.default_split = "train";
    if (const auto section = find("data")) read_data(*section, training_.data);
    if (const auto section = find("validation")) {
      DataConfig& data = training_.validation.emplace();
      data.classes = training_.data.classes;
      data.preprocess = training_.data.preprocess;
      read_data(*section, data);
    }
    if (const auto section = find("optimizer")) read_optimizer(*section, training_.optimizer);
    if (const auto section = find("schedule")) read_schedule(*section, training_.schedule);
    if (const auto section = find("augmentation")) {
      read_augmentation(*section, training_.augmentation);
    }
    if (const auto section = find("run")) read_run(*section, training_);
  }

 private:
  std::optional<Section> find(const char* name) const {
    return find_section(training_keys(), root_, name, training_.file.parent_path(), diagnostics_);
  }

  Training& training_;
  const toml::table& root_;
  Diagnostics& diagnostics_;
};

}  // namespace

Training parse_training(const fs::path& file, const std::string& text, Diagnostics& diagnostics) {
  Training training;
  training.file = file;
  training.text = text;
  training.output = (file.parent_path() / "runs" / file.stem()).lexically_normal();
  if (const auto root = parse_toml(file, text, diagnostics)) {
    TrainingReader(training, *root, diagnostics).read();
  }
  return training;
}

}  // namespace bitfall
