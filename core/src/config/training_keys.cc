#include <limits>
#include <string>
#include <vector>

#include "key_table.h"

namespace bitfall {
namespace {

constexpr double kMost = std::numeric_limits<double>::infinity();
constexpr bool kOpen = true;
constexpr bool kClosed = false;

// clang-format off
constexpr SectionSpec kSections[] = {
    {"training", false, false, false, "the training as a whole"},
    {"model", false, true, false, "the network"},
    {"data", false, true, false, "the images that are trained on, as in a campaign file"},
    {"validation", false, false, false,
     "other images, to judge the network after each epoch; classes and preprocessing not said here are those of [data]"},
    {"optimizer", false, false, false, "how weights follow gradients"},
    {"schedule", false, false, false, "how the learning rate changes from step to step"},
    {"augmentation", false, false, false, "random changes to training images"},
    {"run", false, false, false, "how the training is run"},
};

// section, key, type, default, minimum, maximum, open ends, choices, help
constexpr KeySpec kKeys[] = {
    {"training", "seed", KeyType::kInteger, "1", 0, kMost, kClosed, nullptr,
     "Seed of the order of images, of augmentation and of dropout; initial weights come with the "
     "model."},
    {"training", "output", KeyType::kPath, "", -kMost, kMost, kClosed, nullptr,
     "Training directory; unset: `runs/` and the file's name without its extension."},
    {"training", "epochs", KeyType::kInteger, "10", 1, 1000000, kClosed, nullptr,
     "Times that the images are gone through."},
    {"training", "batch", KeyType::kInteger, "128", 1, 1 << 20, kClosed, nullptr,
     "Images a step; those left over at the end of an epoch, too few for a step, wait for the next "
     "epoch's order."},
    {"training", "label_smoothing", KeyType::kNumber, "0.0", 0, 0.999, kClosed, nullptr,
     "Share of the target that is spread evenly over all classes."},
    {"training", "ema", KeyType::kNumber, "0.0", 0, 0.9999999, kClosed, nullptr,
     "Decay a step of an exponential moving average of the weights, from the initial ones on; it is "
     "then what is judged and written as model.pt, beside last.pt, the last weights. 0 = none."},
    {"training", "checkpoint_minutes", KeyType::kNumber, "5.0", 0, kMost, kOpen, nullptr,
     "Longest time between checkpoints; there is one after every epoch too."},

    {"model", "path", KeyType::kPath, nullptr, -kMost, kMost, kClosed, nullptr,
     "Scripted TorchScript file of the classifier, such as `bitfall head attach` writes."},

    {"optimizer", "kind", KeyType::kText, "\"sgd\"", -kMost, kMost, kClosed, "sgd|adamw",
     "As torch.optim.SGD and torch.optim.AdamW."},
    {"optimizer", "learning_rate", KeyType::kNumber, "0.1", 0, 1e38, kOpen, nullptr,
     "The highest that the schedule reaches."},
    {"optimizer", "weight_decay", KeyType::kNumber, "1e-4", 0, 1e38, kClosed, nullptr,
     "With `sgd` added to gradients, with `adamw` taken from weights."},
    {"optimizer", "decay_vectors", KeyType::kFlag, "true", -kMost, kMost, kClosed, nullptr,
     "Whether parameters of fewer than two dimensions decay too: biases, norms, temperatures."},
    {"optimizer", "momentum", KeyType::kNumber, "0.9", 0, 1, kClosed, nullptr, "Of `sgd`."},
    {"optimizer", "nesterov", KeyType::kFlag, "false", -kMost, kMost, kClosed, nullptr,
     "Nesterov's momentum, of `sgd`."},
    {"optimizer", "beta1", KeyType::kNumber, "0.9", 0, 0.9999999, kClosed, nullptr, "Of `adamw`."},
    {"optimizer", "beta2", KeyType::kNumber, "0.999", 0, 0.9999999, kClosed, nullptr,
     "Of `adamw`."},
    {"optimizer", "epsilon", KeyType::kNumber, "1e-8", 0, kMost, kOpen, nullptr, "Of `adamw`."},

    {"schedule", "kind", KeyType::kText, "\"one_cycle\"", -kMost, kMost, kClosed,
     "constant|step|cosine|one_cycle", "The learning rate's course over the steps."},
    {"schedule", "warmup_epochs", KeyType::kNumber, "0.0", 0, kMost, kClosed, nullptr,
     "Epochs in which the rate rises linearly at first; not of `one_cycle`, which has its own."},
    {"schedule", "warmup_factor", KeyType::kNumber, "0.01", 0, 1, kClosed, nullptr,
     "Where warm-up starts, times the rate."},
    {"schedule", "step_epochs", KeyType::kInteger, "30", 1, 1000000, kClosed, nullptr,
     "Of `step`: epochs between falls."},
    {"schedule", "gamma", KeyType::kNumber, "0.1", 0, 1, kClosed, nullptr,
     "Of `step`: factor of each fall."},
    {"schedule", "minimum", KeyType::kNumber, "0.0", 0, kMost, kClosed, nullptr,
     "Of `cosine`: the rate at the end."},
    {"schedule", "rise", KeyType::kNumber, "0.3", 0, 1, kOpen, nullptr,
     "Of `one_cycle`: share of the steps that go up."},
    {"schedule", "start_factor", KeyType::kNumber, "0.04", 0, 1, kClosed, nullptr,
     "Of `one_cycle`: first rate, times the highest."},
    {"schedule", "end_factor", KeyType::kNumber, "4e-6", 0, 1, kClosed, nullptr,
     "Of `one_cycle`: last rate, times the highest."},

    {"augmentation", "shift", KeyType::kInteger, "0", 0, 4096, kClosed, nullptr,
     "Pixels of black on every side, out of which a crop of the image's size is taken at random."},
    {"augmentation", "flip", KeyType::kFlag, "false", -kMost, kMost, kClosed, nullptr,
     "Mirror left and right, one time in two."},

    {"run", "device", KeyType::kText, "\"cpu\"", -kMost, kMost, kClosed, nullptr,
     "`cpu`, `cuda` or `cuda:N`."},
    {"run", "threads", KeyType::kInteger, "0", 0, 4096, kClosed, nullptr,
     "Threads of LibTorch; decides last bits. 0 = its choice, kept when a training goes on."},
    {"run", "workers", KeyType::kInteger, "0", 0, 256, kClosed, nullptr,
     "Threads that decode and augment images; no effect on results. 0 = one for every four cores, "
     "with a GPU one a core."},
};
// clang-format on

/// The keys of [data] are those of a campaign file; [validation] has the same.
std::vector<KeySpec> all_keys() {
  std::vector<KeySpec> keys;
  const auto add_data = [&](const char* section, const char* preprocess) {
    for (KeySpec key : campaign_keys().keys) {
      const std::string_view from = key.section;
      if (from != "data" && from != "data.preprocess") continue;
      key.section = from == "data" ? section : preprocess;
      keys.push_back(key);
    }
  };
  for (const KeySpec& key : kKeys) {
    const std::string_view before = keys.empty() ? "" : keys.back().section;
    if (before == "model") {
      add_data("data", "data.preprocess");
      add_data("validation", "validation.preprocess");
    }
    keys.push_back(key);
  }
  return keys;
}

}  // namespace

const KeyTable& training_keys() {
  static const std::vector<KeySpec> keys = all_keys();
  static const KeyTable table{"a training file", kSections, keys};
  return table;
}

}  // namespace bitfall
