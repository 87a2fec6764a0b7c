// The side of scripts/benchmark.py that runs Bitfall: one request a line on stdin, one answer a
// line on stdout, both JSON, so that the script can take turns between this process and another
// tool.
//
//   {"do": "open", "as": NAME, "campaign": FILE, "faults": LIST or ""}
//                                        the campaign's trials, batch, threads, workers, sites,
//                                        and the images of each chunk by row
//   {"do": "forward", "of": NAME}        seconds of Module::forward on the first chunk
//   {"do": "suffix", "of": NAME, "sites": [...], "times": N}
//                                        by site: seconds of each of N runs of the steps behind it,
//                                        from golden values and without a fault
//   {"do": "campaign", "of": NAME}       Engine::run with results counted and dropped: seconds,
//                                        trials, where the time went
//   {"do": "logits", "of": NAME, "to": FILE}
//                                        runs the trials; writes each one's faulty logits as raw
//                                        float32 [trials, classes]
//   {"do": "close", "of": NAME}
//
// An answer with the key "error" says what went wrong. Seconds are wall time.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image_chunks.h"
#include "log.h"
#include "program.h"
#include "session.h"

namespace bitfall {
namespace {

using Json = nlohmann::json;
const std::atomic<bool> kNeverStop{false};

template <typename Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Counts trials; keeps their metrics if asked to.
class Results final : public ResultSink {
 public:
  explicit Results(bool keep) : keep_(keep) {}
  void golden(const GoldenResult&) override {}
  void trial(const TrialResult& result) override {
    ++trials_;
    if (keep_) metrics_[result.trial] = result.metrics;
  }
  std::int64_t trials() const { return trials_; }
  const std::map<std::int64_t, std::vector<double>>& metrics() const { return metrics_; }

 private:
  bool keep_;
  std::int64_t trials_ = 0;
  std::map<std::int64_t, std::vector<double>> metrics_;
};

ImageChunks deal_of(const Session& session) {
  return {session.campaign().seed, session.dataset().size(), session.model().batch()};
}

at::Tensor first_chunk(const Session& session) {
  const ImageChunks deal = deal_of(session);
  const auto shape = session.dataset().shape();
  const at::Tensor images =
      at::empty({session.model().batch(), shape[0], shape[1], shape[2]}, at::kFloat);
  const auto size = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
  for (std::int64_t row = 0; row < images.size(0); ++row) {
    session.dataset().load(deal.image(0, row), {images[row].data_ptr<float>(), size});
  }
  return images.to(c10::Device(session.model().device()));
}

std::unique_ptr<Session> open_session(const Json& request) {
  const std::filesystem::path file = request.at("campaign").get<std::string>();
  std::ifstream in(file);
  if (!in) throw std::runtime_error(file.string() + ": cannot be read");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string list = request.value("faults", "");
  auto session = std::make_unique<Session>(
      file, text, list.empty() ? std::nullopt : std::optional<std::filesystem::path>(list));
  session->engine().preload(kNeverStop);
  session->profile(kNeverStop);
  return session;
}

Json description(const Session& session) {
  Json answer = {{"trials", session.plan().size()},
                 {"batch", session.model().batch()},
                 {"threads", session.campaign().threads},
                 {"workers", session.campaign().workers},
                 {"classes", session.model().classes()},
                 {"sites", Json::array()},
                 {"chunks", Json::array()}};
  for (const Site& site : session.model().sites()) {
    answer["sites"].push_back({{"name", site.name},
                               {"target", to_string(site.target)},
                               {"operation", site.operation},
                               {"shape", site.shape},
                               {"refusal", site.refusal}});
  }
  const ImageChunks deal = deal_of(session);
  for (std::int64_t chunk = 0; chunk < deal.count(); ++chunk) {
    Json rows = Json::array();
    for (std::int64_t row = 0; row < session.model().batch(); ++row) {
      rows.push_back(deal.image(chunk, row));
    }
    answer["chunks"].push_back(rows);
  }
  return answer;
}

Json time_forward(const Session& session) {
  const at::Tensor input = first_chunk(session);
  return {{"seconds", seconds_of([&] { session.model().program().forward(input); })}};
}

Json time_suffixes(const Session& session, const Json& request) {
  const Model& model = session.model();
  const Program& program = model.program();
  std::vector<std::int32_t> sites;
  for (const std::string name : request.at("sites")) {
    const std::int32_t site = find_site(model.sites(), Target::kActivation, name);
    if (site < 0) throw std::runtime_error("no site is called " + name);
    sites.push_back(site);
  }
  std::stable_sort(sites.begin(), sites.end(), [&](std::int32_t a, std::int32_t b) {
    return model.first_step(a) < model.first_step(b);
  });
  const int end = static_cast<int>(program.steps().size());
  Slots golden = program.start(first_chunk(session));
  int at = 0;
  Json seconds = Json::object();
  for (const std::int32_t site : sites) {
    const int first = model.first_step(site);
    program.run(golden, at, first);
    at = first;
    Json& of_site = seconds[model.sites()[static_cast<std::size_t>(site)].name];
    for (int time = 0; time < request.at("times").get<int>(); ++time) {
      Slots slots = program.fork(golden, first);
      of_site.push_back(seconds_of([&] { program.run(slots, first, end); }));
    }
  }
  return {{"seconds", seconds}};
}

Json costs_of(const EngineCosts& costs) {
  return {{"total_s", costs.total_s},
          {"golden_s", costs.golden_s},
          {"regions_s", costs.regions_s},
          {"suffix_s", costs.suffix_s},
          {"emulation_s", costs.emulation_s},
          {"injection_s", costs.injection_s},
          {"results_s", costs.results_s},
          {"chunks", costs.chunks},
          {"unchanged", costs.unchanged},
          {"shared", costs.shared},
          {"carried", costs.carried},
          {"died_in_regions", costs.died_in_regions},
          {"died", costs.died},
          {"passes", costs.passes},
          {"rows", costs.rows},
          {"refused", costs.refused}};
}

Json run_campaign(Session& session) {
  Results results(false);
  const double seconds = seconds_of([&] {
    session.engine().run(session.plan(), {}, {}, session.measure(), results, kNeverStop, nullptr);
  });
  return {{"seconds", seconds},
          {"trials", results.trials()},
          {"costs", costs_of(session.engine().costs())}};
}

/// The faulty answer itself, a column per class.
class FaultyLogits : public Metric {
 public:
  explicit FaultyLogits(std::int64_t classes)
      : columns_(static_cast<std::size_t>(classes), {"logit", ColumnKind::kQuantity, "1", ""}) {}
  View<const MetricColumn> columns() const override { return columns_; }
  void measure(const Observation& observation, View<double> values) const override {
    std::copy(observation.faulty_logits.begin(), observation.faulty_logits.end(), values.begin());
  }

