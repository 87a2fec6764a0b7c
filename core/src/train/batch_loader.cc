#include "batch_loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "mixing.h"
#include "philox.h"
#include "preprocess.h"
#include "timer.h"
#include "trivial_augment.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

std::int64_t values_of(std::array<std::int64_t, 3> shape) { return shape[0] * shape[1] * shape[2]; }

/// What a black pixel becomes.
std::vector<float> black_pixel(const Preprocess& preprocess, std::int64_t channels) {
  std::vector<float> black(static_cast<std::size_t>(channels));
  Preprocessing(preprocess, static_cast<int>(channels)).scale(black);
  return black;
}

std::uint64_t stream_of(std::int64_t epoch, std::int32_t image) {
  return static_cast<std::uint64_t>(epoch) << 32 | static_cast<std::uint32_t>(image);
}

/// Reads the images of a training, changed as pixels where the config asks for that. Each change is
/// drawn from (seed, epoch, image) alone, and has a stream of its own.
class PictureLoader {
 public:
  PictureLoader(const Dataset& dataset, const Preprocess& preprocess,
                const AugmentationConfig& config, std::uint64_t seed)
      : dataset_(dataset),
        config_(config),
        seed_(seed),
        pixels_(preprocess, static_cast<int>(dataset.shape()[0])),
        interpolation_(preprocess.interpolation.value_or(Interpolation::kBilinear)) {}

  void load(std::int64_t epoch, std::int32_t image, std::span<float> values) const {
    if (!config_.random_crop && !config_.trivial_augment) {
      dataset_.load(image, values);
      return;
    }
    Image picture = dataset_.picture(image);
    picture =
        config_.random_crop ? cropped(picture, epoch, image) : pixels_.shape(std::move(picture));
    if (config_.trivial_augment) {
      PhiloxStream random(seed_, RandomDomain::kPictureChange, stream_of(epoch, image));
      picture = changed(shifted(picture, draw_shift(config_, seed_, epoch, image)),
                        draw_change(random), interpolation_);
    }
    pixels_.scale(picture, values);
  }

 private:
  /// A random box at the network's size.
  Image cropped(const Image& picture, std::int64_t epoch, std::int32_t image) const {
    PhiloxStream random(seed_, RandomDomain::kCrop, stream_of(epoch, image));
    const PixelBox box = draw_crop(random, picture.height, picture.width,
                                   {config_.crop_scale[0], config_.crop_scale[1]},
                                   {config_.crop_ratio[0], config_.crop_ratio[1]});
    return resized_crop(picture, box, dataset_.shape()[1], dataset_.shape()[2], interpolation_);
  }

  const Dataset& dataset_;
  const AugmentationConfig config_;
  const std::uint64_t seed_;
  const Preprocessing pixels_;
  const Interpolation interpolation_;
};

/// The order of the epoch that was asked for last: workers are seldom in two of them.
class KeptOrder {
 public:
  explicit KeptOrder(const BatchOrder& order) : order_(order) {}

  std::vector<std::int32_t> images_of(std::int64_t batch) {
    const std::lock_guard lock(mutex_);
    const std::int64_t epoch = batch / order_.batches_per_epoch();
    if (epoch != epoch_) kept_ = order_.epoch(epoch);
    epoch_ = epoch;
    const auto first = kept_.begin() + batch % order_.batches_per_epoch() * order_.batch;
    return {first, first + order_.batch};
  }

 private:
  const BatchOrder order_;
  std::mutex mutex_;
  std::int64_t epoch_ = -1;
  std::vector<std::int32_t> kept_;
};

void shift_values(const Shift& by, std::array<std::int64_t, 3> shape, std::span<const float> black,
                  std::span<float> values) {
  const auto [down, right, mirrored] = by;
  const auto [channels, height, width] = shape;
  std::vector<float> from(values.begin(), values.end());
  auto out = values.begin();
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* plane = from.data() + c * height * width;
    for (std::int64_t y = down; y < height + down; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t column = (mirrored ? width - 1 - x : x) + right;
        const bool inside = y >= 0 && y < height && column >= 0 && column < width;
        *out++ = inside ? plane[y * width + column] : black[static_cast<std::size_t>(c)];
      }
    }
  }
}

}  // namespace

std::vector<std::int32_t> BatchOrder::epoch(std::int64_t epoch) const {
  PhiloxStream random(seed, RandomDomain::kEpochOrder, static_cast<std::uint64_t>(epoch));
  return random_order(static_cast<std::int32_t>(images), random);
}

Shift draw_shift(const AugmentationConfig& config, std::uint64_t seed, std::int64_t epoch,
                 std::int32_t image) {
  PhiloxStream random(seed, RandomDomain::kAugmentation, stream_of(epoch, image));
  const auto reach = static_cast<std::uint64_t>(2 * config.shift + 1);
  Shift shift;
  shift.down = static_cast<std::int64_t>(random.below(reach)) - config.shift;
  shift.right = static_cast<std::int64_t>(random.below(reach)) - config.shift;
  shift.mirrored = config.flip && random.below(2) == 1;
  return shift;
}

