// bitfall cam: where a network looks, before and after a fault.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <map>

#include "all_commands.h"
#include "cam.h"
#include "cam_output.h"
#include "error.h"
#include "log.h"
#include "model_card.h"
#include "network_with_data.h"
#include "numbers.h"
#include "output.h"
#include "preprocess.h"
#include "progress.h"
#include "sha256.h"
#include "stop.h"
#include "stored_session.h"

namespace bitfall {
namespace {

constexpr std::size_t kMostPictures = 6;  // of the faults of a whole run

constexpr const char* kCamHelp =
    R"(The map is that of the class which the network gives without a fault, or of --class. With a fault the
same class is looked at. Pictures and a page come into the folder of -o.

Examples:
  bitfall cam resnet50.pt cat.jpg dog.jpg -o maps
  bitfall cam runs/baseline --trial runs/baseline:812            the trial's own image
  bitfall cam guided.pt cat.jpg --trial runs/baseline:812        the same fault in another network
  bitfall cam runs/baseline --faults runs/baseline --most 400    likeness by layer, as a table)";

/// "RUN:17".
struct TrialName {
  std::filesystem::path run;
  std::int64_t trial = 0;
};

TrialName trial_name(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto number =
      colon == std::string::npos ? std::nullopt : parse_integer(text.substr(colon + 1));
  if (!number || *number < 0 || colon == 0) {
    throw Error(ExitCode::kUsage,
                "--trial " + text + ": give a run directory and a trial's number, RUN:17");
  }
  return {text.substr(0, colon), *number};
}

/// A name for files: what is no letter, digit, dot or dash becomes _.
std::string file_name(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.';
    text += plain ? c : '_';
  }
  return text;
}

struct CamImage {
  std::string name;
  std::vector<float> values;
  std::int32_t number = 0;  // in the campaign's data
  std::array<std::int64_t, 3> shape{};
};

/// The faults of a run, and the network that they are put into.
struct FaultSource {
  std::unique_ptr<Store> store;
  RunDescription stored;
  std::unique_ptr<Session> session;

  std::int32_t site_here(const TrialResult& trial) const;
  CamFault fault(const TrialResult& trial) const;
};

std::int32_t FaultSource::site_here(const TrialResult& trial) const {
  const Site& wanted = stored.sites[static_cast<std::size_t>(trial.site)];
  const auto& sites = session->model().sites();
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (sites[i].target == wanted.target && sites[i].refusal.empty() &&
        name_in_backbone(sites[i].name) == name_in_backbone(wanted.name) &&
        sites[i].shape == wanted.shape) {
      return static_cast<std::int32_t>(i);
    }
  }
  throw Error(ExitCode::kInput, session->campaign().model.string() + ": has no site '" +
                                    wanted.name + "' of the shape that trial " +
                                    std::to_string(trial.trial) + " hit");
}

CamFault FaultSource::fault(const TrialResult& trial) const {
  CamFault fault;
  fault.site = site_here(trial);
  for (const EditRecord& record : trial.edits) fault.edits.push_back(record.edit);
  if (session->campaign().hit_value == HitValue::kClamped) {
    fault.clamp = session->profiles()[static_cast<std::size_t>(fault.site)].golden.absolute();
  }
  return fault;
}

class CamCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "cam", "Ablation-CAM: what of an image a class hangs on, before and after a fault");
    app->footer(kCamHelp);
    app->add_option("network", network_, "a model, campaign file or run directory")->required();
    app->add_option("images", images_, "image files (default with a fault: the trial's own image)");
    app->add_option("--trial", trials_, "RUN:N, a fault of a run; may be repeated")
        ->allow_extra_args(false);
    app->add_option("--faults", faults_, "a run whose faults are compared layer by layer")
        ->excludes("--trial");
    app->add_option("--most", most_, "of --faults: how many, evenly over the run")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000000));
    app->add_option("--site", site_, "whose channels are left out (default: the last with maps)");
    app->add_option("--class", class_, "number of the class, counted from 0");
    app->add_option("--data", data_, "preprocessing of image files: a campaign file or run");
    app->add_option("-o,--output", output_, "folder of the pictures and the page")
        ->capture_default_str();
    app->add_flag("--json", json_, "JSON on stdout");
    plugins_.add_options(*app);
    return app;
  }
  int run() override;
  bool stoppable() const override { return true; }

 private:
  CamReport without_faults() const;
  CamReport with_faults() const;
  FaultSource open_faults(const std::filesystem::path& run) const;
  CamImage read_image(const std::filesystem::path& file, const Preprocess& steps) const;
  static void check_shape(const CamImage& image, std::array<std::int64_t, 3> shape);
  std::optional<std::int32_t> target(const Model& model) const;
  std::vector<std::int64_t> chosen_trials(const FaultSource& source) const;

  std::filesystem::path network_;
  std::vector<std::filesystem::path> images_;
  std::vector<std::string> trials_;
  std::filesystem::path faults_;
  std::int64_t most_ = 200;
  std::string site_;
  std::optional<std::int32_t> class_;
  std::filesystem::path data_;
  std::filesystem::path output_ = "cam";
  bool json_ = false;
  StoredPlugins plugins_;
};

std::optional<std::int32_t> CamCommand::target(const Model& model) const {
  if (!class_ || (*class_ >= 0 && *class_ < model.classes())) return class_;
  throw Error(ExitCode::kUsage, "--class " + std::to_string(*class_) +
                                    ": the model's classes are 0 to " +
                                    std::to_string(model.classes() - 1));
}

CamImage CamCommand::read_image(const std::filesystem::path& file, const Preprocess& steps) const {
  const bool grey = steps.colour == "grey";
  const Preprocessing preprocessing(steps, grey ? 1 : 3);
  const Image image = preprocessing.shape(decode_image(file, grey));
  CamImage read{file.filename().string(),
                std::vector<float>(image.pixels.size()),
                0,
                {image.channels, image.height, image.width}};
  preprocessing.scale(image, read.values);
  return read;
}

void CamCommand::check_shape(const CamImage& image, std::array<std::int64_t, 3> shape) {
  if (image.shape == shape) return;
  const auto text = [](std::array<std::int64_t, 3> of) {
    return std::to_string(of[0]) + " x " + std::to_string(of[1]) + " x " + std::to_string(of[2]);
  };
  throw Error(ExitCode::kInput,
              image.name + ": gives an input of " + text(image.shape) + ", and " + text(shape) +
                  " is needed\n  give --data CAMPAIGN.toml, whose preprocess says resize and crop");
}

std::string class_text(std::int32_t index, const std::vector<std::string>& names) {
  const auto place = static_cast<std::size_t>(index);
  return std::to_string(index) + (place < names.size() ? " (" + names[place] + ")" : "");
}

CamReport CamCommand::without_faults() const {
  if (images_.empty()) {
    throw Error(ExitCode::kUsage, "give image files, or a fault with --trial or --faults");
  }
  const NetworkSource source{network_, data_};
  const Preprocess steps = preprocess_of(source);
  std::vector<CamImage> images;
  for (const auto& file : images_) images.push_back(read_image(file, steps));
  const NetworkWithData network = open_network_alone(source, images.front().shape);
  const Model& model = *network.model;
  const std::int32_t site = cam_site(model, site_);
  const AblationCam cam(model, site);
  CamReport report;
  report.model = network.model_path.string();
  report.site = model.sites()[static_cast<std::size_t>(site)].name;
  const ModelCard card = read_model_card(network.model_path);
  for (const CamImage& image : images) {
    check_shape(image, images.front().shape);
    CamCase one;
    one.before = cam.map(image.values, 0, target(model), nullptr);
    one.name = file_name(image.name) +
               (report.cases.empty() ? "" : "_" + std::to_string(report.cases.size()));
    one.image = image.name;
    one.target_class = class_text(one.before.target, card.classes);
    one.picture = picture_of(image.values, model.input(), steps);
    report.cases.push_back(std::move(one));
    if (stop_requested) break;
  }
  return report;
}

