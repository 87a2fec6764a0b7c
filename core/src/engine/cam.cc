#include "cam.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "answer.h"
#include "device_access.h"
#include "emulated_model.h"
#include "error.h"
#include "golden.h"
#include "injection.h"
#include "outcome.h"
#include "pass_limit.h"
#include "program.h"
#include "torch_message.h"

namespace bitfall {
namespace {

constexpr double kLongestPass = 120;  // seconds of processor time, for loops that a fault prolongs

bool holds_maps(const Site& site) {
  return site.target == Target::kActivation && site.refusal.empty() && site.shape.size() == 3 &&
         site.shape[1] * site.shape[2] > 1;
}

std::string shape_words(const Site& site) {
  std::string text;
  for (const std::int64_t extent : site.shape) {
    text += (text.empty() ? "" : " x ") + std::to_string(extent);
  }
  return text;
}

}  // namespace

struct AblationCam::State {
  std::unique_ptr<EmulatedModel> plain;  // where no campaign has one
  const EmulatedModel& emulated;
  const Model& model;
  std::int32_t site;

  State(const EmulatedModel& of, std::int32_t at) : emulated(of), model(of.model()), site(at) {}
  State(std::unique_ptr<EmulatedModel> of, std::int32_t at)
      : plain(std::move(of)), emulated(*plain), model(plain->model()), site(at) {}
};

namespace {

/// One image in all rows of a batch, with or without a fault.
class CamRun {
 public:
  CamRun(const EmulatedModel& emulated, std::int32_t site, std::int32_t number,
         const CamFault* fault)
      : emulated_(emulated),
        model_(emulated.model()),
        site_(site),
        fault_(fault),
        images_(static_cast<std::size_t>(model_.batch()), number),
        cut_(model_.first_step(site)),
        end_(static_cast<int>(model_.program().steps().size())) {
    if (fault && !model_.is_weight(fault->site)) hit_ = model_.first_step(fault->site);
  }

  /// Runs the network up to the site.
  void start(std::span<const float> image) {
    const auto [channels, height, width] = model_.input();
    const at::Tensor one = at::empty({1, channels, height, width});
    std::copy(image.begin(), image.end(), one.data_ptr<float>());
    const at::Tensor rows = one.expand({model_.batch(), channels, height, width})
                                .contiguous()
                                .to(c10::Device(model_.device()));
    slots_ = emulated_.start(rows, images_, seconds_);
    if (fault_ && model_.is_weight(fault_->site)) change_parameter();
    run(slots_, 0, cut_);
  }

  /// The site's maps [C, H, W].
  at::Tensor maps() const {
    return by_image(slots_[slot()].toTensor(), model_.images(static_cast<int>(slot())))[0]
        .to(at::kCPU, at::kFloat)
        .contiguous()
        .view(model_.sites()[static_cast<std::size_t>(site_)].shape);
  }

  /// The answers [batch, classes] with channel `first` + row left out in each row; without an
  /// ablation where `first` is not given.
  at::Tensor answers(std::optional<std::int64_t> first, double constant) {
    Slots slots = model_.program().fork(slots_, cut_);
    if (first) {
      const at::Tensor golden = slots[slot()].toTensor();
      at::Tensor ablated = at::empty_like(golden).copy_(golden);
      const at::Tensor rows = by_image(ablated, model_.images(static_cast<int>(slot())));
      const auto& shape = model_.sites()[static_cast<std::size_t>(site_)].shape;
      for (std::int64_t row = 0; row < model_.batch() && *first + row < shape[0]; ++row) {
        rows[row].view(shape)[*first + row].fill_(constant);
      }
      slots[slot()] = ablated;
    }
    run(slots, cut_, end_);
    return model_.program().output(slots);
  }

 private:
  std::size_t slot() const { return static_cast<std::size_t>(model_.slots(site_)[0]); }

  // Runs steps [from, to) and makes the fault on the way. One at the site itself is made before
  // the channels are left out.
  void run(Slots& slots, int from, int to) {
    const bool here = hit_ >= 0 && hit_ <= to && (from == 0 ? hit_ >= from : hit_ > from);
    if (!here) return emulated_.run(slots, from, to, images_, seconds_);
    emulated_.run(slots, from, hit_, images_, seconds_);
    change_rows(slots);
    emulated_.run(slots, hit_, to, images_, seconds_);
  }

  std::vector<Change> changes_in(const at::Tensor& values) {
    const Site& place = model_.sites()[static_cast<std::size_t>(fault_->site)];
    const at::Tensor host = values.to(at::kCPU, at::kFloat).contiguous();
    return inject(emulated_.formats().of(fault_->site),
                  {host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel())},
                  place.shape, emulated_.metadata(fault_->site), fault_->edits, fault_->clamp,
                  scratch_, emulated_.stream(fault_->site, images_.front()))
        .changes;
  }

