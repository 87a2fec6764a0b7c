// bitfall init: a campaign file for a model and its data, filled in.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "atomic_file.h"
#include "error.h"
#include "file_commands.h"
#include "json_file.h"
#include "key_table.h"
#include "log.h"
#include "model_card.h"
#include "output.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// As seen from the folder of the campaign file, where that is shorter.
std::string path_from(const fs::path& file, const fs::path& path) {
  const fs::path base = fs::absolute(file).parent_path();
  const fs::path relative = fs::absolute(path).lexically_normal().lexically_relative(base);
  if (relative.empty() || *relative.begin() == "..") return fs::absolute(path).string();
  return relative.string();
}

void must_exist(const fs::path& path, const char* what) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return;
  throw Error(ExitCode::kInput, path.string() + ": no such " + what);
}

/// The card's recipe as a table of [data] preprocess; empty where it has none.
std::string preprocess_of(const fs::path& model) {
  const auto card = model_card_json(model);
  if (!card.contains("preprocess") || !card["preprocess"].is_object()) return "";
  std::string text;
  for (const auto& [name, value] : card["preprocess"].items()) {
    if (!campaign_keys().find("data.preprocess", name) || value.is_null()) continue;
    text += (text.empty() ? "" : ", ") + name + " = " +
            json_text(value, -1);  // TOML writes these alike
  }
  return text;
}

class InitCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("init", "write a campaign file for a model and its data");
    app->add_option("model", model_, "TorchScript file, or torch.export archive (.pt2)")
        ->required();
    app->add_option("data", data_,
                    "folder with one folder of images per class, or images in one .npy")
        ->required();
    app->add_option("--labels", labels_,
                    "labels of an images .npy (default: labels.npy beside it)");
    app->add_option("--format", format_, "number format");
    app->add_option("-o,--output", output_, "the file");
    return app;
  }
  int run() override;

 private:
  std::string text() const;

  fs::path model_, data_, labels_, output_ = "campaign.toml";
  std::string format_ = "fp16";
};

int InitCommand::run() {
  must_exist(model_, "model");
  must_exist(data_, "folder of images, or .npy file");
  std::error_code ignored;
  if (data_.extension() == ".npy") {
    if (labels_.empty()) labels_ = data_.parent_path() / "labels.npy";
    must_exist(labels_, "file of labels; name it with --labels");
  }
  if (fs::exists(output_, ignored)) {
    throw Error(ExitCode::kUsage,
                output_.string() + ": is there already; give another name with -o");
  }
  write_file_atomically(output_, text());
  print_result("%s\nnext: bitfall run %s --dry-run\n", output_.c_str(),
               shell_word(output_.string()).c_str());
  return 0;
}

std::string InitCommand::text() const {
  const std::string recipe = preprocess_of(model_);
  if (recipe.empty()) {
    log_info(model_.string() + ": does not say how its images are prepared; see preprocess in " +
             output_.string());
  }
  std::string text =
      "# Every key: bitfall config. Its JSON Schema, for editors: bitfall config "
      "--json-schema\n[model]\npath = " +
      toml_text(path_from(output_, model_)) +
      "\n\n[data]\npath = " + toml_text(path_from(output_, data_)) + "\n";
  if (!labels_.empty()) text += "labels = " + toml_text(path_from(output_, labels_)) + "\n";
  text += recipe.empty()
              ? "# preprocess = { resize = 256, crop = 224, mean = [0.485, 0.456, 0.406], std = "
                "[0.229, 0.224, 0.225] }\n"
              : "preprocess = { " + recipe + " }\n";
  return text + "\n[format]\nid = " + toml_text(format_) +
         "                      # bitfall formats\n\n[[faults]]\nerror_model = \"bit_flip\"        "
         " # bitfall plugin list\ntarget = \"activation\"            # or \"weight\", \"input\"\n"
         "per_site = 1024                  # or total, or precision = 0.01\n";
}

}  // namespace

std::unique_ptr<Command> init_command() { return std::make_unique<InitCommand>(); }

}  // namespace bitfall
