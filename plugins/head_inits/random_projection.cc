// random_projection: the bottleneck of the text-guided head and nothing else of it.
#include "head_inits.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"width", OptionType::kInteger, "512", 1, 65536, nullptr, "Values between the two layers (E)."},
    {"bias", OptionType::kFlag, "true", 0, 0, nullptr,
     "Whether the first layer adds a bias. `bitfall head attach` leaves it out where the layer "
     "that "
     "is replaced has none."},
    {"freeze", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether training leaves the second layer as it was drawn."},
};

class RandomProjection final : public HeadInit {
 public:
  explicit RandomProjection(const Options& options)
      : width_(options.integer("width")),
        bias_(options.flag("bias")),
        freeze_(options.flag("freeze")) {}

  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    const auto classes = static_cast<std::int64_t>(request.classes.size());
    const auto latent = random_linear(width_, request.features, bias_, random);
    layers.linear("latent", width_, request.features, latent.weight, latent.bias, true);
    const auto projection = random_linear(classes, width_, false, random);
    layers.linear("projection", classes, width_, projection.weight, {}, !freeze_);
  }

 private:
  std::int64_t width_;
  bool bias_;
  bool freeze_;
};

}  // namespace

const Component<HeadInit> kRandomProjection{
    "random_projection",
    "Two linear layers with a bottleneck between them, both random: features to E, E to classes",
    kOptions, [](const Options& options) -> HeadInit* { return new RandomProjection(options); }};

}  // namespace bitfall