  void change_parameter() {
    const std::vector<Change> changes = changes_in(emulated_.parameter(fault_->site));
    std::vector<std::int64_t> places;
    std::vector<float> values;
    for (const Change& change : changes) {
      places.push_back(change.element);
      values.push_back(change.value);
    }
    for (const auto& [slot, value] : emulated_.changed_parameter(
             fault_->site,
             [&](at::Tensor& parameter) { write_values(parameter, places, values); })) {
      slots_[static_cast<std::size_t>(slot)] = value;
    }
  }

  // Each row has values of its own where a channel was left out before.
  void change_rows(Slots& slots) {
    const int slot = model_.slots(fault_->site)[0];
    const at::Tensor golden = slots[static_cast<std::size_t>(slot)].toTensor();
    at::Tensor faulty = at::empty_like(golden).copy_(golden);
    const at::Tensor rows = by_image(faulty, model_.images(slot));
    const std::int64_t size = model_.sites()[static_cast<std::size_t>(fault_->site)].values;
    std::vector<std::int64_t> places;
    std::vector<float> values;
    for (std::int64_t row = 0; row < model_.batch(); ++row) {
      for (const Change& change : changes_in(rows[row])) {
        places.push_back(row * size + change.element);
        values.push_back(change.value);
      }
    }
    write_values(rows, places, values);
    slots[static_cast<std::size_t>(slot)] = faulty;
  }

  const EmulatedModel& emulated_;
  const Model& model_;
  std::int32_t site_;
  const CamFault* fault_;
  RowImages images_;
  int cut_, end_;
  int hit_ = -1;  // the step ahead of which the fault is made; -1: none, or in a parameter
  Slots slots_;
  double seconds_ = 0;
  std::vector<std::uint32_t> scratch_;
};

// ReLU of the weighted sum, from 0 to 1.
void fill_map(CamMap& map, const at::Tensor& maps) {
  map.height = maps.size(1);
  map.width = maps.size(2);
  const auto places = static_cast<std::size_t>(map.height * map.width);
  const float* values = maps.const_data_ptr<float>();
  std::vector<double> sums(places, 0);
  for (std::size_t k = 0; k < map.weights.size(); ++k) {
    for (std::size_t i = 0; i < places; ++i) {
      sums[i] += map.weights[k] * static_cast<double>(values[k * places + i]);
    }
  }
  for (double& sum : sums) {
    if (!std::isfinite(sum)) {
      map.failure = "the site's values or the weights are NaN or infinite";
      return;
    }
    sum = std::max(sum, 0.0);
  }
  const auto [least, most] = std::minmax_element(sums.begin(), sums.end());
  const double minimum = *least, range = *most - *least;
  for (const double sum : sums) {
    map.values.push_back(range > 0 ? static_cast<float>((sum - minimum) / range) : 0.0F);
  }
}

// 0 where no value is negative, else the smallest finite one.
double ablation_constant(const at::Tensor& maps) {
  double constant = 0;
  const float* values = maps.const_data_ptr<float>();
  for (std::int64_t i = 0; i < maps.numel(); ++i) {
    const auto value = static_cast<double>(values[i]);
    if (std::isfinite(value)) constant = std::min(constant, value);
  }
  return constant;
}

void compute(CamMap& map, CamRun& run, std::span<const float> image,
             std::optional<std::int32_t> target, std::int64_t batch) {
  run.start(image);
  const at::Tensor maps = run.maps();
  const at::Tensor clean = run.answers(std::nullopt, 0);
  map.top1 = top1(row_of(clean, 0));
  map.target = target.value_or(map.top1);
  const auto logit = [&](const at::Tensor& answers, std::int64_t row) {
    return static_cast<double>(row_of(answers, row)[static_cast<std::size_t>(map.target)]);
  };
  map.answer = logit(clean, 0);
  if (!std::isfinite(map.answer)) {
    map.failure = "the class's logit is NaN or infinite";
    return;
  }
  if (map.answer == 0) {
    map.failure = "the class's logit is 0, which no weight can be measured by";
    return;
  }
  const double constant = ablation_constant(maps);
  for (std::int64_t first = 0; first < maps.size(0); first += batch) {
    const at::Tensor answers = run.answers(first, constant);
    for (std::int64_t row = 0; row < batch && first + row < maps.size(0); ++row) {
      map.weights.push_back((map.answer - logit(answers, row)) / map.answer);
    }
  }
  fill_map(map, maps);
}

}  // namespace

AblationCam::AblationCam(const EmulatedModel& model, std::int32_t site)
    : state_(std::make_unique<State>(model, site)) {}

AblationCam::AblationCam(const Model& model, std::int32_t site) {
  std::vector<const NumberFormat*> none(model.sites().size(), nullptr);
  auto plain = std::make_unique<EmulatedModel>(model, SiteFormats(std::move(none)),
                                               std::vector<std::int32_t>(), false);
  state_ = std::make_unique<State>(std::move(plain), site);
}

