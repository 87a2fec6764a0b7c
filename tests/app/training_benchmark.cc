// Images a second of `bitfall train`, with PNG files decoded and augmented on the way, beside the
// bare forward and backward pass of the same network on one batch in memory; in turns, in one
// process. A ResNet-20 (scripts/export_model.py) on the quick start's images
// (scripts/quickstart/draw_shapes.py), batch 128.
//   training_benchmark [REPEATS]    default 3
#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "batch_loader.h"
#include "log.h"
#include "timer.h"
#include "trainable_model.h"
#include "trainer.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

void run_script(const std::string& arguments) {
  const std::string command = std::string("\"") + BITFALL_PYTHON + "\" \"" + BITFALL_SOURCE_DIR +
                              "/scripts/" + arguments + " >/dev/null";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

double bare_images_per_second(TrainableModel& model, const Batch& batch, std::int64_t steps) {
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  const at::Tensor images =
      at::from_blob(const_cast<float*>(batch.images.data()), {count, 3, 32, 32}, at::kFloat);
  const at::Tensor labels = at::tensor(batch.labels);
  model.set_training(true);
  const auto start = Clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    for (const NamedTensor& parameter : model.parameters()) parameter.value.mutable_grad().reset();
    at::cross_entropy_loss(model.forward(images), labels).backward();
  }
  return static_cast<double>(steps * count) / seconds_since(start);
}

void benchmark(int repeats) {
  const fs::path folder =
      fs::temp_directory_path() / ("bitfall_train_benchmark_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  run_script("quickstart/draw_shapes.py\" --train 200 --test 1 \"" + (folder / "shapes").string() + "\"");
  run_script("export_model.py\" cifar_resnet20 --random --classes 12 --script -o \"" +
             (folder / "net.pt").string() + "\"");
  Training training;
  training.epochs = 1;
  training.model = folder / "net.pt";
  training.data.path = folder / "shapes" / "train";
  training.augmentation = {4, true};
  training.output = folder / "trained";
  TrainableModel model(training.model, "cpu");
  const Dataset data = Dataset::open(training.data);
  BatchLoader loader(data, training.batch, 1);
  const Batch batch = *loader.next();
  const std::int64_t steps = data.size() / training.batch;
  std::vector<double> ratios;
  bare_images_per_second(model, batch, 2);
  std::printf("%14s %14s %8s %18s\n", "bare images/s", "train images/s", "ratio",
              "waited for images");
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const double bare = bare_images_per_second(model, batch, steps);
    fs::remove_all(training.output);
    Trainer trainer(training, false);
    std::atomic<bool> stop{false};
    EpochResult found;
    trainer.run(stop, [&](const EpochResult& result) { found = result; });
    ratios.push_back(found.images_per_second / bare);
    std::printf("%14.0f %14.0f %8.3f %16.1f %%\n", bare, found.images_per_second, ratios.back(),
                100 * found.waited_seconds / found.seconds);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("median ratio %.3f (%.3f to %.3f)\n", ratios[ratios.size() / 2], ratios.front(),
              ratios.back());
  fs::remove_all(folder);
}

}  // namespace
}  // namespace bitfall

int main(int argc, char** argv) {
  bitfall::set_quiet(true);
  try {
    bitfall::benchmark(argc > 1 ? std::max(1, std::atoi(argv[1])) : 3);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_benchmark: %s\n", error.what());
    return 1;
  }
  return 0;
}
