// embedding: one linear layer whose rows come from a file.
#include <stdexcept>
#include <string>

#include "head_inits.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"bias", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether the layer adds a bias, which starts at 0."},
    {"freeze", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether training leaves the layer as it was read."},
};

class Embedding final : public HeadInit {
 public:
  explicit Embedding(const Options& options)
      : bias_(options.flag("bias")), freeze_(options.flag("freeze")) {}

  bool needs_embeddings() const override { return true; }

  void build(const HeadRequest& request, RandomStream&, HeadLayers& layers) const override {
    if (request.embedding_width != request.features) {
      throw std::invalid_argument(
          "the embeddings have " + std::to_string(request.embedding_width) +
          " values per class and the backbone's features " + std::to_string(request.features) +
          ": they must be equally wide; `text_guided` puts a layer between them");
    }
    const std::vector<float> bias(bias_ ? request.classes.size() : 0, 0.0F);
    layers.linear("linear", static_cast<std::int64_t>(request.classes.size()), request.features,
                  request.embeddings, bias, !freeze_);
  }

 private:
  bool bias_;
  bool freeze_;
};

}  // namespace

const Component<HeadInit> kEmbedding{
    "embedding", "One linear layer whose weights are the rows of an embeddings file", kOptions,
    [](const Options& options) -> HeadInit* { return new Embedding(options); }};

}  // namespace bitfall
