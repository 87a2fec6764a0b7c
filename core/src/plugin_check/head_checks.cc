// What head initialisers are tried with.
#include "any_kind_checks.h"
#include "bitfall/extensions/training_features.h"
#include "bounded_array.h"
#include "check_inputs.h"

namespace bitfall {
namespace {

/// Layers as words.
class RecordedLayers final : public HeadLayers {
 public:
  void linear(const char* name, std::int64_t outputs, std::int64_t inputs, View<const float> weight,
              View<const float> bias, bool trainable) override {
    add(1, name, trainable);
    add_word(words, outputs);
    add_word(words, inputs);
    add_words(words, weight);
    add_words(words, bias);
  }
  void normalise(const char* name, double epsilon) override {
    add(2, name, false);
    add_word(words, epsilon);
  }
  void scale(const char* name, double log_factor, bool trainable) override {
    add(3, name, trainable);
    add_word(words, log_factor);
  }
  void activation(const char* name, Text function) override {
    add(4, name, false);
    add_text(function);
  }
  void distance(const char* name, std::int64_t outputs, std::int64_t inputs,
                View<const float> centres, double factor, bool trainable) override {
    add(5, name, trainable);
    add_word(words, outputs);
    add_word(words, inputs);
    add_words(words, centres);
    add_word(words, factor);
  }
  Words words;

 private:
  void add(std::uint32_t kind, const char* name, bool trainable) {
    words.push_back(kind);
    words.push_back(trainable ? 1 : 0);
    add_text(name);
  }
  void add_text(std::string_view text) {
    for (const char c : text) words.push_back(static_cast<unsigned char>(c));
  }
};

/// A request: its classes, features and embeddings.
struct AskedHead {
  AskedHead(std::int64_t features, std::size_t classes, PhiloxStream random)
      : features(features),
        names(classes),
        pointers(classes),
        embeddings(classes * kWidth),
        learned(classes * kImages * static_cast<std::size_t>(features)),
        labels(classes * kImages) {
    for (std::size_t c = 0; c < classes; ++c) {
      names[c] = "class_" + std::to_string(c);
      pointers[c] = names[c].c_str();
    }
    const auto values = usual_values(embeddings.size(), random);
    std::copy(values.begin(), values.end(), embeddings.begin());
    const auto images = usual_values(learned.size(), random);
    std::copy(images.begin(), images.end(), learned.begin());
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<std::int64_t>(i % classes);
  }
  /// Empty where the request is refused.
  Words built_by(const HeadInit& init, PhiloxStream random) const {
    HeadRequest request{sizeof(HeadRequest), features, pointers.view(), {}, 0};
    if (init.needs_embeddings()) {
      request.embeddings = embeddings.view();
      request.embedding_width = kWidth;
    }
    RecordedLayers layers;
    try {
      if (const void* const learner = init.extension(kTrainingFeatures)) {
        static_cast<const FeatureLearner*>(learner)->build(
            request,
            {sizeof(TrainingFeatures), static_cast<std::int64_t>(labels.size()), learned.view(),
             labels.view()},
            random, layers);
      } else {
        init.build(request, random, layers);
      }
    } catch (const Error& error) {
      if (error.code() == ExitCode::kUsage) return {};
      throw;
    }
    return layers.words;
  }
  std::string text() const {
    return "build for " + std::to_string(features) + " features and " +
           std::to_string(names.size()) + " classes";
  }

  static constexpr std::size_t kImages = 4;  // of each class
  static constexpr std::int64_t kWidth = 24;
  std::int64_t features;
  std::vector<std::string> names;
  BoundedArray<const char*> pointers;
  BoundedArray<float> embeddings;
  BoundedArray<float> learned;  // [images, features]
  BoundedArray<std::int64_t> labels;
};

using Size = std::pair<std::int64_t, std::size_t>;  // features, classes
constexpr Size kAllSizes[] = {{1, 1}, {1, 2}, {4, 3}, {3, 7}, {24, 5}, {64, 10}, {256, 100}};
constexpr Size kFewSizes[] = {{1, 2}, {4, 3}, {3, 7}, {24, 5}};

Cases<HeadInit> head_cases(const Subject& subject, std::span<const Size> sizes) {
  Cases<HeadInit> cases;
  for (const auto& [features, classes] : sizes) {
    const auto asked = std::make_shared<AskedHead>(features, classes, subject.random(20));
    cases.push_back({asked->text(), [asked, stream = subject.random(21)](const HeadInit& init) {
                       return asked->built_by(init, stream);
                     }});
  }
  return cases;
}

Cases<HeadInit> all_head_cases(const Subject& subject) { return head_cases(subject, kAllSizes); }
Cases<HeadInit> few_head_cases(const Subject& subject) { return head_cases(subject, kFewSizes); }

void check_layers(const Subject& subject) {
  const auto init = subject.make<HeadInit>();
  bool any = false;
  for (const auto& one : all_head_cases(subject)) any |= !tried(one, *init).empty();
  if (!any)
    throw CheckFailure(
        "refuses every size that was tried, from 1 feature and 1 class to 256 and 100");
}

constexpr Check kBasicHeadChecks[] = {
    {"layers", "layers fit features, classes and each other; their numbers are finite",
     check_layers},
};

}  // namespace

std::vector<Check> head_checks() {
  return checks_over<HeadInit, all_head_cases, few_head_cases>(kBasicHeadChecks, {});
}

}  // namespace bitfall
