// bitfall values: what a site holds without a fault, as a NumPy array.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>

#include "atomic_file.h"
#include "all_commands.h"
#include "error.h"
#include "key_table.h"
#include "log.h"
#include "npy.h"
#include "progress.h"
#include "session.h"
#include "stop.h"
#include "text_file.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

constexpr const char* kValuesHelp =
    R"(The values are those that a fault of the campaign would hit: computed in its batches, in its number
formats. Of activations and inputs the array is [images, ...], the images in the order of the data (the row
is the image of a fault list where the data are one .npy; --names writes their names otherwise); of a
parameter it has the parameter's shape.

Examples:
  bitfall values campaign.toml --site layer1.0.conv1 -o values.npy --codes codes.npy
  bitfall values resnet50.pt images --site fc --format fp16 --images 64 -o fc.npy)";

/// An array that is written an image at a time, in any order, and appears whole.
class NpyOutput {
 public:
  NpyOutput(const fs::path& path, NpyType type, const std::vector<std::int64_t>& shape)
      : path_(path), file_(path), item_(item_size(type)) {
    const std::string header = npy_header_text(type, shape);
    start_ = static_cast<off_t>(header.size());
    descriptor_ = ::open(file_.temporary().c_str(), O_WRONLY | O_CLOEXEC);
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) elements *= size;
    const off_t all = start_ + static_cast<off_t>(elements) * static_cast<off_t>(item_);
    if (descriptor_ < 0) fail(errno);
    if (const int error = ::posix_fallocate(descriptor_, 0, all); error != 0) fail(error);
    put(header.data(), header.size(), 0);
  }
  ~NpyOutput() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  NpyOutput(const NpyOutput&) = delete;
  NpyOutput& operator=(const NpyOutput&) = delete;

  /// `bytes` of the elements from `first` on.
  void write(std::int64_t first, const void* bytes, std::size_t size) {
    put(bytes, size, start_ + static_cast<off_t>(first) * static_cast<off_t>(item_));
  }
  void commit() { file_.commit(); }

 private:
  [[noreturn]] void fail(int error) const {
    throw Error(ExitCode::kFailure,
                path_.string() + ": cannot be written (" + std::strerror(error) + ")");
  }
  void put(const void* bytes, std::size_t size, off_t at) {
    const char* from = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t written = ::pwrite(descriptor_, from, size, at);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail(errno);
      from += written;
      at += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  fs::path path_;
  AtomicFile file_;
  std::size_t item_;
  off_t start_ = 0;
  int descriptor_ = -1;
};

class ValuesCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("values", "what a site holds without a fault, as a NumPy array");
    app->footer(kValuesHelp);
    app->add_option("source", source_, "a campaign file (.toml), or a model with its data")
        ->required();
    app->add_option(
        "data", data_,
        "of a model: folder with one folder of images per class, or images in one .npy");
    app->add_option("--site", site_, "the site's name, from `bitfall sites`")->required();
    app->add_option("--target", target_,
                    "activation, weight or input; needed where two share a name")
        ->check(CLI::IsMember({"activation", "weight", "input"}));
    app->add_option("-o,--output", output_, "the values, .npy of float32")->required();
    app->add_option(
        "--codes", codes_,
        "also their stored bits, .npy of uint8, uint16 or uint32 by the format's width");
    app->add_option("--names", names_,
                    "also the images' names, one a line, as fault lists have them");
    app->add_option("--images", images_, "only the first so many images")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{2147483647}));
    app->add_option("--format", format_, "of a model: number format (default fp32)");
    app->add_option("--labels", labels_,
                    "of a model: labels of an images .npy (default: labels.npy beside it)");
    app->add_option("--plugin", plugins_, "further shared libraries");
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  std::string campaign_text() const;
  void check_outputs(const std::vector<fs::path>& inputs) const;
  std::int32_t chosen(const Session& session) const;
  bool write(Session& session, std::int32_t site) const;

  fs::path source_, data_, output_, codes_, names_, labels_;
  std::string site_;
  std::string target_;  // empty = the one that has the name
  std::string format_;
  std::vector<fs::path> plugins_;
  std::int64_t images_ = 0;  // 0 = all
};

/// The file's own, or one for the model and its data.
std::string ValuesCommand::campaign_text() const {
  if (source_.extension() == ".toml") {
    if (!data_.empty() || !labels_.empty() || !format_.empty()) {
      throw Error(ExitCode::kUsage, source_.string() +
                                        ": names its data and formats itself; leave out the data, "
                                        "--labels and --format");
    }
    return read_text(source_);
  }
  if (data_.empty()) {
    throw Error(ExitCode::kUsage,
                source_.string() +
                    ": is no campaign file (.toml), so it is taken for a model, which "
                    "needs its data: bitfall values MODEL DATA --site SITE");
  }
  fs::path labels = labels_;
  if (data_.extension() == ".npy" && labels.empty()) labels = data_.parent_path() / "labels.npy";
  const auto absolute = [](const fs::path& path) { return toml_text(fs::absolute(path).string()); };
  std::string text =
      "[model]\npath = " + absolute(source_) + "\n[data]\npath = " + absolute(data_) + "\n";
  if (!labels.empty()) text += "labels = " + absolute(labels) + "\n";
  return text + "[format]\nid = " + toml_text(format_.empty() ? "fp32" : format_) + "\n";
}

