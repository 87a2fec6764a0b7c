// Shows what the host tells of a place, and builds a head with an activation between its layers.
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

/// Its population tells the place: place, fan-in, channel axis and length of the operation's name.
class Place final : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    const auto letters = static_cast<double>(std::string_view(site.operation).size());
    return 1e8 * site.place + 1e4 * static_cast<double>(site.fan_in) +
           100.0 * (site.channel_axis + 1) + letters;
  }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({.element = 0, .mask = 1});
  }
};

/// linear, activation, linear; weights 0.01 (n % 19 - 9) in order.
class TwoLayers final : public HeadInit {
 public:
  explicit TwoLayers(const Options& options)
      : function_(std::string_view(options.text("function"))) {}
  void build(const HeadRequest& request, RandomStream&, HeadLayers& layers) const override {
    constexpr std::int64_t kHidden = 7;
    const auto classes = static_cast<std::int64_t>(request.classes.size());
    const std::vector<float> bias(kHidden, 0.25F);
    layers.linear("hidden", kHidden, request.features, weights(kHidden * request.features), bias,
                  true);
    layers.activation("between", Text(function_.data(), function_.size()));
    layers.linear("last", classes, kHidden, weights(classes * kHidden), {}, true);
  }

 private:
  static std::vector<float> weights(std::int64_t count) {
    std::vector<float> made(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = 0.01F * (static_cast<float>(i % 19) - 9);
    }
    return made;
  }
  std::string function_;
};

constexpr OptionSpec kOptions[] = {
    {"function", OptionType::kText, "relu", 0, 0, nullptr, "what lies between the layers"}};
constexpr Component<ErrorModel> kPlace{
    "place", "for tests", {}, [](const Options&) -> ErrorModel* { return new Place; }};
constexpr Component<HeadInit> kTwoLayers{
    "two_layers", "for tests", kOptions,
    [](const Options& options) -> HeadInit* { return new TwoLayers(options); }};

constexpr void register_all(Registrar& registrar) {
  registrar.add(kPlace);
  registrar.add(kTwoLayers);
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("telling", "1.0", "tells what it is told", bitfall::register_all);
