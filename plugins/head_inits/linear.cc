// linear: the usual last layer.
#include "head_inits.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"bias", OptionType::kFlag, "true", 0, 0, nullptr, "Whether the layer adds a bias."},
};

class Linear final : public HeadInit {
 public:
  explicit Linear(const Options& options) : bias_(options.flag("bias")) {}

  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    const auto classes = static_cast<std::int64_t>(request.classes.size());
    const auto values = random_linear(classes, request.features, bias_, random);
    layers.linear("linear", classes, request.features, values.weight, values.bias, true);
  }

 private:
  bool bias_;
};

}  // namespace

const Component<HeadInit> kLinear{
    "linear", "One linear layer, started as PyTorch starts nn.Linear", kOptions,
    [](const Options& options) -> HeadInit* { return new Linear(options); }};

}  // namespace bitfall
