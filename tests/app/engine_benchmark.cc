// Google Benchmark over the engine's inner parts, on a ResNet-20 with random weights (made by
// scripts/export_model.py), 32 images a pass: what the steps cost beside Module::forward, what it
// takes to start behind a site, and what one trial costs besides arithmetic (drawing and injecting
// a fault, metrics, the store). Options are Google Benchmark's, and `--threads=N` (default 1).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "answer.h"
#include "campaign_fixture.h"
#include "injection.h"
#include "log.h"
#include "program.h"
#include "session.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
constexpr int kBatch = 32;
const char* const kSites[] = {"conv1", "layer2.0.conv1", "layer3.2.conv2", "linear"};

/// A folder of this process's own, removed with it.
class Scratch {
 public:
  Scratch()
      : path_(fs::temp_directory_path() / ("bitfall_benchmark_" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void write_model(const fs::path& path) {
  const std::string command = std::string("\"") + BITFALL_PYTHON + "\" \"" + BITFALL_SOURCE_DIR +
                              "/scripts/export_model.py\" cifar_resnet20 --random -o \"" +
                              path.string() + "\" >/dev/null";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

void write_images(const fs::path& folder) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::string images, labels;
  for (int i = 0; i < kBatch * 3 * 32 * 32; ++i) {
    const float value = normal(random);
    images.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  for (std::int64_t i = 0; i < kBatch; ++i) {
    const std::int64_t label = i % 10;
    labels.append(reinterpret_cast<const char*>(&label), sizeof label);
  }
  write_npy(folder / "images.npy", "<f4", std::to_string(kBatch) + ", 3, 32, 32", images);
  write_npy(folder / "labels.npy", "<i8", std::to_string(kBatch) + ",", labels);
}

std::unique_ptr<Session> open_session(const fs::path& folder, const std::string& format,
                                      int threads) {
  const std::string text =
      "[model]\npath = \"model.pt\"\n[data]\npath = \"images.npy\"\nlabels = \"labels.npy\"\n"
      "[format]\nid = \"" +
      format + "\"\n[plugins]\npaths = [\"" + std::string(BITFALL_BUILD_DIR) +
      "/lib/bitfall/plugins\"]\n[[faults]]\nper_site = 1024\n[run]\nbatch = " +
      std::to_string(kBatch) + "\nthreads = " + std::to_string(threads) + "\n";
  auto session = std::make_unique<Session>(folder / "campaign.toml", text, std::nullopt);
  const std::atomic<bool> stop{false};
  session->profile(stop);
  return session;
}

at::Tensor input_of(const Session& session) {
  const auto shape = session.dataset().shape();
  const at::Tensor images = at::empty({kBatch, shape[0], shape[1], shape[2]}, at::kFloat);
  for (std::int32_t row = 0; row < kBatch; ++row) {
    session.dataset().load(
        row, {images[row].data_ptr<float>(), static_cast<std::size_t>(images[row].numel())});
  }
  return images;
}

std::int32_t site_of(const Session& session, const std::string& name) {
  const std::int32_t site = find_site(session.model().sites(), Target::kActivation, name);
  if (site < 0) throw std::runtime_error("no site is called " + name);
  return site;
}

int end_of(const Session& session) {
  return static_cast<int>(session.model().program().steps().size());
}

void module_forward(benchmark::State& state, const Session& session) {
  const at::Tensor input = input_of(session);
  for (auto _ : state) benchmark::DoNotOptimize(session.model().program().forward(input));
}

void walk_steps(benchmark::State& state, const Session& session) {
  const at::Tensor input = input_of(session);
  const Program& program = session.model().program();
  for (auto _ : state) {
    Slots slots = program.start(input);
    program.run(slots, 0, end_of(session));
    benchmark::DoNotOptimize(program.output(slots));
  }
}

// The golden table at the first step behind a site.
Slots golden_slots(const Session& session, std::int32_t site) {
  Slots slots = session.model().program().start(input_of(session));
  session.model().program().run(slots, 0, session.model().first_step(site));
  return slots;
}

void fork_table(benchmark::State& state, const Session& session, const char* name) {
  const std::int32_t site = site_of(session, name);
  const Slots golden = golden_slots(session, site);
  const int first = session.model().first_step(site);
  for (auto _ : state)
    benchmark::DoNotOptimize(session.model().program().fork(golden, first).data());
}

void run_suffix(benchmark::State& state, const Session& session, const char* name) {
  const std::int32_t site = site_of(session, name);
  const Program& program = session.model().program();
  const Slots golden = golden_slots(session, site);
  const int first = session.model().first_step(site);
  for (auto _ : state) {
    Slots slots = program.fork(golden, first);
    program.run(slots, first, end_of(session));
    benchmark::DoNotOptimize(program.output(slots));
  }
}

void draw_edits(benchmark::State& state, const Session& session) {
  std::int64_t trial = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(session.plan().edits(session.plan().trial(trial)));
    trial = (trial + 1) % session.plan().size();
  }
  state.SetItemsProcessed(state.iterations());
}

void inject_fault(benchmark::State& state, Session& session, const char* name) {
  const std::int32_t site = site_of(session, name);
  const Site& place = session.model().sites()[static_cast<std::size_t>(site)];
  const Slots slots = golden_slots(session, site);
  const auto slot = static_cast<std::size_t>(session.model().slots(site)[0]);
  at::Tensor slab = slots[slot].toTensor()[0].contiguous().clone();
  const std::span<float> golden(slab.data_ptr<float>(), static_cast<std::size_t>(place.values));
  const auto& metadata = session.engine().profiles()[static_cast<std::size_t>(site)].metadata;
  const NumberFormat& format = session.format(site);
  emulate(format, golden, {place.shape, 0, 1, 0}, metadata);
  std::int64_t element = 0;
  std::vector<std::uint32_t> scratch;
  for (auto _ : state) {
    element = (element + 7919) % place.values;
    const Edit flip{element, 0, EditOperation::kFlip, 1, 0};
    benchmark::DoNotOptimize(
        inject(format, golden, place.shape, metadata, {&flip, 1}, std::nullopt, scratch));
  }
  state.SetItemsProcessed(state.iterations());
}

// All that is derived from two rows of logits, with the campaign's default metrics.
void measure_trial(benchmark::State& state, const Session& session) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> golden(static_cast<std::size_t>(state.range(0)));
  for (float& logit : golden) logit = normal(random);
  std::vector<float> faulty = golden;
  faulty[1] += 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(session.measure()
                                 .measure({golden, faulty, 0, cross_entropy(golden, 0),
                                           cross_entropy(faulty, 0), top1(golden), top1(faulty)})
                                 .data());
  }
  state.SetItemsProcessed(state.iterations());
}

void store_trials(benchmark::State& state, const Session& session, const fs::path& folder) {
  static int runs = 0;
  RunDescription run = session.describe();
  run.trials = std::int64_t{1} << 24;
  const fs::path path = folder / ("run" + std::to_string(runs++));
  const auto store = Store::create(path, run, session.campaign().commit_every);
  TrialResult result;
  result.site = site_of(session, "conv1");
  result.activated = true;
  result.golden_loss = 0.125;
  result.faulty_loss = 0.25;
  result.metrics.assign(session.columns().size(), 0.5);
  result.edits = {{{7, 0, EditOperation::kFlip, 1u << 30, 0}, 1, 2, 0.5f, 1.5f, 0}};
  for (auto _ : state) {
    store->trial(result);
    ++result.trial;
  }
  store->commit();
  state.SetItemsProcessed(state.iterations());
}

void register_all(Session& fp32, Session& int8, const fs::path& folder) {
  const auto add = [](const std::string& name, const auto& body) {
    return benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& state) {
      const c10::InferenceMode guard;
      body(state);
    });
  };
  using State = benchmark::State;
  add("forward/module", [&](State& s) { module_forward(s, fp32); })->UseRealTime();
  add("forward/steps", [&](State& s) { walk_steps(s, fp32); })->UseRealTime();
  for (const char* site : kSites) {
    const std::string name = std::string("/") + site;
    add("fork" + name, [&fp32, site](State& s) { fork_table(s, fp32, site); });
    add("suffix" + name, [&fp32, site](State& s) { run_suffix(s, fp32, site); })->UseRealTime();
  }
  add("draw_edits", [&](State& s) { draw_edits(s, fp32); });
  add("inject/fp32", [&](State& s) { inject_fault(s, fp32, "conv1"); });
  add("inject/int8", [&](State& s) { inject_fault(s, int8, "conv1"); });
  add("measure", [&](State& s) { measure_trial(s, fp32); })->Arg(10)->Arg(1000);
  add("store_trial", [&, folder](State& s) { store_trials(s, fp32, folder); })->UseRealTime();
}

int run(int argc, char** argv) {
  int threads = 1;
  std::vector<char*> others;
  for (int i = 0; i < argc; ++i) {
    if (std::sscanf(argv[i], "--threads=%d", &threads) != 1) others.push_back(argv[i]);
  }
  int count = static_cast<int>(others.size());
  benchmark::Initialize(&count, others.data());
  if (benchmark::ReportUnrecognizedArguments(count, others.data())) return 2;
  set_quiet(true);
  const Scratch scratch;
  write_model(scratch.path() / "model.pt");
  write_images(scratch.path());
  const auto fp32 = open_session(scratch.path(), "fp32", threads);
  const auto int8 = open_session(scratch.path(), "int8", threads);
  register_all(*fp32, *int8, scratch.path());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace bitfall

int main(int argc, char** argv) {
  try {
    return bitfall::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "engine_benchmark: %s\n", error.what());
    return 1;
  }
}
