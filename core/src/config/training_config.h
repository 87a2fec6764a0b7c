// The training file: TOML -> a validated Training.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data_config.h"
#include "diagnostics.h"

namespace bitfall {

enum class OptimizerKind { kSgd, kAdamW };
inline constexpr std::array kOptimizerKindNames = {"sgd", "adamw"};  // by value

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0.1;  // the highest that the schedule reaches
  double weight_decay = 1e-4;
  bool decay_vectors = true;                          // also biases, norms' weights and scales
  std::vector<std::string> no_decay;                  // patterns of names that do not decay
  double clip_norm = 0;                               // of all gradients together; 0 = not
  double momentum = 0.9;                              // kSgd
  bool nesterov = false;                              // kSgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // kAdamW
};

enum class ScheduleKind { kConstant, kStep, kCosine, kOneCycle };
inline constexpr std::array kScheduleKindNames = {"constant", "step", "cosine", "one_cycle"};

/// How the learning rate changes from step to step.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kOneCycle;
  double warmup_epochs = 0;  // all but kOneCycle: linear from warmup_factor times the rate
  double warmup_factor = 0.01;
  std::int64_t step_epochs = 30;  // kStep: every so many epochs, times gamma
  double gamma = 0.1;
  double minimum = 0;          // kCosine: where it ends
  double rise = 0.3;           // kOneCycle: share of the steps that go up
  double start_factor = 0.04;  // kOneCycle: of the highest rate
  double end_factor = 4e-6;
};

struct AugmentationConfig {
  std::int64_t shift = 0;  // pixels: a crop of the padded image, at random; the padding is black
  bool flip = false;       // mirror left and right, one time in two
  // A box of the picture of a random size, resized to the network's; in place of preprocess.resize
  // and crop.
  bool random_crop = false;
  std::vector<double> crop_scale = {0.08, 1.0};             // share of the picture's area
  std::vector<double> crop_ratio = {3.0 / 4.0, 4.0 / 3.0};  // width by height
  bool trivial_augment = false;                             // torchvision's TrivialAugmentWide
  double erase = 0;                                         // probability of an erased box
  double mixup = 0, cutmix = 0;                             // alpha of Beta(alpha, alpha); 0 = none
};

struct Training {
  std::filesystem::path file;
  std::string text;  // its content, verbatim

  std::uint64_t seed = 1;
  std::filesystem::path output;  // default runs/<stem of the file>
  std::int64_t epochs = 10;
  std::int64_t batch = 128;
  std::int64_t accumulate = 1;  // batches per step
  double label_smoothing = 0;
  double ema = 0;              // decay an update of the averaged weights; 0 = none
  std::int64_t ema_every = 1;  // steps between updates
  double ema_after = 0;        // epochs in which the average is a copy
  double checkpoint_minutes = 5;

  std::filesystem::path model;
  DataConfig data;
  std::optional<DataConfig> validation;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  AugmentationConfig augmentation;

  std::string device = "cpu";
  bool tf32 = false;         // CUDA alone: float32 products with 10 bits
  std::int64_t threads = 0;  // of LibTorch; 0 = its choice
  std::int64_t workers = 0;  // threads that decode and augment; 0 = by the cores
};

/// As parse_campaign.
Training parse_training(const std::filesystem::path& file, const std::string& text,
                        Diagnostics& diagnostics);

}  // namespace bitfall
