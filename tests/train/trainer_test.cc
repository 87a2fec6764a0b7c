// Training: against plain PyTorch, and against itself interrupted.
#include "trainer.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <sstream>

#include "batch_loader.h"
#include "campaign_fixture.h"
#include "head_module.h"
#include "loaded_plugins.h"
#include "model_fixture.h"
#include "program.h"
#include "python_oracle.h"
#include "refusal.h"
#include "text_file.h"
#include "torch_runtime.h"
#include "trainable_model.h"

namespace bitfall::trainer_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::int64_t kImages = 100, kClasses = 5, kBatch = 16, kEpochs = 2;

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// Images of five kinds that can be told apart, noisy.
const fs::path& data_folder() {
  static const fs::path folder = [] {
    const fs::path path =
        fs::path(testing::TempDir()) / ("bitfall_train_" + std::to_string(::getpid()));
    fs::create_directories(path);
    at::manual_seed(3);
    const at::Tensor kinds = at::randn({kClasses, 3, 8, 8});
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < kImages; ++i) labels.push_back(i % kClasses);
    const at::Tensor images =
        (kinds.index_select(0, at::tensor(labels)) + at::randn({kImages, 3, 8, 8})).contiguous();
    const float* values = images.const_data_ptr<float>();
    write_npy(path / "images.npy", "<f4", "100, 3, 8, 8",
              bytes_of(std::vector<float>(values, values + images.numel())));
    write_npy(path / "labels.npy", "<i8", "100,", bytes_of(labels));
    std::ofstream(path / "classes.txt") << "a\nb\nc\nd\ne\n";
    return path;
  }();
  return folder;
}

/// Residual with a text-guided head of width 6.
const fs::path& guided_model() {
  static const fs::path path = [] {
    const fs::path file = data_folder() / "guided.pt";
    Diagnostics diagnostics("head", "");
    const auto init = first_party_plugins().make_head_init(
        plugin_choice("text_guided", {{"init", std::string("random")}, {"width", std::int64_t{6}}}),
        diagnostics);
    const std::vector<std::string> classes = {"a", "b", "c", "d", "e"};
    replace_head(small_model("residual"), "fc", build_head(*init, 8, classes, {}, 0, 4),
                 R"({"name": "guided", "head": {"module": "fc"}})", file);
    return file;
  }();
  return path;
}

constexpr const char* kSgd =
    "[optimizer]\nlearning_rate = 0.1\nnesterov = true\nweight_decay = 5e-4\n"
    "[schedule]\nkind = \"one_cycle\"\n";
constexpr const char* kAdamW =
    "[optimizer]\nkind = \"adamw\"\nlearning_rate = 0.01\nweight_decay = 0.05\n"
    "decay_vectors = false\n[schedule]\nkind = \"cosine\"\n";

std::string training_text(const std::string& keys, const std::string& rest,
                          const fs::path& model = guided_model()) {
  const std::string data =
      "path = \"images.npy\"\nlabels = \"labels.npy\"\nclasses = \"classes.txt\"\n";
  return "[training]\nepochs = " + std::to_string(kEpochs) + "\nbatch = " + std::to_string(kBatch) +
         "\n" + keys + "[model]\npath = \"" + model.string() + "\"\n[data]\n" + data +
         "[validation]\n" + data + rest + "[run]\nthreads = 1\n";
}

Training training_of(const std::string& text, const std::string& name) {
  Diagnostics diagnostics("t.toml", text);
  Training training = parse_training(data_folder() / "t.toml", text, diagnostics);
  EXPECT_TRUE(diagnostics.empty()) << diagnostics.render();
  training.output = data_folder() / name;
  return training;
}

std::vector<EpochResult> trained(const Training& training, bool resume = false) {
  std::vector<EpochResult> epochs;
  std::atomic<bool> stop{false};
  Trainer trainer(training, resume);
  EXPECT_EQ(trainer.run(stop, [&](const EpochResult& epoch) { epochs.push_back(epoch); }),
            TrainEnd::kDone);
  return epochs;
}

/// The weights of a model file, by their bits.
std::string weights_of(const fs::path& model) { return Program(model, "cpu").checksum(); }

