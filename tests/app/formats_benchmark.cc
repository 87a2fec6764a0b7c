// How long it takes to put a layer through a number format, beside what LibTorch takes to make it
// half precision and back. One thread, one 64 x 56 x 56 slab. Prints a markdown table.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "injection.h"
#include "plugin_host.h"

namespace bitfall {
namespace {

const std::vector<std::int64_t> kShape{64, 56, 56};
constexpr const char* kBaseline = "torch";

/// A format ready to be measured.
struct Subject {
  std::string id;
  std::unique_ptr<NumberFormat> format;
  std::vector<std::uint32_t> metadata;
  std::vector<float> golden;  // as the format holds it
};

std::vector<float> normal_values() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(element_count(kShape)));
  for (float& value : values) value = normal(random);
  return values;
}

std::unique_ptr<Subject> subject(const PluginHost& host, const std::string& id) {
  Diagnostics diagnostics("", "");
  PluginChoice choice;
  choice.id = id;
  auto made = std::make_unique<Subject>();
  made->id = id;
  made->format = host.make_format(choice, diagnostics);
  if (!made->format) return nullptr;  // needs options
  const NumberFormat& format = *made->format;
  made->metadata.resize(static_cast<std::size_t>(metadata_size(format, kShape)));
  if (format.calibrated()) format.calibrate(std::vector{Range{-5, 5}}, kShape, made->metadata);
  made->golden = normal_values();
  format.emulate(made->golden, {kShape}, made->metadata);
  return made;
}

void per_value(benchmark::State& state, std::size_t values) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(values));
}

void torch_round_trip(benchmark::State& state) {
  std::vector<float> values = normal_values();
  const at::Tensor tensor = at::from_blob(values.data(), kShape, at::kFloat);
  for (auto _ : state) benchmark::DoNotOptimize(tensor.to(at::kHalf).to(at::kFloat));
  per_value(state, values.size());
}

void emulate_slab(benchmark::State& state, const Subject& subject) {
  std::vector<float> values = normal_values();
  std::vector<std::uint32_t> metadata = subject.metadata;
  for (auto _ : state) {
    subject.format->emulate(values, {kShape}, metadata);
    benchmark::ClobberMemory();
  }
  per_value(state, values.size());
}

void encode_slab(benchmark::State& state, const Subject& subject) {
  const std::vector<float> values = normal_values();
  std::vector<std::uint32_t> metadata = subject.metadata, codes(values.size());
  for (auto _ : state) {
    subject.format->encode(values, {kShape}, metadata, codes);
    benchmark::ClobberMemory();
  }
  per_value(state, values.size());
}

void decode_slab(benchmark::State& state, const Subject& subject) {
  std::vector<float> values = normal_values();
  std::vector<std::uint32_t> metadata = subject.metadata, codes(values.size());
  subject.format->encode(values, {kShape}, metadata, codes);
  for (auto _ : state) {
    subject.format->decode(codes, {kShape}, metadata, values);
    benchmark::ClobberMemory();
  }
  per_value(state, values.size());
}

// What one trial needs: golden value -> code -> flip -> value.
void one_fault(benchmark::State& state, const Subject& subject) {
  std::int64_t element = 0;
  for (auto _ : state) {
    element = (element + 7919) % static_cast<std::int64_t>(subject.golden.size());
    const Edit flip{element, 0, EditOperation::kFlip, 1, 0};
    benchmark::DoNotOptimize(inject(*subject.format, subject.golden, kShape, subject.metadata,
                                    {&flip, 1}, std::nullopt));
  }
  per_value(state, 1);
}

/// Keeps the median of each benchmark, in nanoseconds per value.
class Table final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Aggregate && run.aggregate_name == "median") {
        medians_[run.run_name.function_name] = 1e9 / run.counters.at("items_per_second");
      }
    }
  }
  void print(const std::vector<std::unique_ptr<Subject>>& subjects) const {
    const double torch = medians_.at(kBaseline);
    std::printf("float32 to float16 and back by LibTorch: %.3f ns per value\n\n", torch);
    std::printf(
        "| format | emulate, ns per value | ratio to LibTorch's fp16 | encode, ns | decode, ns "
        "| one fault, ns |\n| --- | --- | --- | --- | --- | --- |\n");
    for (const auto& subject : subjects) {
      const auto median = [&](const std::string& what) { return medians_.at(what + subject->id); };
      std::printf("| `%s` | %.3f | %.2f | %.3f | %.3f | %.0f |\n", subject->id.c_str(),
                  median("emulate/"), median("emulate/") / torch, median("encode/"),
                  median("decode/"), median("fault/"));
    }
  }

 private:
  std::map<std::string, double> medians_;
};

int run(int argc, char** argv) {
  at::set_num_threads(1);
  PluginHost host;
  host.load_folder(std::string(BITFALL_BUILD_DIR) + "/lib/bitfall/plugins");
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const ComponentDescription& component : host.components()) {
    if (component.kind != ComponentKind::kFormat) continue;
    if (auto made = subject(host, component.id)) subjects.push_back(std::move(made));
  }
  // Repetitions of all benchmarks are mixed, so that a noisy moment hits them alike.
  std::vector<std::string> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1,
                   {"--benchmark_enable_random_interleaving=true", "--benchmark_repetitions=7",
                    "--benchmark_min_time=0.02", "--benchmark_report_aggregates_only=true"});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  int count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
  benchmark::RegisterBenchmark(kBaseline, torch_round_trip);
  for (const auto& one : subjects) {
    const Subject& s = *one;
    const auto add = [&](const char* what, void (*f)(benchmark::State&, const Subject&)) {
      benchmark::RegisterBenchmark((what + s.id).c_str(),
                                   [f, &s](benchmark::State& state) { f(state, s); });
    };
    add("emulate/", emulate_slab);
    add("encode/", encode_slab);
    add("decode/", decode_slab);
    add("fault/", one_fault);
  }
  Table table;
  benchmark::RunSpecifiedBenchmarks(&table);
  table.print(subjects);
  return 0;
}

}  // namespace
}  // namespace bitfall

int main(int argc, char** argv) { return bitfall::run(argc, argv); }