 private:
  std::vector<MetricColumn> columns_;
};

Json write_logits(Session& session, const std::filesystem::path& file) {
  Results results(true);
  Measurer copy;
  copy.add(std::make_unique<FaultyLogits>(session.model().classes()));
  session.engine().run(session.plan(), {}, {}, copy, results, kNeverStop, nullptr);
  std::ofstream out(file, std::ios::binary);
  for (const auto& [trial, logits] : results.metrics()) {
    const std::vector<float> row(logits.begin(), logits.end());
    out.write(reinterpret_cast<const char*>(row.data()),
              static_cast<std::streamsize>(row.size() * sizeof(float)));
  }
  out.close();
  if (!out) throw std::runtime_error(file.string() + ": cannot be written");
  return {{"trials", results.trials()}};
}

class Server {
 public:
  Json answer(const Json& request) {
    const std::string what = request.at("do");
    if (what == "open") {
      sessions_[request.at("as")] = open_session(request);
      return description(*sessions_.at(request.at("as")));
    }
    const auto known = sessions_.find(request.at("of"));
    if (known == sessions_.end()) throw std::runtime_error("not open: " + request.dump());
    Session& session = *known->second;
    if (what == "forward") return time_forward(session);
    if (what == "suffix") return time_suffixes(session, request);
    if (what == "campaign") return run_campaign(session);
    if (what == "logits") return write_logits(session, request.at("to").get<std::string>());
    if (what == "close") {
      sessions_.erase(known);
      return Json::object();
    }
    throw std::runtime_error("unknown request: " + request.dump());
  }

 private:
  std::map<std::string, std::unique_ptr<Session>> sessions_;
};

int serve() {
  set_quiet(true);
  const c10::InferenceMode guard;
  Server server;
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      answer = server.answer(Json::parse(line));
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace bitfall

int main() { return bitfall::serve(); }
