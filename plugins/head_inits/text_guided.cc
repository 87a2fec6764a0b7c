// text_guided: the classifier head of "Hardware Resilience Properties of Text-Guided Image
// Classifiers" (NeurIPS 2023), with a switch for each of the four things that it is made of.
#include <cmath>
#include <stdexcept>
#include <string>

#include "head_inits.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"init", OptionType::kText, "embeddings", 0, 0, "embeddings|random",
     "How the projection starts: at the rows of the embeddings file, each brought to length 1, or "
     "at random, as in the paper's ablation."},
    {"bottleneck", OptionType::kFlag, "true", 0, 0, nullptr,
     "Whether a linear layer brings the features to the width E; without it they must have that "
     "width."},
    {"bias", OptionType::kFlag, "true", 0, 0, nullptr,
     "Whether that layer adds a bias. `bitfall head attach` leaves it out where the layer that is "
     "replaced has none, as the published code does."},
    {"width", OptionType::kInteger, "0", 0, 65536, nullptr,
     "The width E; 0 = the embeddings', which it must equal where they are used."},
    {"cosine", OptionType::kFlag, "true", 0, 0, nullptr,
     "Whether features are brought to length 1 before the projection; without it the head is "
     "linear and `bitfall head fuse` makes one layer of it."},
    {"temperature", OptionType::kFlag, "true", 0, 0, nullptr,
     "Whether the logits are multiplied by exp(s), where s is trained."},
    {"initial_temperature", OptionType::kNumber, "0.07", 1e-6, 1e6, nullptr,
     "s starts at ln(1 / initial_temperature)."},
    {"epsilon", OptionType::kNumber, "1e-12", 1e-30, 1, nullptr,
     "Least length that features are divided by, so that a zero vector stays zero."},
    {"freeze", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether training leaves the projection as it started; the published code never did."},
};

class TextGuided final : public HeadInit {
 public:
  explicit TextGuided(const Options& options)
      : random_(options.text("init") == "random"),
        bottleneck_(options.flag("bottleneck")),
        bias_(options.flag("bias")),
        width_(options.integer("width")),
        cosine_(options.flag("cosine")),
        temperature_(options.flag("temperature")),
        log_factor_(-std::log(options.number("initial_temperature"))),
        epsilon_(options.number("epsilon")),
        freeze_(options.flag("freeze")) {
    if (random_ && bottleneck_ && width_ == 0) {
      throw std::invalid_argument(
          "width: must be given with init = \"random\"; the paper's is 512");
    }
  }

  bool needs_embeddings() const override { return !random_; }

  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    const auto classes = static_cast<std::int64_t>(request.classes.size());
    const std::int64_t width = width_of(request);
    if (bottleneck_) {
      const auto latent = random_linear(width, request.features, bias_, random);
      layers.linear("latent", width, request.features, latent.weight, latent.bias, true);
    }
    if (cosine_) layers.normalise("normalise", epsilon_);
    const auto rows = random_ ? random_linear(classes, width, false, random).weight
                              : unit_rows(request.embeddings, width);
    layers.linear("projection", classes, width, rows, {}, !freeze_);
    if (temperature_) layers.scale("scale", log_factor_, true);
  }

 private:
  std::int64_t width_of(const HeadRequest& request) const {
    const std::int64_t given = random_ ? 0 : request.embedding_width;
    if (width_ > 0 && given > 0 && width_ != given) {
      throw std::invalid_argument("width is " + std::to_string(width_) +
                                  ", but the embeddings have " + std::to_string(given) +
                                  " values per class; leave `width` out");
    }
    const std::int64_t width = given > 0 ? given : width_ > 0 ? width_ : request.features;
    if (!bottleneck_ && width != request.features) {
      throw std::invalid_argument(
          "the projection is " + std::to_string(width) + " wide and the backbone's features " +
          std::to_string(request.features) + ": without the bottleneck they must be equal");
    }
    return width;
  }

  static std::vector<float> unit_rows(View<const float> rows, std::int64_t width) {
    std::vector<float> result(rows.begin(), rows.end());
    for (auto row = result.begin(); row != result.end(); row += width) {
      double squares = 0;
      for (auto value = row; value != row + width; ++value) squares += double{*value} * *value;
      const double length = std::sqrt(squares);
      for (auto value = row; value != row + width; ++value) {
        *value = static_cast<float>(*value / length);
      }
    }
    return result;
  }

  bool random_;
  bool bottleneck_;
  bool bias_;
  std::int64_t width_;
  bool cosine_;
  bool temperature_;
  double log_factor_;
  double epsilon_;
  bool freeze_;
};

}  // namespace

const Component<HeadInit> kTextGuided{
    "text_guided",
    "A layer to the width of text embeddings, division by length, a projection that starts at the "
    "classes' embeddings, a trained temperature",
    kOptions, [](const Options& options) -> HeadInit* { return new TextGuided(options); }};

}  // namespace bitfall