void ValuesCommand::check_outputs(const std::vector<fs::path>& inputs) const {
  std::set<fs::path> taken;
  for (const fs::path& path : {output_, codes_, names_}) {
    if (path.empty()) continue;
    prove_output(path, inputs);
    if (taken.insert(fs::weakly_canonical(path)).second) continue;
    throw Error(ExitCode::kUsage,
                path.string() + ": is named twice; give each output a name of its own");
  }
}

std::int32_t ValuesCommand::chosen(const Session& session) const {
  const auto& sites = session.model().sites();
  std::vector<std::int32_t> found;
  std::vector<std::string> known;
  for (std::size_t t = 0; t < kTargetNames.size(); ++t) {
    if (!target_.empty() && target_ != kTargetNames[t]) continue;
    const std::int32_t site = find_site(sites, static_cast<Target>(t), site_);
    if (site >= 0) found.push_back(site);
  }
  for (const Site& site : sites) {
    if (target_.empty() || target_ == to_string(site.target)) known.push_back(site.name);
  }
  if (found.empty()) {
    const std::string near = nearest(site_, known);
    throw Error(ExitCode::kUsage,
                "--site " + site_ + ": the model has no such " +
                    (target_.empty() ? "" : target_ + " ") + "site; " +
                    (near.empty() ? "see `bitfall sites`" : "did you mean '" + near + "'?"));
  }
  if (found.size() > 1) {
    throw Error(ExitCode::kUsage,
                "--site " + site_ + ": is a site of two kinds; say which with --target");
  }
  const Site& site = sites[static_cast<std::size_t>(found[0])];
  if (!site.refusal.empty()) {
    throw Error(ExitCode::kInput, "site '" + site.name + "' cannot be looked at: " + site.refusal);
  }
  return found[0];
}

int ValuesCommand::run() {
  check_outputs({source_, data_, labels_});
  const std::string text = campaign_text();
  const bool bare = source_.extension() != ".toml";
  const fs::path file = bare ? fs::path("the campaign of " + source_.string()) : source_;
  std::vector<SiteName> looked_at;
  for (std::size_t t = 0; t < kTargetNames.size(); ++t) {
    if (target_.empty() || target_ == kTargetNames[t])
      looked_at.push_back({static_cast<Target>(t), site_});
  }
  Session session(file, text, std::nullopt, std::nullopt, plugins_, {}, looked_at);
  check_outputs(session.files());  // those that the campaign names
  const std::int32_t site = chosen(session);
  if (!session.profile(stop_requested)) return static_cast<int>(ExitCode::kInterrupted);
  return write(session, site) ? 0 : static_cast<int>(ExitCode::kInterrupted);
}

bool ValuesCommand::write(Session& session, std::int32_t site) const {
  const Site& place = session.model().sites()[static_cast<std::size_t>(site)];
  const bool weight = place.target == Target::kWeight;
  const std::int32_t all = session.dataset().size();
  const auto images =
      static_cast<std::int32_t>(images_ > 0 ? std::min<std::int64_t>(images_, all) : all);
  std::vector<std::int64_t> shape = place.shape;
  if (!weight) shape.insert(shape.begin(), images);
  const int bits = session.format(site).registers()[0].bits;
  const NpyType type = bits <= 8    ? NpyType::kUint8
                       : bits <= 16 ? NpyType::kUint16
                                    : NpyType::kUint32;
  NpyOutput values(output_, NpyType::kFloat32, shape);
  std::optional<NpyOutput> codes;
  if (!codes_.empty()) codes.emplace(codes_, type, shape);
  std::string bytes;
  const auto take = [&](std::int32_t image, std::span<const float> slab,
                        std::span<const std::uint32_t> words) {
    const std::int64_t first = image * place.values;
    values.write(first, slab.data(), slab.size_bytes());
    if (!codes) return;
    const std::size_t item = item_size(type);
    bytes.resize(words.size() * item);
    for (std::size_t i = 0; i < words.size(); ++i) {  // the low bytes come first
      std::memcpy(bytes.data() + i * item, &words[i], item);
    }
    codes->write(first, bytes.data(), bytes.size());
  };
  Progress progress("values: images", weight ? 0 : all, 0);
  const bool done =
      session.engine().site_values(site, images, codes.has_value(), stop_requested, take,
                                   [&](std::int64_t count) { progress.update(count); });
  progress.finish();
  if (!done) {
    log_warning("interrupted; nothing was written");
    return false;
  }
  if (!names_.empty()) {
    std::string names;
    for (std::int32_t image = 0; image < images; ++image)
      names += session.dataset().name(image) + "\n";
    write_file_atomically(names_, names);
  }
  if (codes) codes->commit();
  values.commit();
  std::string sizes;
  for (const std::int64_t size : shape)
    sizes += (sizes.empty() ? "[" : ", ") + std::to_string(size);
  log_info(output_.string() + ": " + to_string(place.target) + " site '" + place.name + "', " +
           sizes + "], in " + session.format_name(site));
  return true;
}

}  // namespace

std::unique_ptr<Command> values_command() { return std::make_unique<ValuesCommand>(); }

}  // namespace bitfall
