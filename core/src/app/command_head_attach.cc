// bitfall head attach: another head in the place of a classifier's last layer.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "atomic_file.h"
#include "class_names.h"
#include "all_commands.h"
#include "component_choice.h"
#include "embeddings.h"
#include "error.h"
#include "head_exchange.h"
#include "head_features.h"
#include "log.h"
#include "plugin_host.h"
#include "sha256.h"
#include "torchscript_file.h"
#include "words.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kAttachHelp =
    R"(The backbone's last linear layer is found and the head takes its place, under its name; everything
else keeps its name and its weights. The initialisers: `bitfall plugin list`, their options:
`bitfall plugin info text_guided`.

Examples:
  bitfall head attach resnet50.pt --init text_guided -o guided.pt \
    --embeddings imagenet_gpt3.pth --classes imagenet_classes.json
  bitfall head attach resnet20.pt --init text_guided --set init=random --set width=512 -o random.pt
  bitfall head attach resnet20.pt --init linear -o baseline.pt)";

class HeadAttachCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("attach", "put a head in the place of the last linear layer");
    app->footer(kAttachHelp);
    app->add_option("backbone", backbone_, "TorchScript file of a classifier")->required();
    app->add_option("--init", init_, "a head initialiser's id")->required();
    app->add_option("-o,--output", output_, "TorchScript file to write")->required();
    app->add_option("--set", set_, "KEY=VALUE, an option of the initialiser; may be repeated")
        ->allow_extra_args(false);
    app->add_option(
        "--classes", classes_,
        "names of the classes in the order of the answer: JSON, or one per line (default: "
        "recorded in the backbone)");
    app->add_option("--embeddings", embeddings_.table,
                    "text embeddings, one row per class: .npy, .npz, .safetensors or .pth");
    app->add_option("--embedding-classes", embeddings_.classes,
                    "names of the embeddings' rows (default: those in their file, else the classes "
                    "in order)");
    app->add_option("--class-map", embeddings_.map,
                    "JSON {class: row name, row number, or several of them}");
    app->add_option("--embedding-key", embeddings_.key,
                    "the tensor's name in a file that holds several");
    app->add_option("--data", learn_.data,
                    "training images, for initialisers that learn from their features: a campaign "
                    "file or run directory, whose [data] is taken, or a folder with one folder a "
                    "class");
    app->add_option("--limit", learn_.limit,
                    "number of training images, taken evenly from the classes")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{2147483647}));
    app->add_option("--seed", seed_, "seed of the random numbers")
        ->capture_default_str()
        ->check(CLI::Validator(
            [](const std::string& text) {
              // CLI11 takes -1 for the largest number, and what is beyond it too.
              const bool fits =
                  text.find_first_not_of("0123456789") == text.npos && text.size() < 20;
              return fits ? std::string() : "give a whole number from 0 to 9999999999999999999";
            },
            ""));
    app->add_option("--input", input_, kInputHelp);
    app->add_option("--plugin", plugins_, "further shared libraries");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;
  bool stoppable() const override { return true; }

 private:
  bool follow_bias(const PluginHost& host);
  std::vector<std::string> numbered(std::int64_t count, bool needs_names) const;
  EmbeddingTable read_embeddings(bool needed, const std::vector<std::string>& classes) const;
  std::optional<LearnedFeatures> learn(const HeadInit& init, const LastLinear& last) const;
  Json head_card(const LastLinear& last, const EmbeddingTable& table, const PluginHost& host,
                 const std::optional<LearnedFeatures>& learned) const;

  std::filesystem::path backbone_;
  std::filesystem::path output_;
  std::string init_;              // id of the initialiser
  std::vector<std::string> set_;  // component_choice()
  EmbeddingFiles embeddings_;
  std::filesystem::path
      classes_;  // names of the answer's classes; empty = recorded in the backbone
  std::string input_;
  FeatureSource learn_;
  std::uint64_t seed_ = 1;
  std::vector<std::filesystem::path> plugins_;
  bool json_ = false;
};

int HeadAttachCommand::run() {
  prove_output(output_,
               {backbone_, classes_, embeddings_.table, embeddings_.classes, embeddings_.map});
  require_torchscript(backbone_);
  PluginHost host;
  load_plugins(host, plugins_);
  Diagnostics diagnostics("--init", "");
  auto init = host.make_head_init(component_choice(host, ComponentKind::kHeadInit, init_, set_),
                                  diagnostics);
  diagnostics.throw_if_any();

  const ModelCard known = read_model_card(backbone_);
  const auto input = input_shape(known, input_);
  const LastLinear last = head_place(backbone_, known, input);
  if (!last.bias && follow_bias(host)) {
    init = host.make_head_init(component_choice(host, ComponentKind::kHeadInit, init_, set_),
                               diagnostics);
  }
  std::vector<std::string> classes = known.classes;
  if (!classes_.empty()) classes = read_class_names(classes_);
  const bool named = !classes.empty();
  if (!named) classes = numbered(last.classes, init->needs_embeddings());
  const EmbeddingTable table = read_embeddings(init->needs_embeddings(), classes);
  const std::optional<LearnedFeatures> learned = learn(*init, last);
  const Head layers = build_head(*init, last.features, classes, table.values, table.width, seed_,
                                 learned ? &learned->features : nullptr);

  Json card = model_card_json(backbone_);
  card.erase("trained");  // the backbone's, not this model's
  card["input"] = {input[0], input[1], input[2]};
  if (named) card["classes"] = classes;
  card["head"] = head_card(last, table, host, learned);
  write_checked(backbone_, last.module, layers, card, input, output_);
  const std::optional<HeadCard>& old = known.head;
  log_info((old ? "replaced the head '" + old->init + "' at '" : "found the last linear layer '") +
           last.module + "', " + std::to_string(last.features) + " -> " +
           std::to_string(last.classes) + (!old && last.bias ? ", with bias" : "") + "; wrote " +
           output_.string());
  print_head(output_, input, json_);
  return 0;
}