/// What the steps of a training meet, one image after the other.
void write_batches(const Training& training, const fs::path& images, const fs::path& labels) {
  const Dataset data = Dataset::open(training.data);
  const BatchOrder order{training.seed, data.size(), training.batch};
  const std::int64_t steps = training.epochs * order.steps_per_epoch();
  BatchLoader loader(data, training.data.preprocess, training.augmentation, order, 0, steps, 2);
  std::vector<float> all;
  std::vector<std::int64_t> wanted;
  while (const auto batch = loader.next()) {
    all.insert(all.end(), batch->images.begin(), batch->images.end());
    wanted.insert(wanted.end(), batch->labels.begin(), batch->labels.end());
  }
  const std::string count = std::to_string(wanted.size());
  write_npy(images, "<f4", count + ", 3, 8, 8", bytes_of(all));
  write_npy(labels, "<i8", count + ",", bytes_of(wanted));
}

/// What training_twin.py prints.
std::string twin_text(const Training& training, const std::string& recipe) {
  const fs::path images = data_folder() / "met.npy", labels = data_folder() / "met_labels.npy";
  write_batches(training, images, labels);
  std::string command = "OMP_NUM_THREADS=1 \"" + std::string(BITFALL_PYTHON) + "\" \"" +
                        BITFALL_SOURCE_DIR + "/tests/training_twin.py\" \"" +
                        training.model.string() + "\" \"" + images.string() + "\" \"" +
                        labels.string() + "\" " + std::to_string(kBatch) + " " +
                        std::to_string(kEpochs) + " " + recipe;
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

std::vector<double> twin_losses(const Training& training, const std::string& recipe) {
  std::istringstream text(twin_text(training, recipe));
  return {std::istream_iterator<double>(text), {}};
}

TEST(Trainer, LosesWhatPyTorchLoses) {
  for (const bool sgd : {true, false}) {
    SCOPED_TRACE(sgd ? "sgd" : "adamw");
    const Training training =
        training_of(training_text(sgd ? "label_smoothing = 0.1\n" : "",
                                  std::string(sgd ? kSgd : kAdamW) +
                                      "[augmentation]\nshift = 1\nflip = true\n"),
                    sgd ? "twin_sgd" : "twin_adamw");
    const auto epochs = trained(training);
    const auto expected = twin_losses(training, sgd ? "sgd" : "adamw");
    ASSERT_EQ(epochs.size(), static_cast<std::size_t>(kEpochs));
    ASSERT_EQ(expected.size(), epochs.size());
    for (std::size_t e = 0; e < epochs.size(); ++e) {
      EXPECT_NEAR(epochs[e].loss, expected[e], 1e-4);
      EXPECT_EQ(epochs[e].step, static_cast<std::int64_t>(e + 1) * (kImages / kBatch));
    }
    EXPECT_LT(epochs[1].loss, epochs[0].loss);
  }
}

TEST(Trainer, AveragesWhatPyTorchAverages) {
  if (!has_python()) GTEST_SKIP() << "no Python environment: run scripts/setup.sh";
  const Training training = training_of(
      training_text("ema = 0.8\n", std::string(kAdamW) + "[augmentation]\nflip = true\n"),
      "twin_ema");
  fs::remove_all(training.output);
  trained(training);
  std::istringstream text(twin_text(training, "adamw 0.8"));
  for (double loss = 0; std::isdigit(text.peek()) && text >> loss;) text.ignore();
  const Program program(training.output / "model.pt", "cpu");
  std::size_t compared = 0;
  std::string name;
  for (double sum = 0, squares = 0; text >> name >> sum >> squares;) {
    for (const Parameter& parameter : program.parameters()) {
      if (parameter.name != name) continue;
      const at::Tensor value = parameter.value.to(at::kDouble);
      EXPECT_NEAR(value.sum().item<double>(), sum, 1e-3 * std::max(1.0, std::abs(sum))) << name;
      EXPECT_NEAR(value.square().sum().item<double>(), squares, 1e-3 * std::max(1.0, squares))
          << name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 20U);  // the parameters and running statistics
}

TEST(Trainer, ModelFileGivesTheAccuracyThatItReports) {
  Training training = training_of(training_text("", kAdamW), "accuracy");
  training.epochs = 15;
  const auto epochs = trained(training);
  const Dataset data = Dataset::open(training.data);
  BatchLoader loader(data, kImages, 1);
  const auto batch = loader.next();
  const Program program(training.output / "model.pt", "cpu");
  const at::Tensor logits = program.forward(
      at::from_blob(const_cast<float*>(batch->images.data()), {kImages, 3, 8, 8}, at::kFloat));
  const double right =
      logits.argmax(1).eq(at::tensor(batch->labels)).to(at::kDouble).mean().item<double>();
  EXPECT_DOUBLE_EQ(right, epochs.back().validation_accuracy);
  EXPECT_GT(right, 0.5);
  // The log holds the same rows.
  const auto rows = parse_training_csv(read_text(training.output / "log.csv"), "log.csv");
  ASSERT_EQ(rows.size(), epochs.size());
  EXPECT_EQ(rows.back().validation_accuracy, right);
  EXPECT_EQ(rows.back().loss, epochs.back().loss);
}

TEST(Trainer, GoesOnToTheSameWeightsWhereverItIsStopped) {
  for (const char* recipe : {kSgd, kAdamW}) {
    const std::string text =
        training_text("ema = 0.9\n", std::string(recipe) + "[augmentation]\nflip = true\n");
    const Training whole = training_of(text, "whole");
    fs::remove_all(whole.output);
    const auto epochs = trained(whole);
    const Training pieces = training_of(text, "pieces");
    fs::remove_all(pieces.output);
    // Asked to stop before it begins, a training does one step and writes its checkpoint.
    std::atomic<bool> stop{true};
    TrainEnd end = TrainEnd::kInterrupted;
    std::int64_t parts = 0;
    for (; end == TrainEnd::kInterrupted && parts < 100; ++parts) {
      end = Trainer(pieces, parts > 0).run(stop, [](const EpochResult&) {});
    }
    EXPECT_EQ(parts, kEpochs * (kImages / kBatch));
    EXPECT_EQ(weights_of(pieces.output / "model.pt"), weights_of(whole.output / "model.pt"));
    EXPECT_EQ(weights_of(pieces.output / "last.pt"), weights_of(whole.output / "last.pt"));
    EXPECT_NE(weights_of(whole.output / "model.pt"), weights_of(whole.output / "last.pt"));
    const auto rows = parse_training_csv(read_text(pieces.output / "log.csv"), "log.csv");
    ASSERT_EQ(rows.size(), epochs.size());
    for (std::size_t e = 0; e < rows.size(); ++e) {
      EXPECT_EQ(rows[e].loss, epochs[e].loss);
      EXPECT_EQ(rows[e].accuracy, epochs[e].accuracy);
      EXPECT_EQ(rows[e].validation_loss, epochs[e].validation_loss);
    }
  }
}

TEST(Trainer, LosesTheSameOnAGpu) {
  if (!TorchRuntime::get().has_cuda()) GTEST_SKIP() << "no CUDA here";
  const std::string text = training_text("label_smoothing = 0.1\n", kSgd);
  Training training = training_of(text, "on_cpu");
  const auto expected = trained(training);
  training.device = "cuda";
  training.output = data_folder() / "on_gpu";
  const auto found = trained(training);
  for (std::size_t e = 0; e < found.size(); ++e) {
    EXPECT_NEAR(found[e].loss, expected[e].loss, 1e-3);
    EXPECT_NEAR(found[e].validation_loss, expected[e].validation_loss, 1e-2);
  }
}

TEST(Trainer, SaysWhatIsWrong) {
  const auto refused = [](const std::string& text, const std::string& name, bool resume = false) {
    return error_of([&] { Trainer(training_of(text, name), resume); });
  };
  EXPECT_THAT(refused(training_text("", kSgd, small_model("residual_traced")), "r1"),
              HasSubstr("is for inference only: its batch_norm has `training` written into it"));
  EXPECT_THAT(refused(training_text("", kSgd, small_model("text")), "r2"),
              HasSubstr("not a readable TorchScript model"));
  EXPECT_THAT(refused(training_text("", kSgd, small_model("products")), "r3"),
              HasSubstr("classes, but the model"));
  EXPECT_THAT(refused(training_text("", kSgd, small_model("featuremap")), "r4"),
              HasSubstr("is not a classifier"));
  std::string text = training_text("", kSgd);
  text.replace(text.find("batch = 16"), 10, "batch = 101");
  EXPECT_THAT(refused(text, "r5"), HasSubstr("has 100 images, fewer than a batch of 101"));
  // A checkpoint of another training.
  trained(training_of(training_text("", kSgd), "other"));
  EXPECT_THAT(refused(training_text("seed = 2\n", kSgd), "other", true),
              HasSubstr("is of another training: the training file differs"));
  const fs::path checkpoint = data_folder() / "other" / "checkpoint.pt";
  fs::resize_file(checkpoint, fs::file_size(checkpoint) / 2);
  EXPECT_THAT(refused(training_text("", kSgd), "other", true), HasSubstr("is damaged"));
}

TEST(Trainer, KeepsWhatItCannotReplace) {
  const Training training = training_of(training_text("", kSgd), "kept");
  trained(training);
  const std::string model = weights_of(training.output / "model.pt");
  const auto refuse = [&](Training changed, const char* what) {
    try {
      Trainer(changed, false);
      ADD_FAILURE() << "nothing was refused";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
    EXPECT_EQ(weights_of(training.output / "model.pt"), model);
  };
  Training own = training, missing = training;
  own.model = training.output / "model.pt";
  refuse(own, "would write its result over this");
  missing.data.path = data_folder() / "nowhere.npy";
  refuse(missing, "nowhere.npy");
  const Trainer busy(training, true);
  refuse(training, "writing this run");
}

TEST(Trainer, StopsWhenTheLossIsNoLongerFinite) {
  const Training training = training_of(
      training_text("", "[optimizer]\nlearning_rate = 1e30\n[schedule]\nkind = \"constant\"\n"),
      "infinite");
  try {
    trained(training);
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailure);
    EXPECT_THAT(error.what(), HasSubstr("the loss is no longer finite in epoch 1, step"));
  }
}

/// All files of a directory with their content.
std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename() != "lock") {
      files[entry.path().filename()] = read_text(entry.path());
    }
  }
  return files;
}

