#include "tuning.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <thread>

#include "error.h"
#include "model.h"
#include "program.h"
#include "timer.h"
#include "torch_runtime.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

constexpr std::int64_t kUsualBatch = 32;
constexpr std::int64_t kSmallBatch = 8;
constexpr double kClearly = 1.25;
constexpr double kLongPass = 0.25;  // seconds; a larger batch is then not worth a try
// How many times as fast one worker of all cores has to run bare passes. It computes golden values
// once, and shares memory with nobody, which counts where passes are long. What lies between their
// kernels is the work of one thread there, which counts where they are short.
constexpr double kTogether = 1.1, kTogetherInLongPasses = 0.9;

class Bench {
 public:
  Bench(const Program& program, std::array<std::int64_t, 3> input, std::string device,
        const std::vector<float>& values)
      : program_(program), input_(input), device_(std::move(device)), values_(values) {}

  // Images per second of `workers` that run passes of `batch` images in parallel, each with
  // `threads`. The first pass of each is not timed. 0 where memory or threads do not suffice.
  double rate(std::int64_t batch, std::int64_t threads, std::int64_t workers) const {
    TorchRuntime::get().set_threads(threads);
    try {
      const at::Tensor images = some(batch).to(c10::Device(device_));
      auto start = Clock::now();
      run_on(workers, [&] { passes(images, 1); });
      const double first = seconds_since(start);
      const int count = static_cast<int>(std::clamp(0.1 / std::max(first, 1e-6), 1.0, 50.0));
      start = Clock::now();
      run_on(workers, [&] { passes(images, count); });
      return static_cast<double>(batch * workers * count) / seconds_since(start);
    } catch (const NoThread&) {
      return 0;
    } catch (const std::exception& error) {
      if (out_of_memory(error)) return 0;
      throw;
    }
  }

 private:
  at::Tensor some(std::int64_t batch) const {
    const auto [channels, height, width] = input_;
    const auto given = static_cast<std::int64_t>(values_.size()) / (channels * height * width);
    if (given == 0) return at::randn({batch, channels, height, width}, at::kFloat);
    const at::Tensor all = at::from_blob(const_cast<float*>(values_.data()),
                                         {given, channels, height, width}, at::kFloat);
    return all.index_select(0, at::arange(batch).remainder(given));
  }

  void passes(const at::Tensor& images, int count) const {
    const c10::InferenceMode guard;
    for (int i = 0; i < count; ++i) {
      Slots slots = program_.start(images);
      program_.run(slots, 0, static_cast<int>(program_.steps().size()));
      program_.output(slots);
    }
  }

  const Program& program_;
  std::array<std::int64_t, 3> input_;
  std::string device_;
  const std::vector<float>& values_;
};

std::string rate_text(double rate) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f images/s", rate);
  return rate > 0 ? text : "no room";
}

// Where not even the least that is tried runs.
void need_room(double rate) {
  if (rate == 0) throw std::bad_alloc();
}

struct Machine {
  bool cpu;  // else a device, which works for all workers
  std::int64_t cores;
};

// What follows from what is given, without timing.
void settle(Tuning& chosen, const Machine& machine, std::int64_t images) {
  if (!machine.cpu) {  // one thread of the host feeds the device
    if (chosen.workers == 0) chosen.workers = 1;
    if (chosen.threads == 0) chosen.threads = TorchRuntime::get().threads();
  }
  if (chosen.batch == 0 && images <= kSmallBatch) chosen.batch = std::max<std::int64_t>(images, 1);
  if (machine.cores == 1) {
    if (chosen.workers == 0) chosen.workers = 1;
    if (chosen.threads == 0) chosen.threads = 1;
  }
  if (chosen.threads == 0 && chosen.workers > 0) {
    chosen.threads = std::max<std::int64_t>(1, machine.cores / chosen.workers);
  }
  if (chosen.workers == 0 && chosen.threads > 0) {
    chosen.workers = std::max<std::int64_t>(1, machine.cores / chosen.threads);
  }
}

// Chooses the batch; returns what was timed.
std::string time_batch(Tuning& chosen, const Bench& bench, const Machine& machine,
                       std::int64_t images) {
  const std::int64_t threads = chosen.threads > 0 ? chosen.threads : machine.cores;
  const std::int64_t usual = std::min(images, machine.cpu ? kUsualBatch : 4 * kUsualBatch);
  const double small = bench.rate(kSmallBatch, threads, 1);
  need_room(small);
  const std::string text = rate_text(small) + " in batches of " + std::to_string(kSmallBatch);
  chosen.batch = kSmallBatch;
  if (machine.cpu && kSmallBatch / small > kLongPass) return text;
  const double rate = bench.rate(usual, threads, 1);
  if (small <= kClearly * rate) chosen.batch = usual;
  return text + ", " + rate_text(rate) + " of " + std::to_string(usual);
}

// Chooses threads and workers; returns what was timed.
std::string time_workers(Tuning& chosen, const Bench& bench, std::int64_t cores) {
  const double together = bench.rate(chosen.batch, cores, 1);
  need_room(together);
  const double apart = bench.rate(chosen.batch, 1, cores);
  const bool long_passes = static_cast<double>(chosen.batch) / together > kLongPass;
  const bool one = together > (long_passes ? kTogetherInLongPasses : kTogether) * apart;
  chosen.threads = one ? cores : 1;
  chosen.workers = one ? 1 : cores;
  return rate_text(apart) + " by " + std::to_string(cores) + " workers of one thread, " +
         rate_text(together) + " by one of " + std::to_string(cores);
}

}  // namespace

Tuning tune(const Tuning& given, const std::filesystem::path& model,
            std::array<std::int64_t, 3> input, const std::string& device, std::int64_t images,
            const std::vector<float>& values) {
  const Machine machine{device == "cpu", std::max(1U, std::thread::hardware_concurrency())};
  Tuning chosen = given;
  settle(chosen, machine, images);
  if (chosen.batch > 0 && chosen.threads > 0 && chosen.workers > 0) return chosen;

  const c10::InferenceMode guard;
  Program program(model, device);
  const Bench bench(program, input, device, values);
  try {
    if (chosen.batch == 0) chosen.reason = time_batch(chosen, bench, machine, images);
    if (chosen.threads == 0) {
      if (!chosen.reason.empty()) chosen.reason += "; ";
      chosen.reason += time_workers(chosen, bench, machine.cores);
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw input_misfit(model,
                       std::to_string(chosen.batch > 0 ? chosen.batch : kSmallBatch) + "x" +
                           std::to_string(input[0]) + "x" + std::to_string(input[1]) + "x" +
                           std::to_string(input[2]),
                       error);
  }
  return chosen;
}

}  // namespace bitfall
