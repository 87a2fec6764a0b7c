// Training files.
#include "training_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "key_table.h"
#include "text_file.h"

namespace bitfall::training_config_test {
namespace {

using testing::HasSubstr;

constexpr const char* kSmallest = "[model]\npath = \"m.pt\"\n[data]\npath = \"images\"\n";

Training parsed(const std::string& text) {
  Diagnostics diagnostics("t.toml", text);
  Training training = parse_training("folder/t.toml", text, diagnostics);
  EXPECT_TRUE(diagnostics.empty()) << diagnostics.render();
  return training;
}

std::string messages(const std::string& text) {
  Diagnostics diagnostics("t.toml", text);
  parse_training("folder/t.toml", text, diagnostics);
  return diagnostics.render();
}

TEST(TrainingConfig, PathsAreTakenFromTheFilesFolder) {
  const Training training = parsed(kSmallest);
  EXPECT_EQ(training.output, "folder/runs/t");
  EXPECT_EQ(training.model, "folder/m.pt");
  EXPECT_EQ(training.data.path, "folder/images");
  EXPECT_FALSE(training.validation);
}

TEST(TrainingConfig, ValidationTakesWhatItDoesNotSayFromData) {
  const Training training = parsed(
      "[model]\npath = \"m.pt\"\n[data]\npath = \"a\"\nclasses = \"c.txt\"\nlimit = 5\n"
      "preprocess = { mean = [0.5], std = [0.25], crop = 32, resize = [64, 32] }\n"
      "[validation]\npath = \"b\"\npreprocess = { crop = 24, std = [0.5], resize = 48 }\n");
  ASSERT_TRUE(training.validation);
  EXPECT_EQ(training.validation->path, "folder/b");
  EXPECT_EQ(training.validation->classes, "folder/c.txt");
  EXPECT_EQ(training.validation->limit, 0);
  EXPECT_EQ(training.validation->preprocess.mean, std::vector<double>{0.5});
  EXPECT_EQ(training.validation->preprocess.crop, 24);
  EXPECT_EQ(training.validation->preprocess.std, std::vector<double>{0.5});
  EXPECT_EQ(training.validation->preprocess.resize, 48);
  EXPECT_FALSE(training.validation->preprocess.resize_width);
  EXPECT_EQ(training.data.preprocess.crop, 32);
}

TEST(TrainingConfig, MistakesAreNamedWithTheirPlaces) {
  EXPECT_EQ(messages(std::string(kSmallest) + "[optimiser]\n"),
            "t.toml:5:2: unknown section [optimiser]\n"
            "    5 | [optimiser]\n"
            "      |  ^^^^^^^^^ did you mean [optimizer]?\n");
  const auto of = [](const std::string& more) { return messages(kSmallest + more); };
  EXPECT_THAT(of("[optimizer]\nkind = \"adam\"\n"),
              HasSubstr("'kind' in [optimizer] must be one of 'sgd', 'adamw', found 'adam'"));
  EXPECT_THAT(of("[optimizer]\nkind = \"adamw\"\nmomentum = 0.9\n"),
              HasSubstr("t.toml:7:12: 'momentum' in [optimizer] is read only with kind = \"sgd\""));
  EXPECT_THAT(of("[optimizer]\nmomentum = 0\nnesterov = true\n"), HasSubstr("needs a momentum"));
  EXPECT_THAT(of("[schedule]\nkind = \"cosine\"\ngamma = 0.1\n"),
              HasSubstr("is read only with kind = \"step\""));
  EXPECT_THAT(of("[schedule]\nwarmup_epochs = 2\n"), HasSubstr("rises by itself"));
  EXPECT_THAT(of("[training]\nbatch = 0\nepochs = -1\n"),
              HasSubstr("'batch' in [training] must be"));
  EXPECT_THAT(of("[run]\ndevice = \"gpu\"\n"), HasSubstr("must be 'cpu', 'cuda' or 'cuda:N'"));
  EXPECT_THAT(messages("[data]\npath = \"x\"\n"), HasSubstr("missing section [model]"));
  EXPECT_THAT(messages("speed = 3\n"), HasSubstr("a training file has keys in sections only"));
  EXPECT_THAT(of("[validation]\nlimit = 3\n"), HasSubstr("missing key 'path' in [validation]"));
}

/// Every key with a default, written out, gives the training that says nothing.
TEST(TrainingConfig, DocumentedDefaultsAreTheDefaults) {
  for (const bool sgd : {true, false}) {
    std::string text = kSmallest, section;
    for (const KeySpec& key : training_keys().keys) {
      const std::string name = key.name, of = key.section;
      if (of == "model" || of.starts_with("data") || of.starts_with("validation")) continue;
      if (!key.default_value || key.default_value->empty() || name == "kind") continue;
      const bool of_adamw = name.starts_with("beta") || name == "epsilon";
      const bool of_sgd = name == "momentum" || name == "nesterov";
      if (sgd ? of_adamw : of_sgd) continue;
      if (name.starts_with("step_") || name == "gamma" || name == "minimum" ||
          name == "warmup_epochs") {
        continue;  // not of the default schedule
      }
      if (of != section) {
        text += "[" + (section = of) + "]\n";
        if (of == "optimizer" && !sgd) text += "kind = \"adamw\"\n";
      }
      text += name + " = " + *key.default_value + "\n";
    }
    const Training given = parsed(text), silent = parsed(kSmallest);
    EXPECT_EQ(given.seed, silent.seed);
    EXPECT_EQ(given.epochs, silent.epochs);
    EXPECT_EQ(given.batch, silent.batch);
    EXPECT_EQ(given.label_smoothing, silent.label_smoothing);
    EXPECT_EQ(given.ema, silent.ema);
    EXPECT_EQ(given.checkpoint_minutes, silent.checkpoint_minutes);
    EXPECT_EQ(given.optimizer.learning_rate, silent.optimizer.learning_rate);
    EXPECT_EQ(given.optimizer.weight_decay, silent.optimizer.weight_decay);
    EXPECT_EQ(given.optimizer.decay_vectors, silent.optimizer.decay_vectors);
    EXPECT_EQ(given.optimizer.momentum, silent.optimizer.momentum);
    EXPECT_EQ(given.optimizer.nesterov, silent.optimizer.nesterov);
    EXPECT_EQ(given.optimizer.beta1, silent.optimizer.beta1);
    EXPECT_EQ(given.optimizer.beta2, silent.optimizer.beta2);
    EXPECT_EQ(given.optimizer.epsilon, silent.optimizer.epsilon);
    EXPECT_EQ(given.schedule.kind, silent.schedule.kind);
    EXPECT_EQ(given.schedule.rise, silent.schedule.rise);
    EXPECT_EQ(given.schedule.start_factor, silent.schedule.start_factor);
    EXPECT_EQ(given.schedule.end_factor, silent.schedule.end_factor);
    EXPECT_EQ(given.schedule.warmup_factor, silent.schedule.warmup_factor);
    EXPECT_EQ(given.augmentation.shift, silent.augmentation.shift);
    EXPECT_EQ(given.augmentation.flip, silent.augmentation.flip);
    EXPECT_EQ(given.device, silent.device);
    EXPECT_EQ(given.threads, silent.threads);
    EXPECT_EQ(given.workers, silent.workers);
  }
}

TEST(TrainingConfig, SidesHaveTheLimitOfCampaigns) {
  EXPECT_THAT(
      messages(std::string(kSmallest) + "preprocess = { resize = 8193 }\n"),
      HasSubstr("t.toml:5:25: 'resize' in [data] preprocess must be from 1 to 8192, found"));
}

TEST(TrainingKeys, AreListedOnceInSectionsThatExist) {
  const KeyTable& table = training_keys();
  for (const KeySpec& key : table.keys) {
    const std::string top = std::string(key.section).substr(0, std::string(key.section).find('.'));
    EXPECT_TRUE(std::any_of(table.sections.begin(), table.sections.end(),
                            [&](const SectionSpec& section) { return top == section.name; }))
        << key.section;
    EXPECT_EQ(table.find(key.section, key.name), &key) << key.name << " is listed twice";
    EXPECT_TRUE(std::string(key.help).ends_with('.')) << key.name;
  }
}

TEST(TrainingKeys, ReadmeHoldsTheTables) {
  const std::string begin = "<!-- training keys -->\n", end = "<!-- /training keys -->\n";
  const std::string readme = read_text(BITFALL_SOURCE_DIR "/core/README.md");
  const std::size_t first = readme.find(begin), last = readme.find(end);
  ASSERT_NE(first, readme.npos);
  ASSERT_NE(last, readme.npos);
  const std::size_t start = first + begin.size();
  EXPECT_EQ(readme.substr(start, last - start), training_keys().markdown())
      << "`bitfall config --training` prints what belongs between these lines";
}

}  // namespace
}  // namespace bitfall::training_config_test