FaultSource CamCommand::open_faults(const std::filesystem::path& run) const {
  FaultSource source;
  source.store = Store::open_read_only(run);
  source.stored = source.store->description();
  std::optional<std::filesystem::path> other;
  if (std::filesystem::is_regular_file(network_) && network_.extension() != ".toml" &&
      sha256_file(network_) != source.stored.facts.model_sha256) {
    other = network_;
  }
  source.session = reopen(run, source.stored, plugins_, other);
  if (other) {
    if (!source.session->profile(stop_requested)) {
      throw Error(ExitCode::kInterrupted, "stopped");
    }
    return source;
  }
  try {
    check_same_facts(source.stored.facts, source.session->facts());
  } catch (const Error& error) {
    log_warning(error.what());
  }
  source.session->use_profiles(source.stored.profiles);
  return source;
}

std::vector<std::int64_t> CamCommand::chosen_trials(const FaultSource& source) const {
  std::vector<std::int64_t> ids;
  for (const std::string& text : trials_) ids.push_back(trial_name(text).trial);
  if (!ids.empty()) return ids;
  const std::vector<bool> done = source.store->trials_done();
  for (std::size_t id = 0; id < done.size(); ++id) {
    if (done[id]) ids.push_back(static_cast<std::int64_t>(id));
  }
  const auto all = static_cast<std::int64_t>(ids.size());
  if (all <= most_) return ids;
  std::vector<std::int64_t> some;
  for (std::int64_t i = 0; i < most_; ++i) {
    some.push_back(ids[static_cast<std::size_t>(i * all / most_)]);
  }
  return some;
}

// The least alike first.
bool less_alike(const CamCase& a, const CamCase& b) {
  const auto key = [](const CamCase& one) {
    return one.alike ? one.alike->intersection_over_union : -1;
  };
  return key(a) < key(b);
}

void count(CamReport& report, const CamCase& one) {
  auto layer = std::find_if(report.layers.begin(), report.layers.end(),
                            [&](const CamLayer& other) { return other.name == one.layer; });
  if (layer == report.layers.end()) {
    report.layers.emplace_back().name = one.layer;
    layer = report.layers.end() - 1;
  }
  ++layer->trials;
  layer->no_map += !one.after->failure.empty();
  layer->other_answer += !one.after->failure.empty() || one.after->top1 != one.before.top1;
  if (!one.alike) return;
  layer->intersections.push_back(one.alike->intersection_over_union);
  if (!std::isnan(one.alike->correlation)) layer->correlations.push_back(one.alike->correlation);
}

// Names of their files, told apart where some are alike.
std::vector<std::string> names_of(const std::vector<CamImage>& images) {
  std::vector<std::string> names;
  for (const CamImage& image : images) {
    const auto same = std::count_if(images.data(), &image, [&](const CamImage& other) {
      return file_name(other.name) == file_name(image.name);
    });
    names.push_back(file_name(image.name) + (same > 0 ? "_" + std::to_string(same) : ""));
  }
  return names;
}

CamImage own_image(const Session& session, std::int32_t number) {
  const auto [channels, height, width] = session.model().input();
  CamImage image;
  image.name = session.dataset().name(number);
  image.number = number;
  image.values.resize(static_cast<std::size_t>(channels * height * width));
  session.dataset().load(number, image.values);
  return image;
}