AblationCam::~AblationCam() = default;

CamMap AblationCam::map(std::span<const float> image, std::int32_t number,
                        std::optional<std::int32_t> target, const CamFault* fault) const {
  const c10::InferenceMode guard;
  CamMap map;
  CamRun run(state_->emulated, state_->site, number, fault);
  if (!fault) {
    compute(map, run, image, target, state_->model.batch());
    return map;
  }
  const PassLimit limit(kLongestPass, nullptr);
  try {
    compute(map, run, image, target, state_->model.batch());
  } catch (const PassEndless&) {
    map.failure = "the network did not end";
  } catch (const std::exception& error) {
    if (out_of_memory(error)) throw;
    map.failure = "the network raised: " + message_line(torch_message(error));
  }
  return map;
}

std::int32_t cam_site(const Model& model, const std::string& name) {
  const auto& sites = model.sites();
  if (!name.empty()) {
    const std::int32_t found = find_site(sites, Target::kActivation, name);
    if (found < 0) {
      throw Error(ExitCode::kUsage,
                  "--site " + name + ": the model has no such site; bitfall sites MODEL --all");
    }
    const Site& site = sites[static_cast<std::size_t>(found)];
    if (holds_maps(site)) return found;
    throw Error(ExitCode::kInput,
                "site '" + name + "' holds no maps of channels x height x width" +
                    (site.refusal.empty() ? ", but " + shape_words(site) : ": " + site.refusal));
  }
  for (std::size_t i = sites.size(); i-- > 0;) {
    if (holds_maps(sites[i])) return static_cast<std::int32_t>(i);
  }
  throw Error(ExitCode::kInput,
              "no site of the model holds maps of channels x height x width, which Ablation-CAM "
              "leaves channels out of");
}

std::vector<float> enlarged(const CamMap& map, std::int64_t height, std::int64_t width) {
  std::vector<float> result;
  result.reserve(static_cast<std::size_t>(height * width));
  const auto source = [](std::int64_t at, std::int64_t to, std::int64_t from) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    return std::max((static_cast<double>(at) + 0.5) * scale - 0.5, 0.0);
  };
  const auto value = [&](std::int64_t y, std::int64_t x) {
    y = std::min(y, map.height - 1);
    x = std::min(x, map.width - 1);
    return static_cast<double>(map.values[static_cast<std::size_t>(y * map.width + x)]);
  };
  for (std::int64_t y = 0; y < height; ++y) {
    const double from_y = source(y, height, map.height);
    const auto top = static_cast<std::int64_t>(from_y);
    const double down = from_y - static_cast<double>(top);
    for (std::int64_t x = 0; x < width; ++x) {
      const double from_x = source(x, width, map.width);
      const auto left = static_cast<std::int64_t>(from_x);
      const double right = from_x - static_cast<double>(left);
      const double above = value(top, left) * (1 - right) + value(top, left + 1) * right;
      const double below = value(top + 1, left) * (1 - right) + value(top + 1, left + 1) * right;
      result.push_back(static_cast<float>(above * (1 - down) + below * down));
    }
  }
  return result;
}

namespace {

// Whether each place is among the fifth with the largest values, and above 0.
std::vector<bool> largest_fifth(std::span<const float> values) {
  std::vector<float> ordered(values.begin(), values.end());
  const std::size_t count = std::max<std::size_t>(1, (values.size() + 4) / 5);
  std::nth_element(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(count - 1),
                   ordered.end(), std::greater<>());
  const float least = ordered[count - 1];
  std::vector<bool> among;
  for (const float value : values) among.push_back(value > 0 && value >= least);
  return among;
}

double correlation(std::span<const float> a, std::span<const float> b) {
  const auto n = static_cast<double>(a.size());
  double mean_a = 0, mean_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean_a += static_cast<double>(a[i]) / n;
    mean_b += static_cast<double>(b[i]) / n;
  }
  double both = 0, square_a = 0, square_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double da = static_cast<double>(a[i]) - mean_a, db = static_cast<double>(b[i]) - mean_b;
    both += da * db;
    square_a += da * da;
    square_b += db * db;
  }
  if (square_a == 0 || square_b == 0) return std::numeric_limits<double>::quiet_NaN();
  return both / std::sqrt(square_a * square_b);
}

}  // namespace

CamLikeness likeness(std::span<const float> before, std::span<const float> after) {
  const std::vector<bool> a = largest_fifth(before), b = largest_fifth(after);
  double both = 0, either = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += a[i] && b[i];
    either += a[i] || b[i];
  }
  return {either > 0 ? both / either : 1, correlation(before, after)};
}

}  // namespace bitfall
