#include <string>
#include <vector>

#include "key_table.h"
#include "training_config.h"

namespace bitfall {
namespace {

// clang-format off
constexpr SectionSpec kTrainingSections[] = {
    {"training", false, false, false, "the training as a whole"},
    {"model", false, true, false, "the network"},
    {"data", false, true, false, "the images to train on, as in a campaign file"},
    {"validation", false, false, false,
     "other images, to judge the network after each epoch; classes and preprocessing that "
     "are not given here are those of [data]"},
    {"optimizer", false, false, false, "how gradients change the weights"},
    {"schedule", false, false, false, "how the learning rate changes from step to step"},
    {"augmentation", false, false, false, "random changes to training images"},
    {"run", false, false, false, "how the training is run"},
};

const Training kSilentTraining;  // as read from a file that says nothing

// section, key, type, default, minimum, maximum, open ends, choices, help
const KeySpec kTrainingKeys[] = {
    {"training", "seed", KeyType::kInteger, toml_text(static_cast<std::int64_t>(kSilentTraining.seed)), 0, kUnbounded, kClosed, {},
     "Seed of the order of images, of augmentation and of dropout; initial weights come with the "
     "model."},
    {"training", "output", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Training directory; unset: `runs/` and the file's name without its extension."},
    {"training", "epochs", KeyType::kInteger, toml_text(kSilentTraining.epochs), 1, 1000000, kClosed, {},
     "Number of times that all images are used."},
    {"training", "batch", KeyType::kInteger, toml_text(kSilentTraining.batch), 1, 1 << 20, kClosed, {},
     "Images per step; those left over at the end of an epoch, too few for a step, are not used in "
     "it."},
    {"training", "accumulate", KeyType::kInteger, toml_text(kSilentTraining.accumulate), 1, 65536, kClosed, {},
     "Batches whose gradients are averaged for one step: a step of batch x accumulate images, where batch norms see `batch`. For what a "
     "recipe does on several devices."},
    {"training", "label_smoothing", KeyType::kNumber, toml_text(kSilentTraining.label_smoothing), 0, 0.999, kClosed, {},
     "Share of the target that is spread evenly over all classes."},
    {"training", "ema", KeyType::kNumber, toml_text(kSilentTraining.ema), 0, 0.9999999, kClosed, {},
     "Decay per update of an exponential moving average of the weights, which starts at the initial "
     "ones. The average is then what is judged and written as model.pt; the last weights are "
     "last.pt. 0 = no average."},
    {"training", "ema_every", KeyType::kInteger, toml_text(kSilentTraining.ema_every), 1, 1000000, kClosed, {},
     "Of `ema`: steps between two updates of the average."},
    {"training", "ema_after", KeyType::kNumber, toml_text(kSilentTraining.ema_after), 0, 1000000, kClosed, {},
     "Of `ema`: epochs at first in which the average is a copy of the weights, as torchvision has it during the warm-up."},
    {"training", "checkpoint_minutes", KeyType::kNumber, toml_text(kSilentTraining.checkpoint_minutes), 0, kUnbounded, kOpen, {},
     "Longest time in minutes between checkpoints; there is one after every epoch too."},

    {"model", "path", KeyType::kPath, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "Scripted TorchScript file of the classifier, such as `bitfall head attach` writes."},

    {"optimizer", "kind", KeyType::kText, toml_choice(kOptimizerKindNames, kSilentTraining.optimizer.kind), -kUnbounded, kUnbounded, kClosed, kOptimizerKindNames,
     "As torch.optim.SGD and torch.optim.AdamW."},
    {"optimizer", "learning_rate", KeyType::kNumber, toml_text(kSilentTraining.optimizer.learning_rate), 0, 1e38, kOpen, {},
     "The highest rate that the schedule reaches."},
    {"optimizer", "weight_decay", KeyType::kNumber, toml_text(kSilentTraining.optimizer.weight_decay), 0, 1e38, kClosed, {},
     "With `sgd` added to gradients, with `adamw` taken from weights."},
    {"optimizer", "decay_vectors", KeyType::kFlag, toml_text(kSilentTraining.optimizer.decay_vectors), -kUnbounded, kUnbounded, kClosed, {},
     "Whether parameters of fewer than two dimensions decay too: biases, norms, temperatures."},
    {"optimizer", "no_decay", KeyType::kTexts, "", -kUnbounded, kUnbounded, kClosed, {},
     "Patterns (`*`, `?`) of the names of parameters that do not decay, such as [\"*bias\", \"*position*\"]; one that names none is an error."},
    {"optimizer", "clip_norm", KeyType::kNumber, toml_text(kSilentTraining.optimizer.clip_norm), 0, kUnbounded, kClosed, {},
     "Gradients that are longer than this, all together, are shortened to it before each step; 0 = not."},
    {"optimizer", "momentum", KeyType::kNumber, toml_text(kSilentTraining.optimizer.momentum), 0, 1, kClosed, {}, "Of `sgd`."},
    {"optimizer", "nesterov", KeyType::kFlag, toml_text(kSilentTraining.optimizer.nesterov), -kUnbounded, kUnbounded, kClosed, {},
     "Nesterov's momentum, of `sgd`."},
    {"optimizer", "beta1", KeyType::kNumber, toml_text(kSilentTraining.optimizer.beta1), 0, 0.9999999, kClosed, {}, "Of `adamw`."},
    {"optimizer", "beta2", KeyType::kNumber, toml_text(kSilentTraining.optimizer.beta2), 0, 0.9999999, kClosed, {},
     "Of `adamw`."},
    {"optimizer", "epsilon", KeyType::kNumber, toml_text(kSilentTraining.optimizer.epsilon), 0, kUnbounded, kOpen, {}, "Of `adamw`."},

    {"schedule", "kind", KeyType::kText, toml_choice(kScheduleKindNames, kSilentTraining.schedule.kind), -kUnbounded, kUnbounded, kClosed,
     kScheduleKindNames, "How the learning rate goes over the steps."},
    {"schedule", "warmup_epochs", KeyType::kNumber, toml_text(kSilentTraining.schedule.warmup_epochs), 0, kUnbounded, kClosed, {},
     "Epochs in which the rate rises linearly at first; not of `one_cycle`, which has its own."},
    {"schedule", "warmup_factor", KeyType::kNumber, toml_text(kSilentTraining.schedule.warmup_factor), 0, 1, kClosed, {},
     "First rate of the warm-up, as a fraction of the rate after it."},
    {"schedule", "step_epochs", KeyType::kInteger, toml_text(kSilentTraining.schedule.step_epochs), 1, 1000000, kClosed, {},
     "Of `step`: epochs between two drops."},
    {"schedule", "gamma", KeyType::kNumber, toml_text(kSilentTraining.schedule.gamma), 0, 1, kClosed, {},
     "Of `step`: factor of each drop."},
    {"schedule", "minimum", KeyType::kNumber, toml_text(kSilentTraining.schedule.minimum), 0, kUnbounded, kClosed, {},
     "Of `cosine`: the rate at the end."},
    {"schedule", "rise", KeyType::kNumber, toml_text(kSilentTraining.schedule.rise), 0, 1, kOpen, {},
     "Of `one_cycle`: share of the steps in which the rate rises."},
    {"schedule", "start_factor", KeyType::kNumber, toml_text(kSilentTraining.schedule.start_factor), 0, 1, kClosed, {},
     "Of `one_cycle`: first rate, as a fraction of the highest."},
    {"schedule", "end_factor", KeyType::kNumber, toml_text(kSilentTraining.schedule.end_factor), 0, 1, kClosed, {},
     "Of `one_cycle`: last rate, as a fraction of the highest."},

    {"augmentation", "shift", KeyType::kInteger, toml_text(kSilentTraining.augmentation.shift), 0, 4096, kClosed, {},
     "Pixels of black border on every side; from the larger image a crop of the original size is "
     "taken at random."},
    {"augmentation", "flip", KeyType::kFlag, toml_text(kSilentTraining.augmentation.flip), -kUnbounded, kUnbounded, kClosed, {},
     "Mirror left and right, one time in two."},
    {"augmentation", "random_crop", KeyType::kFlag, toml_text(kSilentTraining.augmentation.random_crop), -kUnbounded, kUnbounded, kClosed, {},
     "A box of the picture of random size and place, resized to the network's size, in place of `resize` and `crop`: torchvision's "
     "RandomResizedCrop. Needs 8-bit images."},
    {"augmentation", "crop_scale", KeyType::kNumbers, "[0.08, 1.0]", 0.0001, 1, kClosed, {},
     "Of `random_crop`: least and largest share of the picture's area."},
    {"augmentation", "crop_ratio", KeyType::kNumbers, "[0.75, 1.3333333333333333]", 0.01, 100, kClosed, {},
     "Of `random_crop`: least and largest ratio of width to height."},
    {"augmentation", "trivial_augment", KeyType::kFlag, toml_text(kSilentTraining.augmentation.trivial_augment), -kUnbounded, kUnbounded, kClosed, {},
     "One change of a random kind and strength per image, such as shear, turn, contrast or posterize: torchvision's TrivialAugmentWide, by `interpolation`. Needs 8-bit "
     "images."},
    {"augmentation", "erase", KeyType::kNumber, toml_text(kSilentTraining.augmentation.erase), 0, 1, kClosed, {},
     "Probability that a box of 2 to 33 % of an image is set to 0 after normalisation: torchvision's RandomErasing."},
    {"augmentation", "mixup", KeyType::kNumber, toml_text(kSilentTraining.augmentation.mixup), 0, 4, kClosed, {},
     "Each image of a batch and its label are mixed with those of the image before it, by a share from Beta(mixup, mixup); 0 = not."},
    {"augmentation", "cutmix", KeyType::kNumber, toml_text(kSilentTraining.augmentation.cutmix), 0, 4, kClosed, {},
     "A box of each image is that of the image before it, of a share from Beta(cutmix, cutmix); with `mixup` too, one of the two per batch. 0 = not."},

    {"run", "device", KeyType::kText, toml_text(kSilentTraining.device), -kUnbounded, kUnbounded, kClosed, {},
     "`cpu`, `cuda` or `cuda:N`."},
    {"run", "tf32", KeyType::kFlag, toml_text(kSilentTraining.tf32), -kUnbounded, kUnbounded, kClosed, {},
     "Let a GPU multiply float32 numbers with 10 bits of their fractions (TF32): faster, less exact. No "
     "effect on the CPU."},
    {"run", "threads", KeyType::kInteger, toml_text(kSilentTraining.threads), 0, 4096, kClosed, {},
     "Threads of LibTorch; may change results' last bits. 0 = its choice, kept when a training is "
     "resumed."},
    {"run", "workers", KeyType::kInteger, toml_text(kSilentTraining.workers), 0, 256, kClosed, {},
     "Threads that decode and augment images; no effect on results. 0 = one for every four cores, "
     "with a GPU one per core."},
};
// clang-format on

/// The keys of [data] are those of a campaign file; [validation] has the same.
std::vector<KeySpec> all_keys() {
  std::vector<KeySpec> all;
  const auto add_data = [&](const char* section, const char* preprocess) {
    for (KeySpec key : campaign_keys().keys) {
      const std::string_view from = key.section;
      if (from != "data" && from != "data.preprocess") continue;
      if (std::string_view(key.name) == "only") continue;  // of images that are attacked
      key.section = from == "data" ? section : preprocess;
      all.push_back(key);
    }
  };
  for (const KeySpec& key : kTrainingKeys) {
    const std::string_view before = all.empty() ? "" : all.back().section;
    if (before == "model") {
      add_data("data", "data.preprocess");
      add_data("validation", "validation.preprocess");
    }
    all.push_back(key);
  }
  return all;
}

}  // namespace

const KeyTable& training_keys() {
  static const std::vector<KeySpec> kAll = all_keys();
  static const KeyTable kTable{"a training file", kTrainingSections, kAll};
  return kTable;
}

}  // namespace bitfall