/// Of a layer without bias: sets the option `bias` of the initialiser to false where it has one and
/// nothing was said of it.
bool HeadAttachCommand::follow_bias(const PluginHost& host) {
  const ComponentDescription* component = host.find(ComponentKind::kHeadInit, init_);
  const auto is_bias = [](const OptionSpec& spec) { return std::string_view(spec.name) == "bias"; };
  if (component == nullptr ||
      std::none_of(component->options.begin(), component->options.end(), is_bias)) {
    return false;
  }
  for (const std::string& setting : set_) {
    if (trimmed(setting.substr(0, setting.find('='))) == "bias") return false;
  }
  set_.push_back("bias=false");
  log_info("the layer that is replaced has no bias: bias = false (--set bias=true gives one)");
  return true;
}

/// Names for classes that have none; rows of embeddings can be told apart by real names alone.
std::vector<std::string> HeadAttachCommand::numbered(std::int64_t count, bool needs_names) const {
  if (needs_names || count == 0) {
    throw Error(ExitCode::kUsage, backbone_.string() +
                                      ": records no class names, so that rows of embeddings cannot "
                                      "be told apart; give --classes FILE, the names in the order "
                                      "of the answer");
  }
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

/// A row per class; an empty table where the initialiser needs none.
EmbeddingTable HeadAttachCommand::read_embeddings(bool needed,
                                                  const std::vector<std::string>& classes) const {
  if (!needed && !embeddings_.table.empty()) {
    throw Error(ExitCode::kUsage, "--embeddings: --init " + init_ +
                                      (set_.empty() ? "" : " " + joined(set_)) + " reads none");
  }
  if (!needed) return {};
  if (embeddings_.table.empty()) {
    throw Error(ExitCode::kUsage, "--init " + init_ +
                                      " needs --embeddings FILE (.npy, .npz, .safetensors or .pth; "
                                      "scripts/embed_text.py makes one)");
  }
  try {
    return class_embeddings(embeddings_, classes);
  } catch (const Error& error) {
    if (!classes_.empty()) throw;
    throw Error(error.code(), std::string(error.what()) + "\n  the " +
                                  std::to_string(classes.size()) + " classes are those that " +
                                  backbone_.string() + " records; --classes FILE names others");
  }
}

/// Of initialisers that learn from features.
std::optional<LearnedFeatures> HeadAttachCommand::learn(const HeadInit& init,
                                                        const LastLinear& last) const {
  const bool learns = learns_from_features(init);
  if (!learns && !learn_.data.empty()) {
    throw Error(ExitCode::kUsage, "--data: --init " + init_ + " learns from no images");
  }
  if (!learns) return std::nullopt;
  if (learn_.data.empty()) {
    throw Error(ExitCode::kUsage, "--init " + init_ +
                                      " learns from training images; name them with --data, a "
                                      "campaign file or a folder with one folder a class");
  }
  return features_of(backbone_, last, learn_);
}

/// What the new model's card says of its head.
Json HeadAttachCommand::head_card(const LastLinear& last, const EmbeddingTable& table,
                                  const PluginHost& host,
                                  const std::optional<LearnedFeatures>& learned) const {
  Json card = {{"module", last.module},      {"init", init_},
               {"options", joined(set_)},    {"seed", seed_},
               {"replaced_bias", last.bias}, {"backbone_sha256", sha256_file(backbone_)}};
  const PluginDescription& plugin =
      host.plugins()[host.find(ComponentKind::kHeadInit, init_)->plugin];
  card["plugin"] = {{"name", plugin.name}, {"version", plugin.version}, {"sha256", plugin.sha256}};
  if (!embeddings_.table.empty()) {
    card["embeddings"] = {{"file", embeddings_.table.filename().string()},
                          {"sha256", sha256_file(embeddings_.table)},
                          {"width", table.width}};
  }
  if (learned) {
    card["learned_from"] = {{"data", learn_.data.filename().string()},
                            {"images", learned->features.labels.size()},
                            {"data_digest", learned->data_digest}};
  }
  return card;
}

}  // namespace

std::unique_ptr<Command> head_attach_command() { return std::make_unique<HeadAttachCommand>(); }

}  // namespace bitfall
