// class_means: the nearest of the classes' mean features answers (nearest class mean).
#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/extensions/training_features.h"
#include "head_inits.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"factor", OptionType::kNumber, "1", 1e-6, 1e6, nullptr,
     "Logits are -factor x squared distance; with larger ones the answer is surer of itself."},
    {"freeze", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether training leaves the means as they are."},
};

class ClassMeans final : public HeadInit, public FeatureLearner {
 public:
  explicit ClassMeans(const Options& options)
      : factor_(options.number("factor")), freeze_(options.flag("freeze")) {}

  void build(const HeadRequest&, RandomStream&, HeadLayers&) const override {
    throw std::invalid_argument("the means are of training images' features; none were given");
  }

  void build(const HeadRequest& request, const TrainingFeatures& features, RandomStream&,
             HeadLayers& layers) const override {
    const auto width = static_cast<std::size_t>(request.features);
    std::vector<double> sums(request.classes.size() * width);
    std::vector<std::int64_t> counts(request.classes.size());
    for (std::size_t image = 0; image < features.labels.size(); ++image) {
      const auto label = static_cast<std::size_t>(features.labels[image]);
      ++counts[label];
      for (std::size_t i = 0; i < width; ++i) {
        sums[label * width + i] += double{features.values[image * width + i]};
      }
    }
    std::vector<float> means(sums.size());
    for (std::size_t label = 0; label < counts.size(); ++label) {
      if (counts[label] == 0) {
        throw std::invalid_argument("no training image is of class '" +
                                    std::string(request.classes[label]) + "', so it has no mean");
      }
      for (std::size_t i = label * width; i < (label + 1) * width; ++i) {
        means[i] = static_cast<float>(sums[i] / static_cast<double>(counts[label]));
      }
    }
    layers.distance("means", static_cast<std::int64_t>(counts.size()), request.features, means,
                    factor_, !freeze_);
  }

  const void* extension(const char* name) const override {
    if (std::string_view(name) != kTrainingFeatures) return nullptr;
    return static_cast<const FeatureLearner*>(this);
  }

 private:
  double factor_;
  bool freeze_;
};

}  // namespace

const Component<HeadInit> kClassMeans{
    "class_means", "The nearest mean of a class's training features answers", kOptions,
    [](const Options& options) -> HeadInit* { return new ClassMeans(options); }};

}  // namespace bitfall