// A trial's fault on one image. `name`: of its pictures.
CamCase faulty_case(const AblationCam& cam, const Session& session, const CamFault& fault,
                    const TrialResult& trial, const CamImage& image, const CamMap& before,
                    const std::string& name) {
  CamCase one;
  one.before = before;
  one.after = cam.map(image.values, image.number, before.target, &fault);
  one.trial = trial.trial;
  one.layer = session.model().sites()[static_cast<std::size_t>(fault.site)].name;
  one.image = image.name;
  one.name = name + "_trial_" + std::to_string(trial.trial);
  one.target_class = class_text(before.target, session.dataset().classes());
  one.picture =
      picture_of(image.values, session.model().input(), session.campaign().data.preprocess);
  if (before.failure.empty() && one.after->failure.empty()) {
    one.alike = likeness(enlarged(before, one.picture.height, one.picture.width),
                         enlarged(*one.after, one.picture.height, one.picture.width));
  }
  return one;
}

CamReport CamCommand::with_faults() const {
  const std::filesystem::path run = trials_.empty() ? faults_ : trial_name(trials_.front()).run;
  for (const std::string& text : trials_) {
    if (trial_name(text).run == run) continue;
    throw Error(ExitCode::kUsage, "--trial " + text + ": all faults must be of one run, " +
                                      run.string() + "; call bitfall cam once for each");
  }
  const FaultSource source = open_faults(run);
  const Session& session = *source.session;
  const Model& model = session.model();
  const std::int32_t site = cam_site(model, site_);
  const AblationCam cam(session.emulated(), site);
  CamReport report;
  report.model = session.campaign().model.string();
  report.site = model.sites()[static_cast<std::size_t>(site)].name;
  report.run = run.string();
  std::vector<CamImage> given;
  for (const auto& file : images_) {
    given.push_back(read_image(file, session.campaign().data.preprocess));
    check_shape(given.back(), model.input());
  }
  const std::vector<std::string> names = names_of(given);
  std::map<std::int64_t, CamMap> known;  // before a fault, by image or place among the given
  const std::vector<std::int64_t> ids = chosen_trials(source);
  Progress progress("faults", static_cast<std::int64_t>(ids.size()), 0);
  for (std::size_t i = 0; i < ids.size() && !stop_requested; ++i) {
    const TrialResult trial = source.store->read_trial(ids[i]);
    std::vector<CamImage> own;
    if (given.empty()) own.push_back(own_image(session, trial.image));
    const CamFault fault = source.fault(trial);
    const std::vector<CamImage>& images = given.empty() ? own : given;
    for (std::size_t place = 0; place < images.size(); ++place) {
      const CamImage& image = images[place];
      const std::int64_t key = given.empty() ? image.number : static_cast<std::int64_t>(place);
      auto before = known.find(key);
      if (before == known.end()) {
        before =
            known.emplace(key, cam.map(image.values, image.number, target(model), nullptr)).first;
      }
      const std::string& name = given.empty() ? file_name(image.name) : names[place];
      CamCase one = faulty_case(cam, session, fault, trial, image, before->second, name);
      if (!faults_.empty()) count(report, one);
      report.cases.push_back(std::move(one));
    }
    if (!faults_.empty() && report.cases.size() > kMostPictures) {
      std::stable_sort(report.cases.begin(), report.cases.end(), less_alike);
      report.cases.resize(kMostPictures);
    }
    progress.update(static_cast<std::int64_t>(i + 1));
  }
  progress.finish();
  return report;
}

int CamCommand::run() {
  const bool faulty = !trials_.empty() || !faults_.empty();
  const CamReport report = faulty ? with_faults() : without_faults();
  write_cam_pictures(report, output_);
  print_result("%s", json_ ? cam_json(report).c_str() : cam_text(report).c_str());
  std::fprintf(json_ ? stderr : result_stream(), "\npictures and page: %s\n",
               (output_ / "cam.html").c_str());
  return stop_requested ? static_cast<int>(ExitCode::kInterrupted) : 0;
}

}  // namespace

std::unique_ptr<Command> cam_command() { return std::make_unique<CamCommand>(); }

}  // namespace bitfall