/// The text of the error that a training ends with.
std::string end_of(const Training& training, bool resume = false) {
  try {
    trained(training, resume);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Trainer, NeverWritesWeightsThatAreNotFinite) {
  const std::string recipe =
      "[optimizer]\nlearning_rate = 1e37\nweight_decay = 1e5\nmomentum = 0.0\n"
      "[schedule]\nkind = \"constant\"\n";
  std::string text = training_text("", recipe);
  const std::string batch = "batch = " + std::to_string(kBatch);
  text.replace(text.find(batch), batch.size(), "batch = 100");  // one step an epoch
  const Training training = training_of(text, "last_step");
  EXPECT_THAT(end_of(training), HasSubstr("after epoch 1 the parameter '"));
  EXPECT_FALSE(fs::exists(training.output / "model.pt"));
}

TEST(Trainer, KeepsAnEarlierTrainingUntilItsFirstCheckpoint) {
  const Training earlier = training_of(training_text("ema = 0.9\n", kSgd), "kept");
  fs::remove_all(earlier.output);
  trained(earlier);
  const auto files = files_of(earlier.output);
  ASSERT_TRUE(files.contains("model.pt") && files.contains("last.pt"));
  const Training later = training_of(
      training_text("", "[optimizer]\nlearning_rate = 1e30\n[schedule]\nkind = \"constant\"\n"),
      "kept");
  EXPECT_THAT(end_of(later), HasSubstr("no longer finite"));
  EXPECT_EQ(files_of(earlier.output), files);
  std::atomic<bool> stop{true};  // after a step, with a checkpoint
  EXPECT_EQ(Trainer(later, false).run(stop, [](const EpochResult&) {}), TrainEnd::kInterrupted);
  const auto now = files_of(earlier.output);
  EXPECT_FALSE(now.contains("model.pt") || now.contains("last.pt"));
  EXPECT_NE(now.at("checkpoint.pt"), files.at("checkpoint.pt"));
  EXPECT_EQ(now.at("training.toml"), later.text);
}

TEST(Trainer, SaysWhereNaNCameFrom) {
  std::vector<float> images(kImages * 3 * 8 * 8, 0.5F);
  images[5] = std::numeric_limits<float>::quiet_NaN();
  write_npy(data_folder() / "with_nan.npy", "<f4", std::to_string(kImages) + ", 3, 8, 8",
            bytes_of(images));
  Training training = training_of(training_text("", kSgd), "nan_image");
  training.data.path = data_folder() / "with_nan.npy";
  EXPECT_THAT(end_of(training),
              AllOf(HasSubstr("with_nan.npy: an image of epoch"), HasSubstr("holds NaN or Inf")));
}

// LibTorch does not look at the archive's checksums: a flipped bit would be trained on.
TEST(Trainer, GoesOnFromNoDamagedCheckpoint) {
  const Training training = training_of(training_text("", kSgd), "damaged");
  fs::remove_all(training.output);
  std::atomic<bool> stop{true};
  Trainer(training, false).run(stop, [](const EpochResult&) {});
  const fs::path checkpoint = training.output / "checkpoint.pt";
  const std::string whole = read_text(checkpoint);
  const auto with_archive_of = [&](const std::string& bytes) {
    std::ofstream(checkpoint, std::ios::binary) << bytes;
  };
  int flipped = 0;
  const std::string header = "PK\x03\x04";
  for (std::size_t at = whole.find(header); at != whole.npos; at = whole.find(header, at + 1)) {
    const auto number = [&](std::size_t offset) {
      return static_cast<unsigned char>(whole[at + offset]) +
             256U * static_cast<unsigned char>(whole[at + offset + 1]);
    };
    if (whole.substr(at + 30, number(26)).find("/data/") == std::string::npos) continue;
    std::string damaged = whole;
    damaged[at + 30 + number(26) + number(28)] ^= 0x10;  // behind the name and the padding
    with_archive_of(damaged);
    EXPECT_THAT(end_of(training, true), HasSubstr("is damaged (CRC-32)")) << at;
    ++flipped;
  }
  EXPECT_GT(flipped, 8);
  with_archive_of(whole);
  EXPECT_NO_THROW(trained(training, true));
}

TEST(TrainableModel, AWeightOfTwoNamesIsOneParameter) {
  const TrainableModel model(small_model("tied"), "cpu");
  std::vector<std::string> names;
  for (const NamedTensor& parameter : model.parameters()) names.push_back(parameter.name);
  EXPECT_THAT(names, testing::ElementsAre("first.weight", "fc.weight", "fc.bias"));
  EXPECT_EQ(model.state().size(), 3U);
}

/// Mean loss of the first images, weights as they are.
double loss_of(TrainableModel& model, const at::Tensor& images, const at::Tensor& labels) {
  return at::cross_entropy_loss(model.forward(images).to(at::kDouble), labels).item<double>();
}

TEST(TrainableModel, GradientsOfTheHeadAreThoseOfFiniteDifferences) {
  TrainableModel model(guided_model(), "cpu");
  model.set_training(false);
  at::manual_seed(5);
  const at::Tensor images = at::randn({6, 3, 8, 8});
  const at::Tensor labels = at::tensor(std::vector<std::int64_t>{0, 1, 2, 3, 4, 0});
  at::cross_entropy_loss(model.forward(images), labels).backward();
  int checked = 0;
  for (const NamedTensor& parameter : model.parameters()) {
    if (!parameter.name.starts_with("fc.")) continue;
    SCOPED_TRACE(parameter.name);
    const at::Tensor gradient = parameter.value.grad().reshape(-1);
    const at::NoGradGuard no_gradients;
    at::Tensor flat = parameter.value.detach().view(-1);
    for (std::int64_t i = 0; i < flat.numel(); ++i, ++checked) {
      const float kept = flat[i].item<float>();
      const auto slope = [&](float step) {
        flat[i] = kept + step;
        const double above = loss_of(model, images, labels);
        flat[i] = kept - step;
        const double below = loss_of(model, images, labels);
        flat[i] = kept;
        return (above - below) / (2 * step);
      };
      // Richardson: what a central difference is off by falls with the square of its step.
      const double expected = (4 * slope(1.0F / 128) - slope(1.0F / 64)) / 3;
      EXPECT_NEAR(gradient[i].item<double>(), expected, 1e-3 * std::max(1.0, std::abs(expected)))
          << i;
    }
  }
  EXPECT_EQ(checked, 8 * 6 + 6 + 6 * 5 + 1);
}

}  // namespace
}  // namespace bitfall::trainer_test