Image shifted(const Image& picture, const Shift& by) {
  if (by.down == 0 && by.right == 0 && !by.mirrored) return picture;
  Image out = blank_image(static_cast<std::uint64_t>(picture.width),
                          static_cast<std::uint64_t>(picture.height), picture.channels);
  for (std::int64_t y = 0; y < out.height; ++y) {
    for (std::int64_t x = 0; x < out.width; ++x) {
      const std::int64_t row = y + by.down;
      const std::int64_t column = (by.mirrored ? out.width - 1 - x : x) + by.right;
      if (row < 0 || row >= out.height || column < 0 || column >= out.width) continue;
      std::copy_n(picture.pixels.begin() + (row * out.width + column) * out.channels, out.channels,
                  out.pixels.begin() + (y * out.width + x) * out.channels);
    }
  }
  return out;
}

void augment(const AugmentationConfig& config, std::uint64_t seed, std::int64_t epoch,
             std::int32_t image, std::array<std::int64_t, 3> shape, std::span<const float> black,
             std::span<float> values) {
  if ((config.flip || config.shift > 0) && !config.trivial_augment) {
    shift_values(draw_shift(config, seed, epoch, image), shape, black, values);
  }
  if (config.erase == 0) return;
  PhiloxStream random(seed, RandomDomain::kErase, stream_of(epoch, image));
  if (uniform(random, 0, 1) >= config.erase) return;
  if (const auto box = draw_erased(random, shape[1], shape[2])) erase(values, shape, *box);
}

struct BatchLoader::State {
  std::function<Batch(std::int64_t step)> make;
  std::int64_t given = 0;  // the step that next() gives
  std::int64_t taken = 0;  // the first step that no worker has taken
  std::int64_t last = 0;
  std::int64_t ahead = 0;
  bool stopping = false;
  double waited = 0;
  std::map<std::int64_t, Batch> ready;
  std::map<std::int64_t, std::exception_ptr> failed;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::jthread> threads;  // the last member: joined before the others go

  ~State() {
    const std::lock_guard lock(mutex);
    stopping = true;
    changed.notify_all();
  }

  void start(std::int64_t workers) {
    taken = given;
    ahead = workers + 2;
    for (std::int64_t i = 0; i < workers; ++i) threads.push_back(start_thread([this] { work(); }));
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || taken >= last || taken < given + ahead; });
      if (stopping || taken >= last) return;
      const std::int64_t step = taken++;
      lock.unlock();
      Batch batch;
      std::exception_ptr failure;
      try {
        batch = make(step);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure) {
        failed[step] = failure;
      } else {
        ready[step] = std::move(batch);
      }
      changed.notify_all();
    }
  }
};

BatchLoader::BatchLoader(const Dataset& dataset, const Preprocess& preprocess,
                         const AugmentationConfig& augmentation, const BatchOrder& order,
                         std::int64_t first, std::int64_t last, std::int64_t workers)
    : state_(std::make_unique<State>()) {
  const auto shape = dataset.shape();
  const auto black = black_pixel(preprocess, shape[0]);
  state_->given = first;
  state_->last = last;
  const auto kept = std::make_shared<KeptOrder>(order);
  const auto pictures =
      std::make_shared<PictureLoader>(dataset, preprocess, augmentation, order.seed);
  state_->make = [&dataset, augmentation, order, kept, shape, black, pictures](std::int64_t step) {
    const std::int64_t epoch = step / order.batches_per_epoch();
    const auto size = static_cast<std::size_t>(values_of(shape));
    const auto chosen = kept->images_of(step);
    Batch batch;
    batch.images.resize(chosen.size() * size);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const std::span<float> values(batch.images.data() + i * size, size);
      pictures->load(epoch, chosen[i], values);
      augment(augmentation, order.seed, epoch, chosen[i], shape, black, values);
      batch.labels.push_back(dataset.label(chosen[i]));
    }
    PhiloxStream random(order.seed, RandomDomain::kMix, static_cast<std::uint64_t>(step));
    if (const auto how = draw_mix(random, augmentation, shape[1], shape[2])) {
      mix(batch.images, shape, *how);
      batch.share = how->share;
    }
    return batch;
  };
  state_->start(workers);
}

BatchLoader::BatchLoader(const Dataset& dataset, std::int64_t batch, std::int64_t workers)
    : state_(std::make_unique<State>()) {
  const auto size = static_cast<std::size_t>(values_of(dataset.shape()));
  state_->last = (dataset.size() + batch - 1) / batch;
  state_->make = [&dataset, batch, size](std::int64_t step) {
    const auto first = static_cast<std::int32_t>(step * batch);
    const auto end =
        static_cast<std::int32_t>(std::min<std::int64_t>(dataset.size(), (step + 1) * batch));
    Batch made;
    made.images.resize(static_cast<std::size_t>(end - first) * size);
    for (std::int32_t image = first; image < end; ++image) {
      dataset.load(image,
                   {made.images.data() + static_cast<std::size_t>(image - first) * size, size});
      made.labels.push_back(dataset.label(image));
    }
    return made;
  };
  state_->start(workers);
}

BatchLoader::~BatchLoader() = default;

std::optional<Batch> BatchLoader::next() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (state.given >= state.last) return std::nullopt;
  {
    const Timer timer(state.waited);
    state.changed.wait(lock, [&] {
      return state.ready.count(state.given) > 0 || state.failed.count(state.given) > 0;
    });
  }
  if (const auto failure = state.failed.find(state.given); failure != state.failed.end()) {
    std::rethrow_exception(failure->second);
  }
  Batch batch = std::move(state.ready.at(state.given));
  state.ready.erase(state.given++);
  state.changed.notify_all();
  return batch;
}

double BatchLoader::waited() const { return state_->waited; }

}  // namespace bitfall
